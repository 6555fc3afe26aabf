"""The text layers' operations in Triton give the numbers of those in torch. Run by test_kernels.py."""

from __future__ import annotations

import pytest
import torch
from paged_batch import BIG, EMBEDDED, Shape, pack, paged_batch
from torch import Tensor

from glimpse_worker.engine.paged.kernels import decode_attention, prefill_attention
from glimpse_worker.engine.paged.kernels.card import Card
from glimpse_worker.engine.paged.ops import LayerCache
from glimpse_worker.engine.paged.torch_ops import TorchOps
from glimpse_worker.engine.paged.triton_ops import TritonOps

EPS = 1e-5
TORCH = TorchOps()
SMALL_CARD = Card(multiprocessors=1, shared_memory=64 * 1024)
WIDE_CARD = Card(multiprocessors=132, shared_memory=227 * 1024)
CPU = torch.device("cpu")
TRITON = TritonOps(CPU, SMALL_CARD)


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def _close(actual: Tensor, expected: Tensor) -> None:
    tolerance = 1e-5 if expected.dtype == torch.float32 else 1e-3
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("hidden", [256, 200])
def test_norms(hidden: int, dtype: torch.dtype) -> None:
    x, residual = torch.randn(2, 5, hidden).to(dtype) * 3
    post, following = torch.randn(2, hidden).to(dtype)
    _close(TRITON.rms_norm(x, post, EPS), TORCH.rms_norm(x, post, EPS))
    expected_residual = residual.clone()
    expected = TORCH.add_rms_norm(expected_residual, x, post, following, EPS)
    _close(TRITON.add_rms_norm(residual, x, post, following, EPS), expected)
    _close(residual, expected_residual)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("half", [24, 1500])
def test_silu_mul(half: int, dtype: torch.dtype) -> None:
    gate_up = torch.randn(3, 2 * half).to(dtype) * 4
    _close(TRITON.silu_mul(gate_up), TORCH.silu_mul(gate_up))


@pytest.mark.parametrize("shape", [EMBEDDED, BIG])
def test_rotated_queries_and_what_is_stored(shape: Shape) -> None:
    slots = torch.tensor([shape.page_size + 3, -1, 2, 3 * shape.page_size - 1], dtype=torch.int32)
    qkv = torch.randn(len(slots), (shape.heads + 2 * shape.kv_heads) * shape.head_dim)
    angles = torch.randn(len(slots), shape.head_dim // 4) * 100

    def stored(ops: TorchOps | TritonOps) -> tuple[Tensor, LayerCache]:
        states = (3, shape.kv_heads, shape.page_size, shape.head_dim)
        cache = LayerCache(torch.full(states, 7.0), torch.full(states, 8.0))
        return ops.rotate_and_store(qkv, angles.cos(), angles.sin(), cache, slots, shape.heads), cache

    (q, cache), (expected_q, expected_cache) = stored(TRITON), stored(TORCH)
    _close(q, expected_q)
    _close(cache.keys, expected_cache.keys)
    _close(cache.values, expected_cache.values)


@pytest.mark.parametrize("card", [SMALL_CARD, WIDE_CARD])
@pytest.mark.parametrize(
    ("shape", "lengths"),
    [(EMBEDDED, [1, 0, 16, 17, 150, 33]), (BIG, [130]), (Shape(6, 2, 16, 128), [0, 3, 200])],
)
def test_decode_attention_of_ragged_rows(shape: Shape, lengths: list[int], card: Card) -> None:
    batch = paged_batch(shape, lengths)
    q = torch.randn(len(lengths), shape.heads, shape.head_dim)
    expected = TORCH.decode_attention(q, batch.cache, batch.page_table, batch.lengths)
    _close(TritonOps(CPU, card).decode_attention(q, batch.cache, batch.page_table, batch.lengths), expected)


def test_decode_attention_of_a_row_with_more_splits_than_are_merged_at_once() -> None:
    batch = paged_batch(EMBEDDED, [400])
    assert 400 // EMBEDDED.page_size > decode_attention.MERGED_PER_STEP
    q = torch.randn(1, EMBEDDED.heads, EMBEDDED.head_dim)
    expected = TORCH.decode_attention(q, batch.cache, batch.page_table, batch.lengths)
    actual = TritonOps(CPU, WIDE_CARD).decode_attention(q, batch.cache, batch.page_table, batch.lengths)
    _close(actual, expected)


def test_decode_attention_when_scores_are_far_apart() -> None:
    batch = paged_batch(EMBEDDED, [90, 64])
    q = torch.randn(2, EMBEDDED.heads, EMBEDDED.head_dim) * 300
    expected = TORCH.decode_attention(q, batch.cache, batch.page_table, batch.lengths)
    actual = TritonOps(CPU, WIDE_CARD).decode_attention(q, batch.cache, batch.page_table, batch.lengths)
    assert actual.isfinite().all()
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "spans"),
    [
        (EMBEDDED, [(0, 1), (0, 150), (37, 20), (128, 5), (15, 1), (16, 16)]),
        (Shape(16, 1, 16, 64), [(70, 130)]),
        (Shape(2, 1, 16, 128), [(0, 65), (130, 9)]),
    ],
)
def test_prefill_attention_of_ragged_chunks(shape: Shape, spans: list[tuple[int, int]]) -> None:
    batch = paged_batch(shape, [start + count for start, count in spans])
    chunks = pack(spans)
    q = torch.randn(sum(count for _, count in spans), shape.heads, shape.head_dim)
    expected = TORCH.prefill_attention(q, batch.cache, batch.page_table, chunks)
    _close(TRITON.prefill_attention(q, batch.cache, batch.page_table, chunks), expected)


def test_another_prefill_batch_after_the_first() -> None:
    """What was worked out for one step's chunks is not taken for the next step's."""
    for spans in ([(0, 3), (0, 40)], [(0, 40), (0, 3)], [(8, 40), (3, 3)]):
        batch = paged_batch(EMBEDDED, [start + count for start, count in spans])
        q = torch.randn(43, EMBEDDED.heads, EMBEDDED.head_dim)
        expected = TORCH.prefill_attention(q, batch.cache, batch.page_table, pack(spans))
        _close(TRITON.prefill_attention(q, batch.cache, batch.page_table, pack(spans)), expected)


def test_the_longest_work_of_a_prefill_batch_starts_first() -> None:
    blocks = prefill_attention.query_blocks(pack([(0, 10), (500, 130), (0, 140)]))
    assert blocks.tolist() == [
        [1, 138, 2, 628],
        [1, 10, 128, 500],
        [2, 268, 12, 128],
        [2, 140, 128, 0],
        [0, 0, 10, 0],
    ]
