"""
What a schema costs while decoding: the same requests with and without one, in the shipped engine.

    PYTHONPATH=python-worker:test/gpu python -m bench.structured [--model-shape embedded]

The answer is one text without an end, as random weights write it: each of its tokens has a mask of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from statistics import median

from glimpse_worker.engine.paged.loading import keep_what_is_there
from glimpse_worker.protocol import (
    ChatMessage,
    DataFromWorker,
    Done,
    Error,
    Fault,
    Generate,
    LoadingStage,
    Options,
    TextContent,
    Tokens,
)
from glimpse_worker.worker import SWITCH_INTERVAL_S

from .course import device_of
from .models import Shape, random_weights

TOKENS = 300
REPETITIONS = 3
SCHEMA = json.dumps({"type": "string"})
PATIENCE_S = 120


class Crowd:
    """Requests that decode at the same time, and when their tokens came."""

    def __init__(self) -> None:
        self.times: list[tuple[float, int]] = []
        self.left = 0
        self.ended = threading.Event()
        self.graphs = threading.Event()

    def hear(self, message: DataFromWorker | Fault) -> None:
        if isinstance(message, Tokens):
            self.times.append((time.perf_counter(), sum(len(item.ids) for item in message.items)))
        elif isinstance(message, Error | Fault):
            raise RuntimeError(message)
        elif isinstance(message, Done):
            self.left -= 1
            if self.left == 0:
                self.ended.set()

    def progress(self, stage: LoadingStage, done: int | None, total: int | None) -> None:
        if stage == "graphs" and done == total:
            self.graphs.set()

    def speed(self) -> float:
        """Tokens per second in the middle of the run, when all of them decode."""
        first, last = len(self.times) // 4, len(self.times) * 3 // 4
        tokens = sum(count for _, count in self.times[first + 1 : last + 1])
        return tokens / (self.times[last][0] - self.times[first][0])


def main(arguments: Sequence[str] | None = None) -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-shape", choices=("9b", "embedded"), default="9b")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64])
    options = parser.parse_args(arguments)
    # As in the worker's process.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    shape: Shape = options.model_shape
    on_gpu = shape == "9b"
    subject = random_weights(shape, device_of(shape), torch.bfloat16 if on_gpu else torch.float32)
    crowd = Crowd()
    engine = subject.engine(crowd.hear, 16 * 1024**3 if on_gpu else None, crowd.progress)

    def run(streams: int, schemas: Sequence[str | None], name: str) -> float:
        crowd.times, crowd.left = [], streams
        crowd.ended.clear()
        for number in range(streams):
            request = Generate(
                request=f"{name}-{number}",
                attempt=0,
                messages=[ChatMessage(role="user", content=[TextContent(f"Write, {number}.")])],
                media=[],
                options=Options(
                    seed=number,
                    temperature=1.0,
                    top_p=0.6,
                    max_new_tokens=TOKENS,
                    max_thinking_tokens=0,
                    schema=schemas[number % len(schemas)],
                ),
            )
            engine.submit(request, [])
        if not crowd.ended.wait(PATIENCE_S):
            raise TimeoutError(name)
        return crowd.speed()

    started = time.perf_counter()
    subject.grammars.of(Options(seed=0, schema=SCHEMA))
    print(f"the vocabulary read and a schema compiled: {time.perf_counter() - started:.2f} s", flush=True)
    if on_gpu and not crowd.graphs.wait(PATIENCE_S):
        raise TimeoutError("graphs")
    run(1, [SCHEMA], "first")
    keep_what_is_there()
    print("| streams | without | all with a schema | every second one |\n|---|---|---|---|", flush=True)
    kinds: dict[str, list[str | None]] = {"free": [None], "held": [SCHEMA], "mixed": [None, SCHEMA]}
    for streams in options.streams:
        speeds: dict[str, list[float]] = {kind: [] for kind in kinds}
        for repetition in range(REPETITIONS):
            for kind, schemas in kinds.items():
                if streams > 1 or kind != "mixed":
                    speeds[kind].append(run(streams, schemas, f"{kind}-{streams}-{repetition}"))
        cells = [f"{median(seen):.0f} tokens/s" if seen else "" for seen in speeds.values()]
        print(f"| {streams} | {' | '.join(cells)} |", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
