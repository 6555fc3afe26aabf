"""What the text layers of GLM-4.1V-9B launch, in bf16."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from paged_batch import BIG

from glimpse_worker.engine.paged.ops import Chunk, LayerCache
from glimpse_worker.engine.paged.triton_ops import TritonOps

ROWS = 3
HIDDEN = 4096
INTERMEDIATE = 13696
ROTARY_DIM = 64


NOWHERE = torch.device("meta")
"""A launch that a CUDA graph is to hold must not look at what is in a tensor; there it cannot."""


def _states(*shape: int, device: torch.device = NOWHERE) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.bfloat16, device=device)


def _integers(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.int32, device=NOWHERE)


def _ops() -> TritonOps:
    return TritonOps(torch.device("cuda", 0))


def _cache() -> LayerCache:
    pages = (2, BIG.kv_heads, BIG.page_size, BIG.head_dim)
    return LayerCache(_states(*pages), _states(*pages))


def _rms_norm() -> None:
    _ops().rms_norm(_states(ROWS, HIDDEN), _states(HIDDEN), 1e-5)


def _add_rms_norm() -> None:
    _ops().add_rms_norm(_states(ROWS, HIDDEN), _states(ROWS, HIDDEN), _states(HIDDEN), _states(HIDDEN), 1e-5)


def _rotate_and_store() -> None:
    qkv = _states(ROWS, (BIG.heads + 2 * BIG.kv_heads) * BIG.head_dim)
    angles = torch.empty(ROWS, ROTARY_DIM // 2, device=NOWHERE)
    _ops().rotate_and_store(qkv, angles, angles, _cache(), _integers(ROWS), BIG.heads)


def _silu_mul() -> None:
    _ops().silu_mul(_states(ROWS, 2 * INTERMEDIATE))


def _decode_attention(rows: int) -> None:
    q = _states(rows, BIG.heads, BIG.head_dim)
    _ops().decode_attention(q, _cache(), _integers(rows, 2), _integers(rows))


def _prefill_attention() -> None:
    # Its chunks go to where q is.
    q = _states(ROWS, BIG.heads, BIG.head_dim, device=torch.device("cpu"))
    _ops().prefill_attention(q, _cache(), _integers(1, 2), [Chunk(first=0, count=ROWS, start=0)])


LAUNCHES: dict[str, Callable[[], object]] = {
    "rms_norm": _rms_norm,
    "add_rms_norm": _add_rms_norm,
    "rotate_and_store": _rotate_and_store,
    "silu_mul": _silu_mul,
    "decode_attention of split rows": partial(_decode_attention, ROWS),
    "decode_attention of whole rows": partial(_decode_attention, 2048),
    "prefill_attention": _prefill_attention,
}
