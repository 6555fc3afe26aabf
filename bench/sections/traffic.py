"""Many requests with pictures: all at once, at random times, and as fast as pictures can be captioned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from glimpse_worker.engine.paged.intake import MAX_THREADS
from glimpse_worker.prepare import prepare

from ..client import Asked, Client, Stream, message
from ..course import Course
from ..prompts import jpegs
from ..report import Row
from ..timing import percentile
from .baselines import ONE_BY_ONE, in_batches
from .busy import Busy
from .pictures import BATCH, tower_name

RATE = "requests with a picture, all at once"
SHARE = 0.7


def together(course: Course) -> list[Row]:
    """All submitted at once, and beside it what transformers takes for the same."""
    scale, rates = course.scale, list[float]()
    for turn in range(3):
        start = time.perf_counter()
        streams = course.client.run(_asked(course, scale.requests, turn))
        rates.append(scale.requests / (max(stream.times[-1] for stream in streams) - start))
    # The first one warms up: kernels for new shapes are compiled once.
    rate = Row(name=RATE, values=rates[1:], unit="requests/s", roofline=_allowed(course))
    return [
        rate,
        *_factor(course, rate, ONE_BY_ONE, 200),
        *_factor(course, rate, in_batches(scale.baseline_batch), 20),
    ]


def arriving(course: Course) -> list[Row]:
    """The same at random times, at 70 % of the rate that was reached when all came at once."""
    rate = course.report.median(RATE)
    if rate is None:
        raise RuntimeError("the section `together` has to come first: it gives the rate")
    asked = _asked(course, course.scale.requests, turn=9)
    streams = _arrive(course.client, asked, SHARE * rate)
    gaps = [1000 * gap for stream in streams for gap in stream.gaps_s]
    firsts = [1000 * stream.first_token_s for stream in streams]
    full = course.shape == "9b"
    note = f"{len(streams)} requests at {SHARE * rate:.2f} a second; median {percentile(gaps, 50):.1f} ms"
    return [
        Row(
            name="time between tokens, 99th percentile",
            values=[percentile(gaps, 99)],
            unit="ms",
            target=50 if full else None,
            note=note,
        ),
        Row(name="first token under the same load, median", values=[percentile(firsts, 50)], unit="ms"),
        Row(
            name="first token under the same load, 99th percentile",
            values=[percentile(firsts, 99)],
            unit="ms",
        ),
    ]


def captions(course: Course) -> list[Row]:
    """Encoded pictures in, half of them large, a caption each."""
    scale = course.scale
    sizes = (scale.picture, scale.large_picture)
    half = scale.jpegs // 2
    pictures = [jpeg for size in sizes for jpeg in jpegs(half, *size, seed=4)]
    np.random.default_rng(0).shuffle(pictures)
    warming = [jpeg for size in sizes for jpeg in jpegs(BATCH, *size, seed=5)]
    warm, asked = (
        [
            Asked(course.texts.own(scale.question_tokens), [picture], max_new_tokens=scale.caption_tokens)
            for picture in some
        ]
        for some in (warming, pictures)
    )
    course.client.run(warm)
    with Busy(course.device) as busy:
        start = time.perf_counter()
        streams = course.client.run(asked)
        taken = max(stream.times[-1] for stream in streams) - start
    allowed, note = _ceiling(course, pictures)
    rate = Row(
        name="pictures captioned",
        values=[len(asked) / taken],
        unit="pictures/s",
        target=None if allowed is None else 0.75 * allowed,
        roofline=allowed,
        note=note,
    )
    shares = busy.shares
    if not shares:
        return [rate]
    return [
        rate,
        Row(name="GPU busy meanwhile", values=[100 * sum(shares) / len(shares)], unit="%", target=95),
    ]


def _asked(course: Course, count: int, turn: int) -> list[Asked]:
    scale = course.scale
    return [
        Asked(course.texts.own(scale.question_tokens), [picture], max_new_tokens=scale.new_tokens)
        for picture in jpegs(count, *scale.picture, seed=10 + turn)
    ]


def _arrive(client: Client, asked: Sequence[Asked], rate: float) -> list[Stream]:
    """Submits them as a Poisson process of so many a second, and waits for all."""
    pauses = np.random.default_rng(5).exponential(1 / rate, len(asked))
    client.steps.clear()
    streams: list[Stream] = []
    due = time.perf_counter()
    for one, pause in zip(asked, pauses, strict=True):
        due += float(pause)
        time.sleep(max(0.0, due - time.perf_counter()))
        streams.append(client.submit(one))
    client.wait(streams)
    return streams


def _factor(course: Course, rate: Row, baseline: str, target: float) -> list[Row]:
    """How many times what transformers does, if that was measured."""
    theirs = course.report.median(baseline)
    if theirs is None:
        return []
    return [
        Row(
            name=f"{RATE}, over {baseline}",
            values=[value / theirs for value in rate.values],
            unit="×",
            target=target if course.shape == "9b" else None,
        )
    ]


def _allowed(course: Course) -> float:
    """Requests a second by bytes and operations: every part at its own ceiling, one after another."""
    scale, roofline, ceilings = course.scale, course.roofline, course.ceilings
    tokens = course.image_tokens(*scale.picture) + scale.question_tokens
    streams = min(scale.requests, course.sizes.max_running)
    vision = roofline.vision([course.patches(*scale.picture)] * BATCH).seconds(ceilings) / BATCH
    step = roofline.decode(streams, tokens + scale.new_tokens / 2).seconds(ceilings)
    prompt = roofline.prefill(tokens).operations / ceilings.multiply
    return 1 / (vision + prompt + scale.new_tokens * step / streams)


def _ceiling(course: Course, pictures: Sequence[bytes]) -> tuple[float | None, str]:
    """
    Pictures a second if the vision tower, the prompts and decoding, each as fast as it was measured alone,
    took turns on the device, or the host's threads decoded as fast as they were measured, whichever is less.
    """
    scale, median = course.scale, course.report.median
    sizes = (scale.picture, scale.large_picture)
    towers = [median(tower_name(size, BATCH)) for size in sizes]
    prefill, most = median("prefill"), max(scale.decoding, key=lambda item: item.streams)
    decoding = median(f"decode, {most.streams} streams, {most.context} tokens of context")
    if None in towers or prefill is None or decoding is None:
        return None, "no ceiling: vision, prefill or decode were not measured"
    vision = sum(tower for tower in towers if tower is not None) / 1000 / BATCH / len(sizes)
    tokens = sum(course.image_tokens(*size) for size in sizes) / len(sizes) + scale.question_tokens
    host = _decoded_per_second(course, pictures[: 8 * MAX_THREADS])
    parts = {"vision": vision, "prompts": tokens / prefill, "decode": scale.caption_tokens / decoding}
    note = ", ".join(f"{name} {1000 * part:.1f} ms a picture" for name, part in parts.items())
    return min(1 / sum(parts.values()), host), f"{note}; host {host:.0f} pictures/s"


def _decoded_per_second(course: Course, pictures: Sequence[bytes]) -> float:
    """How many requests the host prepares, with as many threads as the engine may have."""
    subject = course.subject

    def run(picture: bytes) -> None:
        asked = Asked("", [picture])
        prepare(message(asked, "host"), asked.pictures, subject.checkpoint, subject.prompts, lambda: False)

    with ThreadPoolExecutor(MAX_THREADS) as pool:
        list(pool.map(run, pictures[:MAX_THREADS]))
        start = time.perf_counter()
        list(pool.map(run, pictures))
        return len(pictures) / (time.perf_counter() - start)
