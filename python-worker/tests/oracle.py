"""
What transformers' `generate` answers to one question at a time: the oracle of the paged engine. Nothing here
is the engine's.

One thing is not as a script has it: a picture that does not have the model's size is resized by torch, before
transformers' processor sees it. That is what the torchvision-backed processors do, and the worker; Pillow's
resize, of the processor used here, differs from it by up to 2 of 255 levels. test_pixels has the resize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from drawing import encode
from embedded import Video
from PIL import Image
from plain_script import Media, PlainScript
from torch.nn.functional import interpolate
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.models.glm4v.video_processing_glm4v import smart_resize

from glimpse_worker.protocol import ChatMessage, MediaContent, TextContent

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Question:
    """A conversation about `pictures`, or about a video of these `frames`."""

    messages: Sequence[ChatMessage]
    pictures: Sequence[Image.Image] = ()
    frames: Sequence[Image.Image] = ()
    fps: float = 0

    def media(self) -> list[bytes | Video]:
        """As a caller of the engine sends them."""
        if self.frames:
            return [Video([encode(frame) for frame in self.frames], self.fps)]
        return [encode(picture) for picture in self.pictures]

    def template_messages(self) -> list[dict[str, Any]]:
        kind = "video" if self.frames else "image"
        return [
            {
                "role": message.role,
                "content": [
                    {"type": "text", "text": part.text} if isinstance(part, TextContent) else {"type": kind}
                    for part in message.content
                ],
            }
            for message in self.messages
        ]

    def shown(self) -> list[Image.Image]:
        """The pictures in the order of the messages."""
        parts = [part for message in self.messages for part in message.content]
        return [self.pictures[part.index] for part in parts if isinstance(part, MediaContent)]


@dataclass(frozen=True)
class Told:
    """
    The ids of an answer, and how sure each was: for `generate`, by how much the best score exceeds the second
    best. `stopped`: whether it came to its end, and was not cut.
    """

    prompt_tokens: int
    ids: list[int]
    margins: list[float]
    stopped: bool


@dataclass(frozen=True)
class Drawn:
    """The options of a request that is not greedy. `top_p` is less than 1."""

    temperature: float
    top_p: float
    repetition_penalty: float
    top_k: int = 50


class Oracle:
    """transformers on the embedded model in float32."""

    def __init__(self) -> None:
        self.script = PlainScript()
        self.stop_token_ids = self.script.model.generation_config.eos_token_id

    def greedy(
        self, question: Question, max_new_tokens: int, *, penalty: float = 1.0, after: Sequence[int] = ()
    ) -> Told:
        """What `generate` gives, or goes on with `after` the first ids of an answer, which are left out."""
        inputs = self._inputs(question, after)
        output = self.script.model.generate(
            **inputs,
            do_sample=False,
            repetition_penalty=penalty,
            max_new_tokens=max_new_tokens,
            output_scores=True,
            return_dict_in_generate=True,
        )
        length = inputs["input_ids"].shape[1]
        ids = output.sequences[0, length:].tolist()
        best = torch.cat(output.scores).topk(2).values
        margins = (best[:, 0] - best[:, 1]).tolist()
        return Told(length - len(after), ids, margins, ids[-1] in self.stop_token_ids)

    def text(self, ids: Sequence[int]) -> str:
        return str(self.script.tokenizer.decode(list(ids), skip_special_tokens=False))

    def ids(self, *tokens: str) -> list[int]:
        return [self.script.tokenizer.convert_tokens_to_ids(token) for token in tokens]

    def draws(self, question: Question, ids: Sequence[int], uniforms: Sequence[float], how: Drawn) -> Told:
        """
        The id that transformers' scores after each beginning of `ids` give for a random number: of those that
        its top-k and top-p keep, the first at which the running sum of the probabilities exceeds the number.
        The margin is how far, in probability, the number is from another id, or the nucleus from another
        size.
        """
        inputs = self._inputs(question, ids)
        with torch.inference_mode():
            logits = self.script.model(**inputs).logits[0]
        before = inputs["input_ids"]
        length = before.shape[1] - len(ids)
        repeated = RepetitionPenaltyLogitsProcessor(how.repetition_penalty)
        sharpened = TemperatureLogitsWarper(how.temperature)
        highest = TopKLogitsWarper(how.top_k)
        nucleus = TopPLogitsWarper(how.top_p)
        chosen: list[int] = []
        margins: list[float] = []
        for end, number in enumerate(uniforms, start=length):
            scores: Any = repeated(before[:, :end], logits[end - 1 : end])
            scores = highest(before, sharpened(before, scores))
            kept = nucleus(before, scores)[0].double().softmax(-1).cumsum(-1)
            chosen.append(int(torch.searchsorted(kept, number, right=True)))
            descending = scores[0].double().softmax(-1).sort(descending=True).values.cumsum(-1)
            edges = torch.cat([kept - number, descending - how.top_p])
            margins.append(float(edges.abs().min()))
        return Told(length, chosen, margins, chosen[-1] in self.stop_token_ids)

    def _inputs(self, question: Question, after: Sequence[int]) -> Tensors:
        media = self._media(question)
        inputs = self.script.prompt(question.template_messages(), media)
        if after:
            inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([list(after)])], dim=1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            text = torch.zeros(1, len(after), dtype=inputs["mm_token_type_ids"].dtype)
            inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], text], dim=1)
        if media is not None:
            suffix, kind = ("", "image") if media.seconds is None else ("_videos", "video")
            inputs[f"pixel_values{suffix}"] = media.pixels
            inputs[f"{kind}_grid_thw"] = torch.tensor(media.grids)
        return inputs

    def _media(self, question: Question) -> Media | None:
        if question.frames:
            size = self.script.video_numbers["size"]
            frames = [_resized(frame, len(question.frames), size) for frame in question.frames]
            return self.script.video(frames, question.fps)
        if question.pictures:
            size = self.script.image_processor.size
            return self.script.images([_resized(picture, 2, size) for picture in question.shown()])
        return None


@cache
def oracle() -> Oracle:
    return Oracle()


def _resized(picture: Image.Image, count: int, size: Any) -> Image.Image:
    """As large as transformers has one of `count` frames, by torch's antialiased bicubic resize of bytes."""
    height, width = smart_resize(
        num_frames=count,
        height=picture.height,
        width=picture.width,
        temporal_factor=2,
        factor=28,
        min_pixels=size["shortest_edge"],
        max_pixels=size["longest_edge"],
    )
    if (width, height) == picture.size:
        return picture
    data = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    pixels = data.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2).contiguous()
    made = interpolate(pixels, size=[height, width], mode="bicubic", align_corners=False, antialias=True)
    return Image.fromarray(made[0].permute(1, 2, 0).numpy())
