"""Decoding and prompts of the shipped engine, through its scheduler, at temperature 1 and top-p 0.6."""

from __future__ import annotations

from collections.abc import Sequence

from ..client import Asked
from ..course import Course
from ..decoding import decoding, full_steps, windows
from ..report import Row
from ..scale import Decoding


def decode(course: Course) -> list[Row]:
    return [_decode(course, item, item.target) for item in course.scale.decoding]


def long(course: Course) -> list[Row]:
    item = course.scale.long
    assert item.target is not None
    return [_decode(course, item, item.target * _allowed(course, item))]


def prefill(course: Course) -> list[Row]:
    """Many prompts at once, each another, of which only the first token is asked for."""
    scale = course.scale
    tokens = scale.prompts * scale.prompt_tokens
    speeds: list[float] = []
    for _ in range(scale.repetitions // 3 + 1):
        streams = course.client.run(
            [Asked(course.texts.of(scale.prompt_tokens)) for _ in range(scale.prompts)]
        )
        speeds.append(tokens / (max(stream.times[0] for stream in streams) - streams[0].submitted))
    allowed = scale.prompt_tokens / course.roofline.prefill(scale.prompt_tokens).seconds(course.ceilings)
    return [Row(name="prefill", values=speeds[1:], unit="tokens/s", roofline=allowed)]


def _decode(course: Course, item: Decoding, target: float | None) -> Row:
    streams, window = item.streams, course.scale.window
    batch = decoding(
        course.texts, streams, context=item.context, window=window, token_budget=course.sizes.token_budget
    )
    ran = course.client.run(batch)
    steps = full_steps(course.client.steps, streams)
    speeds = [streams / step for step in windows([step.time for step in steps], max(1, window // 8))]
    prompts = [stream.done.usage.prompt_tokens for stream in ran]
    middle = (steps[0].time + steps[-1].time) / 2
    generated = [sum(time <= middle for time in stream.times) for stream in ran]
    return Row(
        name=_name(item),
        values=speeds,
        unit="tokens/s",
        target=target,
        roofline=_allowed(course, item),
        note=f"context in the middle of {len(steps)} steps: {_mean(prompts) + _mean(generated):.0f}",
    )


def _allowed(course: Course, item: Decoding) -> float:
    work = course.roofline.decode(item.streams, item.context)
    return item.streams / work.seconds(course.ceilings)


def _name(item: Decoding) -> str:
    return f"decode, {item.streams} streams, {item.context} tokens of context"


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers)
