"""Causal attention of a ragged batch of chunks to their pages, as in flash attention, in one launch."""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from ..batch import Integers
from ..ops import Chunk, LayerCache
from .card import Card

QUERIES_PER_PROGRAM = 128
TOKENS_PER_STEP = 64
WARPS = 8


def query_blocks(chunks: Sequence[Chunk]) -> Integers:
    """
    What each program takes, int32 (blocks, 4): row of the page table, first packed query, how many queries,
    position of the first. Those with the most tokens to attend to come first, lest one of them ends last.
    """
    blocks = [
        (row, chunk.first + done, min(chunk.count - done, QUERIES_PER_PROGRAM), chunk.start + done)
        for row, chunk in enumerate(chunks)
        for done in range(0, chunk.count, QUERIES_PER_PROGRAM)
    ]
    blocks.sort(key=lambda block: block[3] + block[2], reverse=True)
    return np.array(blocks, dtype=np.int32)


def prefill_attention(q: Tensor, cache: LayerCache, page_table: Tensor, blocks: Tensor, card: Card) -> Tensor:
    """
    As Ops.prefill_attention, with `query_blocks` of its chunks on the device.

    page_size and head_dim must be powers of 2 from 16.
    """
    rows, heads, head_dim = q.shape
    _, kv_heads, page_size, _ = cache.keys.shape
    attended = torch.empty_like(q).view(rows, heads * head_dim)
    prefill_kernel[(heads, len(blocks))](
        q,
        cache.keys,
        cache.values,
        page_table,
        blocks,
        attended,
        page_table.shape[1],
        head_dim**-0.5 * math.log2(math.e),
        heads,
        kv_heads,
        head_dim,
        page_size,
        QUERIES_PER_PROGRAM,
        min(page_size, TOKENS_PER_STEP),
        num_warps=WARPS,
        num_stages=card.stages,
    )
    return attended


@triton.jit(do_not_specialize=["max_pages"], do_not_specialize_on_alignment=["page_table", "blocks"])
def prefill_kernel(
    q,
    keys,
    values,
    page_table,
    blocks,
    attended,
    max_pages,
    scale,
    heads: tl.constexpr,
    kv_heads: tl.constexpr,
    head_dim: tl.constexpr,
    page_size: tl.constexpr,
    block_queries: tl.constexpr,
    block_tokens: tl.constexpr,
):
    head = tl.program_id(0)
    block = blocks + tl.program_id(1) * 4
    pages = page_table + tl.load(block) * max_pages
    first = tl.load(block + 1)
    count = tl.load(block + 2)
    start = tl.load(block + 3)

    query = tl.arange(0, block_queries)
    number = tl.arange(0, head_dim)
    at = ((first + query).to(tl.int64) * heads + head)[:, None] * head_dim + number[None, :]
    is_query = (query < count)[:, None]
    queries = tl.load(q + at, mask=is_query, other=0)
    kv_head = head // (heads // kv_heads)
    head_keys = keys + kv_head * page_size * head_dim
    head_values = values + kv_head * page_size * head_dim
    peak = tl.full([block_queries], float("-inf"), tl.float32)
    total = tl.zeros([block_queries], tl.float32)
    result = tl.zeros([block_queries, head_dim], tl.float32)
    # Every query of this program sees all tokens before its first; from there on each sees a different part.
    seen_by_all = (start + 1) // block_tokens
    steps = tl.cdiv(start + count, block_tokens)
    result, total, peak = _attend(
        queries, result, total, peak, head_keys, head_values, pages, 0, seen_by_all, start, start + count,
        scale, kv_heads, page_size, block_tokens, False,
    )  # fmt: skip
    result, total, peak = _attend(
        queries, result, total, peak, head_keys, head_values, pages, seen_by_all, steps, start, start + count,
        scale, kv_heads, page_size, block_tokens, True,
    )  # fmt: skip
    result = result / total[:, None]
    tl.store(attended + at, result.to(attended.dtype.element_ty), mask=is_query)


@triton.jit
def _attend(
    queries,
    result,
    total,
    peak,
    head_keys,
    head_values,
    pages,
    begin,
    end,
    start,
    length,
    scale,
    kv_heads: tl.constexpr,
    page_size: tl.constexpr,
    block_tokens: tl.constexpr,
    masked: tl.constexpr,
):
    """Goes on with blocks `begin` to `end` of a row's tokens; queries are at positions from `start` on."""
    block_queries: tl.constexpr = queries.shape[0]
    head_dim: tl.constexpr = queries.shape[1]
    position = start + tl.arange(0, block_queries)
    token = tl.arange(0, block_tokens)
    within = token[:, None] * head_dim + tl.arange(0, head_dim)[None, :]
    last = (length - 1) // block_tokens
    # The page is looked up one step ahead: Triton would spend one of its stages on the look-up instead.
    page = tl.load(pages + tl.minimum(begin, last) * block_tokens // page_size)
    for index in range(begin, end):
        offset = page.to(tl.int64) * (kv_heads * page_size) + index * block_tokens % page_size
        here = offset * head_dim + within
        page = tl.load(pages + tl.minimum(index + 1, last) * block_tokens // page_size)
        key = tl.load(head_keys + here)
        if masked:
            known = index * block_tokens + token
            # Beyond the row's end there may be another sequence's NaN, and NaN * 0 is NaN.
            value = tl.load(head_values + here, mask=(known < length)[:, None], other=0)
        else:
            value = tl.load(head_values + here)
        scores = tl.dot(queries, tl.trans(key), input_precision="ieee") * scale
        if masked:
            scores = tl.where(known[None, :] <= position[:, None], scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_peak[:, None])
        fade = tl.exp2(peak - new_peak)
        total = total * fade + tl.sum(weights, axis=1)
        result = result * fade[:, None]
        result = tl.dot(weights.to(value.dtype), value, result, input_precision="ieee")
        peak = new_peak
    return result, total, peak
