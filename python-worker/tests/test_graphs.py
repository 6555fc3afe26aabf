"""
Steps of captured sizes give the tokens that they give without, whatever was in their tensors before.

Where there is no GPU, a graph is a computation that is done again over the same tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from test_runner import GREEDY, HOT, PAGE, PENALISED, Bench, answer, decoder, mask
from torch import Tensor

from glimpse_worker.engine.paged.batch import Integers
from glimpse_worker.engine.paged.capturing import Graph
from glimpse_worker.engine.paged.decode_graphs import DecodeGraphs
from glimpse_worker.engine.paged.graphs import Graphs
from glimpse_worker.engine.paged.memory import allocate_caches
from glimpse_worker.engine.paged.ops import Chunk, LayerCache
from glimpse_worker.engine.paged.prompt_graphs import ROWS, PromptGraphs
from glimpse_worker.engine.paged.runner import Runner
from glimpse_worker.engine.paged.sampler import TorchSampler
from glimpse_worker.engine.paged.torch_ops import TorchOps

CPU = torch.device("cpu")
MAX_PAGES = 8


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    """As in an engine. The decoder is shared with tests of other files."""
    with torch.inference_mode():
        yield


@dataclass
class Again:
    """A graph, and how often it was replayed."""

    compute: Callable[[], Tensor]
    output: Tensor
    replayed: int = 0

    def replay(self) -> None:
        self.replayed += 1
        self.output.copy_(self.compute())


@dataclass
class Recorded:
    graphs: list[Again] = field(default_factory=list)

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
        graph = Again(compute, compute())
        self.graphs.append(graph)
        return graph, graph.output


class BlockOps(TorchOps):
    """The part of TritonOps that graphs of prompts need, as it is described there."""

    def query_blocks(self, chunks: Sequence[Chunk]) -> Integers:
        return np.array(
            [[row, chunk.first, chunk.count, chunk.start] for row, chunk in enumerate(chunks)], dtype=np.int32
        )

    def attend_blocks(self, q: Tensor, cache: LayerCache, page_table: Tensor, blocks: Tensor) -> Tensor:
        attended = torch.full_like(q, torch.nan).flatten(1)
        for row, first, count, start in blocks.tolist():
            if count:
                chunk = Chunk(first=0, count=count, start=start)
                rows = slice(first, first + count)
                attended[rows] = self.prefill_attention(q[rows], cache, page_table[row : row + 1], [chunk])
        return attended


def graphs(capture: Callable[[Callable[[], Tensor]], tuple[Graph, Tensor]], reports: list[int]) -> Graphs:
    return Graphs(
        DecodeGraphs(CPU, nobody=4, max_pages=MAX_PAGES, sizes=(1, 2, 4)),
        PromptGraphs(
            CPU,
            BlockOps(),  # type: ignore[arg-type]
            hidden_size=decoder().hidden_size,
            dtype=torch.float32,
            max_pages=MAX_PAGES,
            sizes=(16, 64),
        ),
        capture,
        lambda done, total: reports.append(total - done),
    )


def captured(capture: Callable[[Callable[[], Tensor]], tuple[Graph, Tensor]]) -> Bench:
    """A runner with all graphs that can be captured."""
    runner = Runner(
        decoder(),
        TorchOps(),
        TorchSampler(),
        allocate_caches(decoder(), 32, PAGE),
        page_size=PAGE,
        max_running=4,
        graphs=graphs(capture, []),
    )
    while runner.capture_next():
        pass
    return Bench(runner)


def conversation(bench: Bench) -> list[list[int]]:
    """Batches that grow and shrink, so that graphs find in their tensors what others left."""
    texts = ["Hello", "What is 2 + 2?", "Say no five times.", "Hi"]
    settings = [GREEDY, HOT, PENALISED, GREEDY]
    sequences = [
        bench.sequence(text, slot, setting)
        for slot, (text, setting) in enumerate(zip(texts, settings, strict=True))
    ]
    bench.begin(*sequences)
    bench.go_on(*sequences, tokens=2)
    bench.go_on(*sequences[1:], tokens=2)
    bench.go_on(sequences[3], tokens=2)
    bench.go_on(sequences[2], tokens=2)
    late = bench.sequence("Once more", 0)
    bench.begin(late)
    bench.go_on(late, *sequences[:0:-1], tokens=2)
    return [answer(sequence) for sequence in (*sequences, late)]


def test_steps_in_graphs_give_the_same_tokens() -> None:
    recorded = Recorded()
    assert conversation(captured(recorded)) == conversation(Bench())
    replayed = [graph.replayed for graph in recorded.graphs]
    # In the order in which they are captured: decoding, prompts.
    assert len(replayed) == 3 + 2
    assert all(replayed[index] for index in (0, 2, 4))


def test_answers_that_have_a_schema_go_through_the_same_graphs() -> None:
    digits = [*range(15, 25)]

    def answers(bench: Bench) -> list[list[int]]:
        told = []
        for settings in ((GREEDY, HOT), (PENALISED, GREEDY)):
            texts = [("Hello", lambda _: mask(*digits)), ("What is 2 + 2?", None)]
            sequences = [
                bench.sequence(text, slot, setting, allowed)
                for slot, ((text, allowed), setting) in enumerate(zip(texts, settings, strict=True))
            ]
            bench.begin(*sequences)
            bench.go_on(*sequences, tokens=6)
            assert {*answer(sequences[0])} <= {*digits}
            told += [answer(sequence) for sequence in sequences]
        return told

    recorded = Recorded()
    assert answers(captured(recorded)) == answers(Bench())
    # Of one row, of two, of four.
    assert [graph.replayed for graph in recorded.graphs[:3]] == [0, 12, 0]


def test_more_prompts_or_tokens_than_a_graph_takes_are_computed_without() -> None:
    recorded = Recorded()
    bench = captured(recorded)
    alone = bench.sequence("A long question. " * 8, 0)
    assert len(alone.ids) > 64
    bench.begin(alone)
    assert ROWS == 8
    assert not any(graph.replayed for graph in recorded.graphs)
    other = Bench()
    same = other.sequence("A long question. " * 8, 0)
    other.begin(same)
    assert answer(alone) == answer(same)


def test_a_graph_that_cannot_be_captured_is_told_and_done_without(caplog: pytest.LogCaptureFixture) -> None:
    recorded = Recorded()

    def capture(compute: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
        if len(recorded.graphs) == 4:
            raise torch.OutOfMemoryError("no room")
        return recorded(compute)

    with caplog.at_level(logging.WARNING):
        bench = captured(capture)
    assert "1 of 5 are missing" in caplog.text
    assert conversation(bench) == conversation(Bench())


def test_how_many_graphs_there_are_is_reported() -> None:
    reports: list[int] = []
    bench = Bench()
    all_graphs = graphs(Recorded(), reports)
    runner = bench.runner
    compute = (runner._compute, runner._decoder.logits, runner._forward)
    while all_graphs.capture_next(*compute):
        pass
    assert reports == [4, 3, 2, 1, 0]
    assert not all_graphs.capture_next(*compute)
