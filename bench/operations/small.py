"""What comes between the linears, and the sampler."""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

import torch

from glimpse_worker.engine.paged.kernels import sampling
from glimpse_worker.engine.paged.kernels.sampling import TritonSampler
from glimpse_worker.engine.paged.sampler import Rows

from ..report import Row
from .attention import Batches
from .bench import Bench, rows_of
from .timing import Call

EPS = 1e-5
BITS = (2, 3, 4)
"""That of the engine first."""
CALLS = 32
"""Alike: what these read has been written just before, and is in a cache in the engine too."""


def small(bench: Bench) -> list[Row]:
    """The norms, rotary positions, and the gate."""
    sizes, ops = bench.sizes, bench.ops
    post, following = (bench.numbers(sizes.hidden) for _ in range(2))
    rows: list[Row] = []
    for count in sizes.many_rows:
        residual, x = (bench.numbers(count, sizes.hidden) for _ in range(2))
        batches = Batches(bench, count, sizes.page_size, copies=1)
        [batch] = batches.all
        qkv = bench.numbers(count, (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim)
        gate_up = bench.numbers(count, 2 * sizes.intermediate)
        calls: dict[str, tuple[Call, int]] = {
            "add_rms_norm": (
                partial(ops.add_rms_norm, residual, x, post, following, EPS),
                4 * count * sizes.hidden + 2 * sizes.hidden,
            ),
            "rotate_and_store": (
                partial(
                    ops.rotate_and_store, qkv, batch.cos, batch.sin, batch.cache, batch.slots, sizes.heads
                ),
                2 * qkv.numel(),
            ),
            "silu_mul": (partial(ops.silu_mul, gate_up), 3 * count * sizes.intermediate),
        }
        for name, (call, numbers) in calls.items():
            title = f"{name}, {rows_of(count)}"
            rows.append(bench.microseconds(title, [call] * CALLS, numbers * bench.dtype.itemsize))
    return rows


def sampler(bench: Bench) -> list[Row]:
    """At temperature 1 and top-p 0.6; with the ids that occurred too, as in the engine's graphs."""
    sizes, device = bench.sizes, bench.device
    rows: list[Row] = []
    for count in sizes.many_rows:
        logits = bench.numbers(count, sizes.vocabulary)
        one = torch.ones(count, device=device)
        asked = Rows(one, one * 0.6, torch.zeros(count, dtype=torch.int32, device=device), one, one / 2)
        seen = torch.zeros(count, sizes.vocabulary, dtype=torch.uint8, device=device)
        slots = torch.arange(count, device=device)
        bytes = logits.numel() * logits.itemsize
        for bits in BITS:
            for name, occurred in (("", None), (", ids that occurred", seen)):
                call = partial(TritonSampler().choose, logits, asked, occurred, slots, None)
                title = f"sampler, {rows_of(count)}{name}: {bits} bits a launch"
                with patch.object(sampling, "BITS_PER_LAUNCH", bits):
                    rows.append(bench.microseconds(title, [call] * 8, bytes))
    return rows
