"""
Messages → the ids of a prompt: chat template, tokenizer and placeholders, as transformers' Glm4vProcessor
does it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerFast

from .boxes import BoxReader
from .failure import WorkerFailure
from .parts import Parser
from .protocol import ChatMessage, MediaContent, TextContent, TextPart
from .tags import TAGS
from .tokenizer import Span, SpanEncoder


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """A picture's place in the prompt: how many tokens it becomes."""

    count: int


@dataclass(frozen=True, slots=True)
class VideoTokens:
    """A video's place in the prompt: tokens per temporal patch, and the second at which each patch begins."""

    per_patch: int
    seconds: tuple[int, ...]


MediumTokens = ImageTokens | VideoTokens


@dataclass(frozen=True, slots=True)
class Placeholders:
    """Ids of the config: what stands for a picture, for a video, and around a picture."""

    image: int
    video: int
    image_start: int
    image_end: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """
    `token_types` is 1 where a picture's token stands, 2 for a video's, else 0 (transformers'
    mm_token_type_ids).
    """

    ids: list[int]
    token_types: list[int]

    @property
    def image_tokens(self) -> int:
        return sum(kind != 0 for kind in self.token_types)


class PromptBuilder:
    """Everything that turns messages into ids; stateless after construction, so threads may share it."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, placeholders: Placeholders) -> None:
        """Raises MODEL_UNSUPPORTED for a chat template or a tokenizer that cannot show a picture."""
        if not tokenizer.chat_template:
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                "the checkpoint has no chat template",
                hint="Copy chat_template.jinja of the model you started from into the directory.",
            )
        self._tokenizer = tokenizer
        self._placeholders = placeholders
        self._encoder = SpanEncoder(tokenizer.backend_tokenizer)
        self._try()

    def build(
        self,
        messages: Sequence[ChatMessage],
        media: Sequence[Sequence[MediumTokens]],
    ) -> Prompt:
        """
        The prompt of `messages`. `media` has, for each medium of the request, the tokens of all that it
        shows.
        """
        ids = self._encoder.encode(self._render(messages, media))
        contents = [content for message in messages for content in message.content]
        places = [content.index for content in contents if isinstance(content, MediaContent)]
        return self._expand(ids, [tokens for index in places for tokens in media[index]])

    def _try(self) -> None:
        """One message with a picture, so that what cannot work is known before the weights are loaded."""
        content = (MediaContent(index=0), TextContent(text="a"))
        try:
            self.build([ChatMessage(role="user", content=content)], [[ImageTokens(1)]])
        except WorkerFailure:
            raise
        except Exception as error:  # A template is a program, and raises what it likes.
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                f"the checkpoint's chat template fails: {type(error).__name__}: {error}",
                hint="Copy chat_template.jinja of the model you started from into the directory.",
            ) from error

    def _render(
        self, messages: Sequence[ChatMessage], media: Sequence[Sequence[MediumTokens]]
    ) -> Iterator[Span]:
        """
        Renders the template around marks that stand for the callers' texts and that no caller can guess,
        then puts the texts back: so it is known of every character who wrote it.
        """
        texts: list[str] = []
        nonce = secrets.token_hex(16)

        def mark(text: str) -> str:
            texts.append(text)
            return f"{nonce}:{len(texts) - 1};"

        chat = [_template_message(message, media, mark) for message in messages]
        rendered = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        pieces = re.split(f"{nonce}:([0-9]+);", str(rendered))
        for number, piece in enumerate(pieces):
            is_mark = number % 2 == 1
            yield Span(texts[int(piece)], from_template=False) if is_mark else Span(piece, from_template=True)

    def _expand(self, ids: Sequence[int], shown: Sequence[MediumTokens]) -> Prompt:
        """Puts each medium's tokens where the template has its placeholder."""
        marks = (self._placeholders.image, self._placeholders.video)
        found = sum(id in marks for id in ids)
        if found != len(shown):
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                f"the chat template wrote {found} placeholders for {len(shown)} media; expected one for each",
            )
        prompt = Prompt([], [])
        media = iter(shown)
        for id in ids:
            if id not in marks:
                _append(prompt, [id], 0)
                continue
            match next(media):
                case ImageTokens(count):
                    _append(prompt, [self._placeholders.image] * count, 1)
                case VideoTokens() as video:
                    self._append_video(prompt, video)
        return prompt

    def _append_video(self, prompt: Prompt, video: VideoTokens) -> None:
        """Each temporal patch as a picture of its own, followed by its second in figures."""
        for second in video.seconds:
            _append(prompt, [self._placeholders.image_start], 0)
            _append(prompt, [self._placeholders.image] * video.per_patch, 2)
            _append(prompt, [self._placeholders.image_end, *self._encoder.ordinary(str(second))], 0)


def video_seconds(frames: int, fps: float, temporal_patch_size: int) -> tuple[int, ...]:
    """
    The whole second of the first frame of every temporal patch, as Glm4vProcessor writes it into the
    prompt.
    """
    return tuple(int(frame / fps) for frame in range(0, frames, temporal_patch_size))


def _append(prompt: Prompt, ids: Sequence[int], kind: int) -> None:
    prompt.ids.extend(ids)
    prompt.token_types.extend([kind] * len(ids))


def _template_message(
    message: ChatMessage, media: Sequence[Sequence[MediumTokens]], mark: Callable[[str], str]
) -> dict[str, Any]:
    """A message in the form that chat templates take, with marks for its texts."""
    if message.role == "user":
        return {
            "role": "user",
            "content": [
                part for content in message.content for part in _template_content(content, media, mark)
            ],
        }
    # Templates read one text from messages of the other roles.
    text = "".join(content.text for content in message.content if isinstance(content, TextContent))
    return {"role": message.role, "content": mark(answer_only(text) if message.role == "assistant" else text)}


def _template_content(
    content: TextContent | MediaContent,
    media: Sequence[Sequence[MediumTokens]],
    mark: Callable[[str], str],
) -> Iterator[dict[str, str]]:
    if isinstance(content, TextContent):
        yield {"type": "text", "text": mark(content.text)}
        return
    for tokens in media[content.index]:
        yield {"type": "video" if isinstance(tokens, VideoTokens) else "image"}


def answer_only(text: str) -> str:
    """
    An earlier answer as the authors want it in the history: without its thinking, tags and box tokens.

    Text without any tag stays as it is.
    """
    if not any(tag in text for tag in TAGS):
        return text
    parser = Parser(stop=(), boxes=BoxReader(()))
    parser.push(text)
    parser.end()
    return "".join(part.text for part in parser.drain() if isinstance(part, TextPart))
