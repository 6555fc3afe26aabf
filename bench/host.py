"""
What a step of the paged engine costs the host, without a GPU:

    PYTHONPATH=python-worker:test/gpu python -m bench.host [--profile] [--json FILE]

The engine is the shipped one, with the sizes that it has on a GPU, but its decoder and its sampler give some
ids of the embedded model's tokenizer at once. What is left is the scheduler, the building of the batch, the
reading of the tokens, text and parts, and the packing of the message. Copies to a GPU and launches are not in
it. Counted is what the engine's thread computes, so other programs on the machine disturb little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import GenerationConfig

from glimpse_worker.engine.interface import Emit
from glimpse_worker.engine.paged.admission import Admission
from glimpse_worker.engine.paged.assembly import GPU
from glimpse_worker.engine.paged.engine import PagedEngine
from glimpse_worker.engine.paged.features import FeatureCache
from glimpse_worker.engine.paged.inbox import Inbox
from glimpse_worker.engine.paged.intake import Intake
from glimpse_worker.engine.paged.pages import Pages
from glimpse_worker.engine.paged.runner import Runner
from glimpse_worker.engine.paged.scheduler import Scheduler
from glimpse_worker.engine.pulse import Pulse
from glimpse_worker.worker import SWITCH_INTERVAL_S

from .client import Client
from .decoding import decoding, full_steps, windows
from .host_profile import profiled
from .models import Subject, trained
from .prompts import Texts
from .report import Report, Row, table
from .timing import Spread

STREAMS = {1: 1.0, 32: None, 64: None, 256: 10.0}
"""How many, and how many milliseconds a step may take: that of a GPU takes 6 with one stream, 13 with 256."""
CONTEXT = 1024
STEPS = 192
WINDOW = 32


class NoModel:
    """In the place of the decoder: as many rows as it is given, of nothing."""

    def __init__(self, vocabulary: int) -> None:
        self.device = torch.device("cpu")
        self.vocabulary = vocabulary

    def embed(self, ids: Tensor) -> Tensor:
        return torch.zeros(len(ids), 1)

    def forward(self, hidden: Tensor, *_: Any) -> Tensor:
        return hidden

    def logits(self, output: Tensor) -> Tensor:
        return output


class AnyToken:
    """In the place of the sampler: ids that are whole characters, as nearly all of a real answer's are."""

    def __init__(self, subject: Subject) -> None:
        vocabulary = range(subject.tokenizer.vocab_size)
        texts = {id: subject.tokenizer.decode([id]) for id in vocabulary}
        self._ids = torch.tensor([id for id, text in texts.items() if "\ufffd" not in text])
        self._random = torch.Generator().manual_seed(0)

    def choose(self, logits: Tensor, *_: Any) -> Tensor:
        return self._ids[torch.randint(len(self._ids), (len(logits),), generator=self._random)]


def engine(subject: Subject, emit: Emit) -> PagedEngine:
    """As `assemble` makes it for a GPU, but for the model."""
    checkpoint = replace(subject.checkpoint, context_length=65536)
    vocabulary = subject.config.text_config.vocab_size
    features = FeatureCache(0)
    inbox: Inbox = Inbox()
    return PagedEngine(
        # What the orchestrator and the vision tower would be told: nobody asks here.
        cast(Any, None),
        Pulse(),
        inbox,
        Intake(checkpoint, subject.prompts, subject.grammars, features, inbox),
        Admission(
            subject.tokenizer,
            GenerationConfig.from_dict({"eos_token_id": [vocabulary]}),
            vocabulary=vocabulary,
            merge_size=checkpoint.image.merge_size,
            page_size=GPU.page_size,
        ),
        Scheduler(
            Pages(GPU.max_running * 2 * CONTEXT // GPU.page_size),
            page_size=GPU.page_size,
            max_running=GPU.max_running,
            token_budget=GPU.token_budget,
        ),
        cast(Any, _NoPictures()),
        Runner(
            cast(Any, NoModel(vocabulary)),
            cast(Any, None),
            AnyToken(subject),
            [],
            page_size=GPU.page_size,
            max_running=GPU.max_running,
        ),
        # Nobody counts here.
        cast(Any, None),
        emit,
        lookahead=GPU.lookahead,
    )


class _NoPictures:
    def place(self, *_: Any) -> list[Any]:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.host")
    parser.add_argument(
        "--profile", action="store_true", help="say where the engine's thread spends its time"
    )
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir(), "glimpse-bench-host.json"))
    options = parser.parse_args()
    # As in the worker's process.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    torch.set_num_threads(1)
    subject = trained()
    report = Report(options.json, subject.device, "none")
    client = Client(lambda emit: engine(subject, emit), slots=GPU.max_running + GPU.ahead)
    texts = Texts(subject.prompts)
    report.put("host", "done", [_measure(client, texts, *item) for item in STREAMS.items()])
    print(f"{table(report.document)}\nwritten to {options.json}")
    if options.profile:
        for streams in (1, max(STREAMS)):
            print(f"\nThe engine's thread, {streams} streams:\n{profiled(client, _batch(texts, streams))}")


def _measure(client: Client, texts: Texts, streams: int, target: float | None) -> Row:
    client.run(_batch(texts, streams))
    steps = full_steps(client.steps, streams)
    computing = [1000 * step for step in windows([step.cpu for step in steps], WINDOW)]
    passing = [1000 * step for step in windows([step.time for step in steps], WINDOW)]
    row = Row(name=f"a step of {streams} streams, host alone", values=computing, unit="ms", target=target)
    wall = Spread.of(passing).median
    note = f"{1000 * row.spread.median / streams:.1f} µs a stream; by the wall clock {wall:.3g} ms a step"
    return replace(row, note=note)


def _batch(texts: Texts, streams: int) -> list[Any]:
    return list(decoding(texts, streams, context=CONTEXT, window=STEPS, token_budget=GPU.token_budget))


if __name__ == "__main__":
    main()
