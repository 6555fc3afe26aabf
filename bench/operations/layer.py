"""The text layers of a decode step, launch after launch as Decoder launches them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from glimpse_worker.engine.paged.ops import Ops

from ..report import Row
from .attention import Batch, Batches
from .bench import Bench, rows_of

EPS = 1e-5
CONTEXT = 1024
AHEAD_ROWS = 1
AHEAD_LINES = 1024
"""Of the weight that a norm runs before: there is less time than while attention runs."""


def layers(bench: Bench) -> list[Row]:
    """One of several layers in turn, by number of rows; and lm_head, which comes once after the last."""
    sizes = bench.sizes
    chain = [Layer(bench) for _ in range(sizes.layers)]
    head = bench.weight(sizes.vocabulary, sizes.hidden)
    rows: list[Row] = []
    for count in sorted({*sizes.rows, *sizes.many_rows}):
        rows.append(_layer(bench, chain, count))
        if count == AHEAD_ROWS and bench.device.type == "cuda":
            rows.append(_layer(bench, chain, count, torch.cuda.Stream(bench.device)))  # type: ignore[no-untyped-call]
        output = bench.numbers(count, sizes.hidden)
        bytes = head.numel() * head.itemsize
        call: Callable[[], object] = partial(bench.ops.linear, output, head)
        rows.append(
            bench.microseconds(f"lm_head, {rows_of(count)}", [call] * 4, bytes, 2 * count * head.numel())
        )
    return rows


def _layer(bench: Bench, chain: list[Layer], count: int, ahead: torch.cuda.Stream | None = None) -> Row:
    sizes = bench.sizes
    context = min(CONTEXT, max(context for _, context in sizes.decoded))
    batches = Batches(bench, count, context, copies=sizes.layers)
    steps = [
        partial(layer.run, bench.ops, batch, bench.numbers(count, sizes.hidden), ahead)
        for layer, batch in zip(chain, batches.all, strict=True)
    ]
    return bench.microseconds(
        f"layer, {rows_of(count)} of {context} tokens{', weights read ahead' if ahead else ''}",
        steps,
        chain[0].bytes + batches.bytes,
        2 * count * chain[0].bytes / bench.dtype.itemsize + batches.operations,
    )


class Layer:
    """Random weights."""

    def __init__(self, bench: Bench) -> None:
        sizes = bench.sizes
        width = (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim
        self.qkv = bench.weight(width, sizes.hidden)
        self.qkv_bias = bench.numbers(width)
        self.output = bench.weight(sizes.hidden, sizes.heads * sizes.head_dim)
        self.gate_up = bench.weight(2 * sizes.intermediate, sizes.hidden)
        self.down = bench.weight(sizes.hidden, sizes.intermediate)
        self.norms = [bench.numbers(sizes.hidden) for _ in range(4)]

    @property
    def bytes(self) -> int:
        weights = (self.qkv, self.output, self.gate_up, self.down)
        return sum(weight.numel() * weight.itemsize for weight in weights)

    def run(self, ops: Ops, batch: Batch, hidden: Tensor, ahead: torch.cuda.Stream | None) -> Tensor:
        """On the stream `ahead`, if any, weights are read that something small still runs before."""
        post_attention, pre_mlp, post_mlp, next_input = self.norms
        qkv = ops.linear(hidden, self.qkv, self.qkv_bias)
        _read(ops, hidden, self.output, ahead)
        q = ops.rotate_and_store(qkv, batch.cos, batch.sin, batch.cache, batch.slots, batch.heads)
        attended = ops.decode_attention(q, batch.cache, batch.page_table, batch.lengths)
        attended = ops.linear(attended, self.output)
        _read(ops, hidden, self.gate_up[:AHEAD_LINES], ahead)
        x = ops.add_rms_norm(hidden, attended, post_attention, pre_mlp, EPS)
        x = ops.linear(ops.gated(x, self.gate_up), self.down)
        if ahead is not None:
            torch.cuda.current_stream().wait_stream(ahead)
        return ops.add_rms_norm(hidden, x, post_mlp, next_input, EPS)


def _read(ops: Ops, x: Tensor, weight: Tensor, ahead: torch.cuda.Stream | None) -> None:
    """So that a cache holds it, or is about to. What comes out goes nowhere."""
    if ahead is not None:
        ahead.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(ahead):
            ops.linear(x, weight)
