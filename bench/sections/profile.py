"""Which kernels the time goes to, and how long the device waits between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from ..client import Asked
from ..course import Course
from ..decoding import decoding
from ..prompts import jpegs
from ..report import Row
from ..scale import Decoding
from .pictures import decoded, tower

STEPS = 8
TOP = 25
PROMPTS = (64, 640)


def profile(course: Course, path: Path) -> list[Row]:
    """Writes a text to `path`, and prints it; measures nothing that a row could hold."""
    # The library behind it wants to be set up by the main thread.
    with torch.profiler.profile():
        pass
    texts = [_decode(course, item) for item in (*course.scale.decoding, course.scale.long)]
    texts += [_prompt(course, tokens) for tokens in PROMPTS]
    texts.append(_vision(course))
    path.write_text("\n\n".join(texts) + "\n")
    print(f"\n{path}:\n{path.read_text()}")
    return []


def _decode(course: Course, item: Decoding) -> str:
    """Some steps in the middle of many."""
    recorder = Recorder(course.device)
    streams = item.streams
    batch = decoding(
        course.texts,
        streams,
        context=item.context,
        window=course.scale.window,
        token_budget=course.sizes.token_budget,
    )
    seen = 0

    def on_step() -> None:
        nonlocal seen
        seen += course.client.steps[-1].tokens == streams
        if seen == course.scale.window // 2:
            recorder.start()
        elif seen == course.scale.window // 2 + STEPS:
            recorder.stop()

    _with_hook(course, on_step, lambda: course.client.run(batch))
    return recorder.text(f"{STEPS} decode steps of {streams} streams, {item.context} tokens of context")


def _prompt(course: Course, count: int) -> str:
    """The engine's thread starts the recording, at the end of a request before."""
    recorder = Recorder(course.device)
    tokens = min(count, course.subject.checkpoint.context_length // 4)
    course.client.run([Asked(course.texts.of(tokens))])
    _with_hook(course, recorder.start, lambda: course.client.run([Asked(course.texts.of(64))]))
    _with_hook(course, recorder.stop, lambda: course.client.run([Asked(course.texts.of(tokens))]))
    return recorder.text(f"a prompt of {tokens} tokens, and its first token")


def _vision(course: Course) -> str:
    recorder = Recorder(course.device)
    encoder = tower(course)
    items = decoded(course, jpegs(1, *course.scale.picture, seed=6))
    with torch.inference_mode():
        for _ in range(3):
            encoder.encode(items)
        recorder.start()
        encoder.encode(items)
        recorder.stop()
    width, height = course.scale.picture
    return recorder.text(f"the vision tower, one picture of {width}×{height}")


def _with_hook(course: Course, hook: Callable[[], None], run: Callable[[], object]) -> None:
    course.client.on_step = hook
    try:
        run()
    finally:
        course.client.on_step = lambda: None


@dataclass(frozen=True, slots=True)
class _Kernel:
    """Times in µs."""

    name: str
    start: float
    end: float


class Recorder:
    """torch's profiler between `start` and `stop`, which have to be called on the same thread."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # What runs on the host is not recorded beside a GPU: that alone would make gaps.
        on_gpu = device.type == "cuda"
        self._profile = torch.profiler.profile(
            activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
        )

    def start(self) -> None:
        self._settle()
        self._profile.start()

    def stop(self) -> None:
        self._settle()
        self._profile.stop()

    def text(self, title: str) -> str:
        """What was recorded."""
        if self._device.type != "cuda":
            table = self._profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=TOP)
            return f"{title}\n{table}"
        events: Any = self._profile.events()  # type: ignore[no-untyped-call]
        kernels = sorted(
            (
                _Kernel(event.name, event.time_range.start, event.time_range.end)
                for event in events
                if event.device_type.name == "CUDA"
            ),
            key=lambda kernel: kernel.start,
        )
        return f"{title}\n{_table(kernels)}" if kernels else f"{title}\nnothing was recorded"

    def _settle(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _table(kernels: list[_Kernel]) -> str:
    span = max(kernel.end for kernel in kernels) - kernels[0].start
    gaps = _gaps(kernels)
    lines = [
        f"{len(kernels)} kernels in {span / 1000:.3f} ms; the device waited {sum(gaps) / 1000:.3f} ms of it, "
        f"in {len(gaps)} gaps of up to {max(gaps, default=0.0):.1f} µs",
        f"{'µs':>10} {'share':>6} {'calls':>6} {'µs each':>9}  kernel",
    ]
    times: dict[str, list[float]] = defaultdict(list)
    for kernel in kernels:
        times[kernel.name].append(kernel.end - kernel.start)
    for name, each in sorted(times.items(), key=lambda item: -sum(item[1]))[:TOP]:
        total = sum(each)
        lines.append(
            f"{total:10.1f} {100 * total / span:5.1f}% {len(each):6} {total / len(each):9.2f}  {name[:110]}"
        )
    return "\n".join(lines)


def _gaps(kernels: list[_Kernel]) -> list[float]:
    """The times in which nothing ran."""
    gaps: list[float] = []
    busy_until = kernels[0].end
    for _, after in pairwise(kernels):
        if after.start > busy_until:
            gaps.append(after.start - busy_until)
        busy_until = max(busy_until, after.end)
    return gaps
