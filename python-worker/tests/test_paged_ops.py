"""The text layers' operations give what transformers' own modules give, however the batch is laid out."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from paged_batch import BIG, EMBEDDED, Shape, pack, paged_batch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers.models.glm4v.configuration_glm4v import Glm4vTextConfig
from transformers.models.glm4v.modeling_glm4v import (
    Glm4vRMSNorm,
    Glm4vTextMLP,
    apply_rotary_pos_emb,
    eager_attention_forward,
)

from glimpse_worker.engine.paged.ops import LayerCache
from glimpse_worker.engine.paged.torch_ops import TorchOps

EPS = 1e-5
OPS = TorchOps()


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def _close(actual: Tensor, expected: Tensor) -> None:
    assert actual.dtype == expected.dtype
    tolerance = 1e-5 if expected.dtype == torch.float32 else 1e-2
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance / 10)


def _rms_norm(weight: Tensor) -> Glm4vRMSNorm:
    norm = Glm4vRMSNorm(len(weight), EPS)
    norm.weight = nn.Parameter(weight, requires_grad=False)
    return norm


def _attention(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Of transformers: the queries (count, heads, head_dim) are the last of the tokens that `keys` are of."""
    count, heads, head_dim = q.shape
    kv_heads, total, _ = keys.shape
    module = SimpleNamespace(num_key_value_groups=heads // kv_heads, training=False)
    future = torch.ones(count, total, dtype=torch.bool).triu(total - count + 1)
    mask = torch.zeros(count, total, dtype=q.dtype).masked_fill(future, -torch.inf)
    attended, _ = eager_attention_forward(
        module,  # type: ignore[arg-type]
        q.transpose(0, 1)[None],
        keys[None],
        values[None],
        mask,
        scaling=head_dim**-0.5,
    )
    return torch.reshape(attended, (count, heads * head_dim))


def _expect_attention(actual: Tensor, rows: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
    """In float32 what transformers gives; in bfloat16 no further from float32 than transformers is."""
    theirs = torch.cat([_attention(*row) for row in rows])
    if actual.dtype == torch.float32:
        _close(actual, theirs)
        return
    exact = torch.cat([_attention(q.float(), keys.float(), values.float()) for q, keys, values in rows])
    assert actual.dtype == theirs.dtype
    assert _rms(actual - exact) <= 1.05 * _rms(theirs - exact)


def _rms(x: Tensor) -> float:
    return x.float().square().mean().sqrt().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm(dtype: torch.dtype) -> None:
    x, weight = (torch.randn(7, 256) * 5).to(dtype), torch.randn(256).to(dtype)
    assert torch.equal(OPS.rms_norm(x, weight, EPS), _rms_norm(weight)(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_add_rms_norm_changes_the_residual_in_place(dtype: torch.dtype) -> None:
    residual, x = (torch.randn(2, 7, 256) * 5).to(dtype)
    post, following = torch.randn(2, 256).to(dtype)
    added = residual + _rms_norm(post)(x)
    normed = OPS.add_rms_norm(residual, x, post, following, EPS)
    assert torch.equal(residual, added)
    assert torch.equal(normed, _rms_norm(following)(added))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_silu_mul(dtype: torch.dtype) -> None:
    gate, up = (torch.randn(2, 5, 96) * 4).to(dtype)
    assert torch.equal(OPS.silu_mul(torch.cat((gate, up), dim=-1)), up * silu(gate))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(bias: bool, dtype: torch.dtype) -> None:
    module = nn.Linear(96, 40, bias=bias, dtype=dtype).requires_grad_(False)
    x = torch.randn(5, 96).to(dtype)
    assert torch.equal(OPS.linear(x, module.weight, module.bias), module(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gate_of_the_mlp(dtype: torch.dtype) -> None:
    config = Glm4vTextConfig(hidden_size=64, intermediate_size=96, hidden_act="silu")
    mlp = Glm4vTextMLP(config).to(dtype).requires_grad_(False)  # type: ignore[no-untyped-call]
    x = torch.randn(5, 64).to(dtype)
    gated = OPS.gated(x, mlp.gate_up_proj.weight)
    assert torch.equal(OPS.linear(gated, mlp.down_proj.weight), mlp(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [EMBEDDED, BIG])
def test_queries_and_keys_are_rotated_and_stored_where_the_slots_say(
    shape: Shape, dtype: torch.dtype
) -> None:
    heads, kv_heads, size = shape.heads, shape.kv_heads, shape.page_size
    slots = torch.tensor([2 * size + 1, -1, 5, 3 * size - 1, 0, -1], dtype=torch.int32)
    qkv = torch.randn(len(slots), (heads + 2 * kv_heads) * shape.head_dim).to(dtype)
    angles = torch.randn(len(slots), shape.head_dim // 4) * 1000
    untouched = torch.randn(3, kv_heads, size, shape.head_dim).to(dtype)
    cache = LayerCache(untouched.clone(), untouched.clone())

    q = OPS.rotate_and_store(qkv, angles.cos(), angles.sin(), cache, slots, heads)

    states = qkv.view(len(slots), -1, shape.head_dim)
    expected_q, expected_k = apply_rotary_pos_emb(  # type: ignore[no-untyped-call]
        states[:, :heads].float(),
        states[:, heads : heads + kv_heads].float(),
        angles.cos().repeat_interleave(2, dim=-1),
        angles.sin().repeat_interleave(2, dim=-1),
    )
    assert q.is_contiguous()
    _close(q, expected_q.to(dtype))
    keys, values = untouched.clone(), untouched.clone()
    for row, slot in enumerate(slots.tolist()):
        if slot >= 0:
            keys[slot // size, :, slot % size] = expected_k[row].to(dtype)
            values[slot // size, :, slot % size] = states[row, heads + kv_heads :]
    _close(cache.keys, keys)
    assert torch.equal(cache.values, values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "lengths"),
    [
        (EMBEDDED, [1]),
        (EMBEDDED, [40, 1, 16, 0, 17, 300, 32, 0]),
        (BIG, [64, 200]),
        (Shape(heads=6, kv_heads=3, head_dim=24, page_size=5), [11, 5, 4]),
    ],
)
def test_decoded_tokens_attend_to_their_own_row(shape: Shape, lengths: list[int], dtype: torch.dtype) -> None:
    batch = paged_batch(shape, lengths, dtype)
    q = torch.randn(len(lengths), shape.heads, shape.head_dim).to(dtype)
    actual = OPS.decode_attention(q, batch.cache, batch.page_table, batch.lengths)
    filled = [row for row, length in enumerate(lengths) if length]
    rows = [(q[row : row + 1], batch.keys[row], batch.values[row]) for row in filled]
    _expect_attention(actual[filled], rows)
    assert not actual[batch.lengths == 0].any()


def test_rows_of_padding_alone_decode_to_zeros() -> None:
    batch = paged_batch(EMBEDDED, [0, 0])
    q = torch.randn(2, EMBEDDED.heads, EMBEDDED.head_dim)
    assert not OPS.decode_attention(q, batch.cache, batch.page_table, batch.lengths).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "spans"),
    [
        (EMBEDDED, [(0, 1)]),
        (EMBEDDED, [(0, 50), (37, 20), (128, 1), (15, 2), (16, 16), (0, 16)]),
        (BIG, [(70, 30), (0, 64)]),
        (Shape(heads=6, kv_heads=3, head_dim=24, page_size=5), [(3, 9), (0, 7)]),
    ],
)
def test_prefilled_tokens_attend_to_their_row_up_to_themselves(
    shape: Shape, spans: list[tuple[int, int]], dtype: torch.dtype
) -> None:
    batch = paged_batch(shape, [start + count for start, count in spans], dtype)
    chunks = pack(spans)
    q = torch.randn(sum(count for _, count in spans), shape.heads, shape.head_dim).to(dtype)
    actual = OPS.prefill_attention(q, batch.cache, batch.page_table, chunks)
    own = torch.split(q, [count for _, count in spans])
    _expect_attention(actual, list(zip(own, batch.keys, batch.values, strict=True)))
