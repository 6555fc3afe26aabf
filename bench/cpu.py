"""
The paged engine beside transformers' `generate` on the CPU, with the embedded model:

    PYTHONPATH=python-worker:test/gpu python -m bench.cpu [--threads N] [--profile] [--json FILE]

All answer the same requests, half of them with a picture, greedily and with the same number of new tokens.
`generate` is timed from prepared inputs on; the engine from encoded pictures and texts to packed messages.
CPU time counts what the process computes, whatever else the machine does: with `--threads 1`, where no thread
waits for another, it hardly varies.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from glimpse_worker.worker import SWITCH_INTERVAL_S

from .client import Asked, Client
from .host_profile import profiled
from .models import Subject, trained
from .plain import Inputs, batch_of, generate, inputs_of
from .prompts import Texts, jpegs
from .report import Report, Row, table

NEW_TOKENS = 128
"""As many as the embedded checkpoint asks for when nobody says otherwise."""
PROMPTS = (24, 48, 96, 192)
"""Tokens of the texts, template included; every second request has a picture of 64 tokens before its text."""
PICTURE = 224
TARGET = 3.0
"""Times the tokens per second of `generate`, one request by one."""


def main() -> None:
    options = _options()
    # As in the worker's process.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if options.threads:
        torch.set_num_threads(options.threads)
    subject = trained()
    report = Report(options.json, subject.device, "embedded")
    rows = [row for count in (8, 16) for row in _compare(subject, count, options.repetitions)]
    report.put("cpu", "done", rows)
    print(f"{table(report.document)}\nwritten to {options.json}")
    if options.profile:
        client = Client(subject.engine)
        for count in (8, 16):
            print(
                f"\nThe engine's thread, {count} requests:\n{profiled(client, _requests(subject, count, 99))}"
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cpu")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, help="of torch, instead of one per core")
    parser.add_argument(
        "--profile", action="store_true", help="say where the engine's thread spends its time"
    )
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir(), "glimpse-bench-cpu.json"))
    return parser.parse_args()


def _compare(subject: Subject, count: int, repetitions: int) -> list[Row]:
    """Turn by turn, so that whatever else the machine does disturbs all alike."""
    model: Any = subject.model()
    client = Client(subject.engine)
    ways = {
        "generate, one by one": partial(_one_by_one, model),
        f"generate, padded batch of {count}": partial(_padded, model),
        "paged": partial(_paged, client),
    }
    passed: dict[str, list[float]] = {name: [] for name in ways}
    computed: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repetitions + 1):
        batch = _requests(subject, count, turn)
        inputs = [inputs_of(subject, asked) for asked in batch]
        for name, run in ways.items():
            start = time.perf_counter(), time.process_time()
            run(batch, inputs)
            # The first turn warms up.
            if turn > 0:
                passed[name].append(time.perf_counter() - start[0])
                computed[name].append(time.process_time() - start[1])
    client.engine.close()
    target = TARGET if count == 8 else None
    return [
        *_rows(f"{count} requests", "tokens/s", passed, count * NEW_TOKENS, target),
        *_rows(f"{count} requests, CPU time", "tokens/s", computed, count * NEW_TOKENS),
    ]


def _rows(
    what: str, unit: str, taken: Mapping[str, Sequence[float]], tokens: int, target: float | None = None
) -> list[Row]:
    """The speeds, and how many times that of each other way the engine's is, by turn."""
    rows = [
        Row(name=f"{what}: {name}", values=[tokens / took for took in times], unit=unit)
        for name, times in taken.items()
    ]
    *others, paged = taken.items()
    factors = [
        Row(
            name=f"{what}: paged over {name.removeprefix('generate, ')}",
            values=[theirs / ours for theirs, ours in zip(times, paged[1], strict=True)],
            unit="×",
            target=target if name == "generate, one by one" else None,
        )
        for name, times in others
    ]
    return rows + factors


def _requests(subject: Subject, count: int, turn: int) -> list[Asked]:
    """New ones each turn, so that no cache knows them."""
    texts = Texts(subject.prompts, seed=turn)
    pictures = jpegs(count, PICTURE, PICTURE, seed=turn)
    return [
        Asked(
            texts.of(PROMPTS[index // 2 % len(PROMPTS)]),
            [pictures[index]] if index % 2 else [],
            max_new_tokens=NEW_TOKENS,
            temperature=0.0,
        )
        for index in range(count)
    ]


def _one_by_one(model: Any, _: Sequence[Asked], inputs: Sequence[Inputs]) -> None:
    for one in inputs:
        _checked(generate(model, one, NEW_TOKENS).numel(), NEW_TOKENS)


def _padded(model: Any, _: Sequence[Asked], inputs: Sequence[Inputs]) -> None:
    _checked(generate(model, batch_of(inputs), NEW_TOKENS).numel(), NEW_TOKENS * len(inputs))


def _paged(client: Client, batch: Sequence[Asked], _: Sequence[Inputs]) -> None:
    _checked(sum(len(stream.times) for stream in client.run(batch)), NEW_TOKENS * len(batch))


def _checked(generated: int, expected: int) -> None:
    if generated != expected:
        raise RuntimeError(f"expected {expected} tokens, got {generated}")


if __name__ == "__main__":
    main()
