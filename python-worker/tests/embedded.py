"""
The embedded model behind an engine, and a caller that waits for endings; the one behind the reference engine
is loaded once for all tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from glimpse_worker.checkpoint import Checkpoint, load_tokenizer, open_checkpoint
from glimpse_worker.engine.interface import Emit, Engine
from glimpse_worker.engine.reference import load_reference
from glimpse_worker.prompt import PromptBuilder
from glimpse_worker.protocol import (
    BoxPart,
    ChatMessage,
    DataFromWorker,
    Done,
    Error,
    Fault,
    Generate,
    ImageMedia,
    MediaContent,
    Options,
    Part,
    ReferenceEngine,
    RequestKey,
    RequestPrepared,
    RequestWarning,
    Start,
    TextContent,
    TextPart,
    Tokens,
    TokensItem,
    VideoMedia,
)

MODEL = Path(__file__).parents[2] / "models" / "embedded"
PATIENCE_S = 60


def start_line(model: str = str(MODEL), **changes: Any) -> Start:
    fields: dict[str, Any] = {
        "protocol": 1,
        "generation": 0,
        "token": "",
        "control": "",
        "data": "",
        "parent_pid": 1,
        "model": model,
        "device": "cpu",
        "dtype": "auto",
        "engine": ReferenceEngine(),
        "heartbeat_ms": 1000,
    }
    return Start(**(fields | changes))


@cache
def checkpoint() -> tuple[Checkpoint, PromptBuilder]:
    """The embedded model's files, read and checked, and what makes prompts for it."""
    found = open_checkpoint(start_line(), lambda *_: None)
    return found, PromptBuilder(load_tokenizer(found), found.placeholders)


@dataclass
class Answer:
    """All that was said about one request."""

    name: str
    messages: list[DataFromWorker] = field(default_factory=list)
    """But for `prepared`."""
    prepared: list[RequestPrepared] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    on_token: Callable[[Answer], None] | None = None
    """Called on the engine's thread after every step."""

    @property
    def items(self) -> list[TokensItem]:
        """What came of its tokens, in order."""
        messages = [message for message in self.messages if isinstance(message, Tokens)]
        return [item for message in messages for item in message.items if item.request == self.name]

    @property
    def ids(self) -> list[int]:
        return [id for item in self.items for id in item.ids]

    @property
    def parts(self) -> list[Part]:
        return [part for item in self.items for part in item.parts]

    @property
    def raw(self) -> str:
        return "".join(part.text for part in self.parts if not isinstance(part, BoxPart))

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def boxes(self) -> list[BoxPart]:
        return [part for part in self.parts if isinstance(part, BoxPart)]

    @property
    def warnings(self) -> list[RequestWarning]:
        return [message for message in self.messages if isinstance(message, RequestWarning)]

    @property
    def done(self) -> Done:
        assert isinstance(self.messages[-1], Done), self.messages[-1]
        return self.messages[-1]

    @property
    def error(self) -> Error:
        assert isinstance(self.messages[-1], Error), self.messages[-1]
        return self.messages[-1]

    def wait(self) -> Answer:
        assert self.ended.wait(PATIENCE_S), "the request has not ended"
        return self


def _reference(emit: Emit) -> Engine:
    return load_reference(start_line(), ReferenceEngine(), lambda *_: None, emit)


class Caller:
    """Submits requests as the worker does, to the engine that `load` gives."""

    def __init__(self, load: Callable[[Emit], Engine] = _reference) -> None:
        self.answers: dict[str, Answer] = {}
        self.broken = threading.Event()
        self.fault: Fault | None = None
        self.engine: Engine = load(self._emit)

    def submit(
        self,
        messages: Sequence[ChatMessage],
        media: Sequence[bytes | Video] = (),
        on_token: Callable[[Answer], None] | None = None,
        generated: Sequence[int] | None = None,
        **options: Any,
    ) -> Answer:
        name = f"r{len(self.answers)}"
        answer = self.answers[name] = Answer(name, on_token=on_token)
        frames: list[bytes] = []
        headers: list[ImageMedia | VideoMedia] = []
        for medium in media:
            if isinstance(medium, Video):
                frames += medium.frames
                headers.append(VideoMedia(bytes=[len(frame) for frame in medium.frames], fps=medium.fps))
            else:
                frames.append(medium)
                headers.append(ImageMedia(bytes=len(medium)))
        chosen = Options(**({"seed": 0, "temperature": 0.0} | options))
        request = Generate(
            request=name, attempt=0, generated=generated, messages=messages, media=headers, options=chosen
        )
        self.engine.submit(request, frames)
        return answer

    def cancel(self, answer: Answer) -> None:
        self.engine.cancel(RequestKey(answer.name, 0))

    def ask(
        self, messages: Sequence[ChatMessage], media: Sequence[bytes | Video] = (), **options: Any
    ) -> Answer:
        return self.submit(messages, media, **options).wait()

    def _emit(self, message: DataFromWorker | Fault) -> None:
        if isinstance(message, Fault):
            self.fault = message
            self.broken.set()
            return
        items = message.items if isinstance(message, Tokens) else [message]
        for item in items:
            answer = self.answers[item.request]
            assert not answer.ended.is_set(), f"{item} came after the ending"
            if isinstance(message, RequestPrepared):
                assert not answer.prepared, "it came twice"
                assert not answer.messages, "it came after something else"
                answer.prepared.append(message)
            else:
                answer.messages.append(message)
            if isinstance(message, Tokens) and answer.on_token is not None:
                answer.on_token(answer)
            if isinstance(message, Done | Error):
                answer.ended.set()


@dataclass(frozen=True)
class Video:
    frames: list[bytes]
    fps: float


@cache
def caller() -> Caller:
    return Caller()


def user(*content: str | int) -> ChatMessage:
    """Texts, and the indices of media where they are to stand."""
    return ChatMessage(
        role="user",
        content=[MediaContent(index=c) if isinstance(c, int) else TextContent(text=c) for c in content],
    )


def system(text: str) -> ChatMessage:
    return ChatMessage(role="system", content=[TextContent(text=text)])


def assistant(text: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=[TextContent(text=text)])
