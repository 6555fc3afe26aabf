"""The vision tower, and how soon the first token of a request with a picture comes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import torch
from torch import Tensor

from glimpse_worker.decoding import Decoder
from glimpse_worker.engine.paged.ops import Ops
from glimpse_worker.engine.paged.torch_ops import TorchOps
from glimpse_worker.engine.paged.vision import VisionTower

from ..client import Asked
from ..course import Course
from ..prompts import jpegs
from ..report import Row
from ..timing import seconds

BATCH = 4


def vision(course: Course) -> list[Row]:
    """The engine's tower over another model, from decoded pixels on the host to features on the device."""
    scale, encoder = course.scale, tower(course)
    full = course.shape == "9b"
    return [
        _encode(course, encoder, scale.picture, 1, 9 if full else None),
        _encode(course, encoder, scale.picture, BATCH, None),
        _encode(course, encoder, scale.large_picture, BATCH, None),
    ]


def first(course: Course) -> list[Row]:
    """Of an idle engine, from encoded bytes; a second question comes when the first has its answer."""
    scale = course.scale
    width, height = scale.picture
    once: list[float] = []
    again: list[float] = []
    for picture in jpegs(scale.repetitions + 3, width, height, seed=1):
        for taken in (once, again):
            [stream] = course.client.run([Asked(course.texts.own(scale.question_tokens), [picture])])
            taken.append(1000 * stream.first_token_s)
    tokens = course.image_tokens(width, height)
    encode = course.roofline.vision([course.patches(width, height)]).seconds(course.ceilings)
    compute = course.roofline.prefill(tokens + scale.question_tokens).seconds(course.ceilings)
    ask = course.roofline.prefill(scale.question_tokens, cached=tokens).seconds(course.ceilings)
    name = f"first token, {width}×{height} picture + {scale.question_tokens} tokens of text"
    full = course.shape == "9b"
    return [
        Row(
            name=name,
            # The first three warm up.
            values=once[3:],
            unit="ms",
            target=40 if full else None,
            roofline=1000 * (encode + compute),
        ),
        Row(
            name="first token, the same picture asked a second question",
            values=again[3:],
            unit="ms",
            target=15 if full else None,
            roofline=1000 * ask,
        ),
    ]


def tower(course: Course) -> VisionTower:
    return VisionTower(course.plain.model.visual, course.subject.checkpoint.image, _ops(course.device))


def decoded(course: Course, pictures: Sequence[bytes]) -> list[Tensor]:
    """What the tower takes."""
    decoder = Decoder("image", course.subject.checkpoint.image, lambda: False)
    return [item for picture in pictures for item in decoder.decode([picture], 0)[0].frames]


def _ops(device: torch.device) -> Ops:
    if device.type == "cpu":
        return TorchOps()
    # Imports Triton, which torch's CPU build has not.
    from glimpse_worker.engine.paged.triton_ops import TritonOps

    return TritonOps(device)


def tower_name(size: tuple[int, int], count: int) -> str:
    return f"vision tower, {count} picture{'s' if count > 1 else ''} of {size[0]}×{size[1]}"


def _encode(
    course: Course, encoder: VisionTower, size: tuple[int, int], count: int, target: float | None
) -> Row:
    pixels = decoded(course, jpegs(2 * count, *size, seed=2))
    batches = cycle((pixels[:count], pixels[count:]))

    def encode() -> list[Tensor]:
        return encoder.encode(next(batches))

    with torch.inference_mode():
        taken = seconds(encode, course.device, repetitions=2 * course.scale.repetitions, warm=4)
    allowed = course.roofline.vision([course.patches(*size)] * count).seconds(course.ceilings)
    return Row(
        name=tower_name(size, count),
        values=[1000 * took for took in taken],
        unit="ms",
        target=target,
        roofline=1000 * allowed,
    )
