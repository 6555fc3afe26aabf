"""What the sections share: the sizes of GLM-4.1V-9B, the device, and how fast it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from glimpse_worker.engine.paged.kernels.card import Card
from glimpse_worker.engine.paged.triton_ops import TritonOps

from ..ceilings import Ceilings, measure
from ..report import Row
from .timing import Call, seconds_each


@dataclass(frozen=True, slots=True)
class Sizes:
    hidden: int
    intermediate: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    rotary_dim: int
    page_size: int
    rows: tuple[int, ...]
    """Of linears."""
    many_rows: tuple[int, ...]
    """Of what needs to be fast for large batches as well."""
    decoded: tuple[tuple[int, int], ...]
    """Batches of so many rows with so many tokens of context each."""
    prefilled: tuple[int, ...]
    """Prompts of so many tokens."""
    layers: int
    """A few, of which one is timed."""
    cold_bytes: int
    """Whatever is read in turn is so much together that no cache holds it."""


FULL = Sizes(
    hidden=4096,
    intermediate=13696,
    vocabulary=151_552,
    heads=32,
    kv_heads=2,
    head_dim=128,
    rotary_dim=64,
    page_size=64,
    rows=(1, 2, 16, 32, 64),
    many_rows=(1, 32, 256),
    decoded=((1, 1024), (32, 8192), (64, 1024), (256, 1024)),
    prefilled=(640, 2048),
    layers=4,
    cold_bytes=512 * 1024**2,
)
SMALL = Sizes(
    hidden=64,
    intermediate=48,
    vocabulary=150,
    heads=4,
    kv_heads=2,
    head_dim=16,
    rotary_dim=8,
    page_size=16,
    rows=(1, 2, 17, 33),
    many_rows=(1, 3),
    decoded=((1, 20), (2, 40)),
    prefilled=(24,),
    layers=2,
    cold_bytes=4096,
)


class Bench:
    """On a CPU everything is small, and Triton interprets."""

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self.device = device
        # Interpreted, Triton rounds bfloat16 otherwise than a GPU.
        self.dtype = torch.bfloat16 if on_gpu else torch.float16
        self.sizes = FULL if on_gpu else SMALL
        self.card = Card.of(device) if on_gpu else Card(multiprocessors=2, shared_memory=64 * 1024)
        self.ops = TritonOps(device, self.card)
        torch.manual_seed(0)

    @cached_property
    def ceilings(self) -> Ceilings:
        return measure(self.device, self.dtype)

    def numbers(self, *shape: int) -> Tensor:
        return torch.randn(*shape, dtype=self.dtype, device=self.device)

    def weight(self, width: int, depth: int) -> Tensor:
        """Of a linear that keeps the size of its numbers."""
        return self.numbers(width, depth).div_(math.sqrt(depth))

    def copies(self, bytes: int) -> int:
        """How many of something have to be read in turn for each to come from memory."""
        return max(2, math.ceil(self.sizes.cold_bytes / bytes))

    def microseconds(self, name: str, calls: Sequence[Call], bytes: float, operations: float = 0) -> Row:
        """Of each of `calls`, that have so much to move and to compute."""
        least = max(bytes / self.ceilings.read, operations / self.ceilings.multiply)
        values = [1e6 * seconds for seconds in seconds_each(calls, self.device)]
        return shown(Row(name=name, values=values, unit="µs", roofline=1e6 * least))

    def bandwidth(self, name: str, calls: Sequence[Call], bytes: float) -> Row:
        """Of each of `calls`, that read so much."""
        values = [bytes / seconds / 1e9 for seconds in seconds_each(calls, self.device)]
        return shown(Row(name=name, values=values, unit="GB/s", roofline=self.ceilings.read / 1e9))


def shown(row: Row) -> Row:
    """Printed at once, so that nothing is lost."""
    share = "" if row.share is None else f"{100 * row.share:4.0f} % of the roofline"
    print(f"{row.name:58} {row.spread.median:10.1f} {row.unit:5} {share}", flush=True)
    return row


def rows_of(count: int) -> str:
    return f"{count} row{'s' if count > 1 else ''}"
