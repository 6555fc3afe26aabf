"""The linears of GLM-4.1V-9B for few rows, in bf16."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from glimpse_worker.engine.paged.triton_ops import TritonOps

HIDDEN = 4096
INTERMEDIATE = 13696
VOCABULARY = 151_552
QKV = 4608
NOWHERE = torch.device("meta")


def _numbers(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.bfloat16, device=NOWHERE)


def _linear(rows: int, width: int, depth: int, *, bias: bool = False) -> object:
    ops = TritonOps(torch.device("cuda", 0))
    return ops.linear(_numbers(rows, depth), _numbers(width, depth), _numbers(width) if bias else None)


def _gated(rows: int) -> object:
    ops = TritonOps(torch.device("cuda", 0))
    return ops.gated(_numbers(rows, HIDDEN), _numbers(2 * INTERMEDIATE, HIDDEN))


LAUNCHES: dict[str, Callable[[], object]] = {
    "qkv, 1 row": partial(_linear, 1, QKV, HIDDEN, bias=True),
    "output, 1 row": partial(_linear, 1, HIDDEN, HIDDEN),
    "output, 5 rows": partial(_linear, 5, HIDDEN, HIDDEN),
    "gate_up, 1 row": partial(_gated, 1),
    "gate_up, 5 rows": partial(_gated, 5),
    "down, 1 row": partial(_linear, 1, HIDDEN, INTERMEDIATE),
    "down, 5 rows": partial(_linear, 5, HIDDEN, INTERMEDIATE),
    "lm_head, 1 row": partial(_linear, 1, VOCABULARY, HIDDEN),
    "lm_head, 5 rows": partial(_linear, 5, VOCABULARY, HIDDEN),
}
