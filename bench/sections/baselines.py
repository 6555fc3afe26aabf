"""transformers' own model, on a few requests: what the engine's figures are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..client import Asked
from ..course import Course
from ..plain import Inputs, batch_of, generate, inputs_of
from ..prompts import jpegs
from ..report import Row
from ..timing import seconds

ONE_BY_ONE = "transformers generate, one by one"
EAGER = "transformers eager"


def eager(course: Course) -> list[Row]:
    """Decoding, the vision tower and the first token."""
    return [*_decoding(course), *_first_token(course)]


def requests(course: Course) -> list[Row]:
    """
    The requests with a picture and many new tokens. Timed with few new tokens, twice: what a token more takes
    is taken to hold for all of them.
    """
    scale, model = course.scale, course.plain
    batch = _with_pictures(course, scale.baseline_batch)
    alone = _extrapolated(course, model, batch[0], scale.new_tokens)
    together = _extrapolated(course, model, batch_of(batch), scale.new_tokens)
    few, many = scale.baseline_tokens
    note = f"from {few} and {many} new tokens, on to {scale.new_tokens}"
    return [
        Row(name=ONE_BY_ONE, values=[1 / took for took in alone], unit="requests/s", note=note),
        Row(
            name=in_batches(scale.baseline_batch),
            values=[scale.baseline_batch / took for took in together],
            unit="requests/s",
            note=note,
        ),
    ]


def static(course: Course) -> list[Row]:
    """
    One stream with a static cache and a compiled step. The first call compiles for about a minute, and its
    cache, the larger one, serves the smaller number of tokens too: nothing is compiled twice.
    """
    tokens = _texts(course, 1, 64)
    few, many = 32, 160

    def run(count: int) -> None:
        generate(course.plain, tokens, count, cache_implementation="static")

    step = _per_token(course, run, few, many)
    name = "transformers static cache + compile, decode, 1 stream"
    return [Row(name=name, values=[1 / took for took in step], unit="tokens/s")]


def in_batches(size: int) -> str:
    return f"transformers generate, batches of {size}"


def _decoding(course: Course) -> list[Row]:
    scale = course.scale
    few, many = scale.baseline_tokens
    rows: list[Row] = []
    for streams, context in ((1, scale.decoding[0].context), (scale.baseline_batch, 64)):
        tokens = _texts(course, streams, context)

        def run(count: int, tokens: Inputs = tokens) -> None:
            generate(course.plain, tokens, count)

        step = _per_token(course, run, few, many)
        name = f"{EAGER}, decode, {streams} streams, {context} tokens of context"
        rows.append(Row(name=name, values=[streams / took for took in step], unit="tokens/s"))
    return rows


def _first_token(course: Course) -> list[Row]:
    scale, model = course.scale, course.plain
    [one] = _with_pictures(course, 1)
    pixels, grid = one["pixel_values"].to(course.dtype), one["image_grid_thw"]

    def encode() -> None:
        with torch.inference_mode():
            model.model.visual(pixels, grid_thw=grid)

    def answer() -> None:
        generate(model, one, 1)

    width, height = scale.picture
    timed: list[tuple[str, Callable[[], None]]] = [
        (f"{EAGER}, vision tower, 1 picture of {width}×{height}", encode),
        (f"{EAGER}, first token, from prepared inputs", answer),
    ]
    return [
        Row(name=name, values=[1000 * took for took in _seconds(course, run)], unit="ms")
        for name, run in timed
    ]


def _extrapolated(course: Course, model: Any, inputs: Inputs, new_tokens: int) -> list[float]:
    """Seconds of a whole `generate`."""
    few, many = course.scale.baseline_tokens

    def run(count: int) -> None:
        generate(model, inputs, count)

    # The first call of each length takes twice as long as those after it, which would flatter us.
    run(many)
    taken: list[float] = []
    for _ in range(3):
        [short] = seconds(lambda: run(few), course.device, repetitions=1, warm=0)
        [long] = seconds(lambda: run(many), course.device, repetitions=1, warm=0)
        taken.append(short + (new_tokens - few) * (long - short) / (many - few))
    return taken


def _per_token(course: Course, run: Callable[[int], None], few: int, many: int) -> Sequence[float]:
    """Seconds of one more token."""
    # As above.
    run(many)
    taken: list[float] = []
    for _ in range(3):
        [short] = seconds(lambda: run(few), course.device, repetitions=1, warm=0)
        [long] = seconds(lambda: run(many), course.device, repetitions=1, warm=0)
        taken.append((long - short) / (many - few))
    return taken


def _seconds(course: Course, run: Callable[[], None]) -> list[float]:
    return seconds(run, course.device, repetitions=course.scale.repetitions)


def _texts(course: Course, streams: int, tokens: int) -> Inputs:
    return batch_of([inputs_of(course.subject, Asked(course.texts.of(tokens))) for _ in range(streams)])


def _with_pictures(course: Course, count: int) -> list[Inputs]:
    scale = course.scale
    return [
        inputs_of(course.subject, Asked(course.texts.own(scale.question_tokens), [picture]))
        for picture in jpegs(count, *scale.picture, seed=3)
    ]
