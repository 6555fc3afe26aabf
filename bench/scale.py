"""How much of everything is measured: in full on a GPU, or little on a CPU, which only tries the script."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decoding:
    """Tokens per second of so many streams; the target is that of one H100."""

    streams: int
    context: int
    target: float | None


@dataclass(frozen=True, slots=True)
class Scale:
    decoding: tuple[Decoding, ...]
    long: Decoding
    """Its target is a share of the roofline."""
    window: int
    """Steps that are measured; the spread is that of eighths of them."""
    picture: tuple[int, int]
    """Width and height in pixels."""
    large_picture: tuple[int, int]
    question_tokens: int
    prompts: int
    """How many prompts are computed at once to measure that, of `prompt_tokens` each."""
    prompt_tokens: int
    requests: int
    """How many come at once, with a picture, for `new_tokens`."""
    new_tokens: int
    jpegs: int
    """How many pictures, half of them large, for `caption_tokens` each."""
    caption_tokens: int
    baseline_tokens: tuple[int, int]
    """How many new tokens transformers is timed for: the difference is decoding, the rest is the prompt."""
    baseline_batch: int
    repetitions: int


FULL = Scale(
    decoding=(Decoding(1, 1024, 145), Decoding(64, 1024, 7500), Decoding(256, 1024, 19000)),
    long=Decoding(32, 8192, 0.85),
    window=256,
    picture=(672, 672),
    large_picture=(1920, 1080),
    question_tokens=64,
    prompts=16,
    prompt_tokens=2048,
    requests=200,
    new_tokens=256,
    jpegs=1000,
    caption_tokens=128,
    baseline_tokens=(8, 40),
    baseline_batch=32,
    repetitions=10,
)

SMALL = Scale(
    decoding=(Decoding(1, 256, None), Decoding(4, 256, None)),
    long=Decoding(2, 512, 0.85),
    window=32,
    picture=(224, 224),
    large_picture=(448, 224),
    question_tokens=16,
    prompts=3,
    prompt_tokens=256,
    requests=6,
    new_tokens=8,
    jpegs=6,
    caption_tokens=4,
    baseline_tokens=(2, 6),
    baseline_batch=2,
    repetitions=3,
)
