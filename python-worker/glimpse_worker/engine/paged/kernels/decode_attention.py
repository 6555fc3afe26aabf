"""
Attention of one token per row to its pages: split-KV attention, as in flash-decoding.

A program per row would leave most of the card idle when rows are few, so the tokens of a row are split among
several programs, whose results a second kernel merges by their log-sum-exp. The query heads that share a KV
head are the rows of one matrix product: each key and value is read once.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..ops import LayerCache
from .card import Card

MAX_SPLITS = 128
PROGRAMS_PER_MULTIPROCESSOR = 4
TOKENS_PER_STEP = 64
WARPS = 4
STAGES = 2
MERGED_PER_STEP = 16
MERGED_PER_WARP = 4


def decode_attention(q: Tensor, cache: LayerCache, page_table: Tensor, lengths: Tensor, card: Card) -> Tensor:
    """
    As Ops.decode_attention. What is launched and allocated depends on shapes only, for CUDA graphs. page_size
    and head_dim must be powers of 2 from 16.
    """
    rows, heads, head_dim = q.shape
    _, kv_heads, page_size, _ = cache.keys.shape
    max_pages = page_table.shape[1]
    block = min(page_size, TOKENS_PER_STEP)
    splits = _splits(rows * kv_heads, max_pages * page_size // block, card)
    group = heads // kv_heads
    attended = torch.empty_like(q).view(rows, heads * head_dim)
    whole = splits == 1
    partial = attended if whole else q.new_empty(rows, heads, splits, head_dim, dtype=torch.float32)
    log_sums = q.new_empty(rows, heads, splits, dtype=torch.float32)
    decode_split_kernel[(rows, kv_heads, splits)](
        q,
        cache.keys,
        cache.values,
        page_table,
        lengths,
        partial,
        log_sums,
        max_pages,
        splits,
        head_dim**-0.5 * math.log2(math.e),
        kv_heads,
        group,
        max(16, triton.next_power_of_2(group)),
        head_dim,
        page_size,
        block,
        whole,
        num_warps=WARPS,
        num_stages=STAGES,
    )
    if not whole:
        padded = triton.next_power_of_2(splits)
        per_step = min(padded, MERGED_PER_STEP)
        decode_merge_kernel[(rows, heads)](
            partial,
            log_sums,
            lengths,
            attended,
            splits,
            heads,
            head_dim,
            block,
            padded,
            per_step,
            num_warps=max(1, per_step // MERGED_PER_WARP),
        )
    return attended


def _splits(row_heads: int, max_blocks: int, card: Card) -> int:
    """Into how many parts each row is split, so that `row_heads` rows and heads fill the card."""
    # Rounded down: a few programs more than the card takes at once would last as long as twice as many.
    wanted = max(1, card.multiprocessors * PROGRAMS_PER_MULTIPROCESSOR // row_heads)
    return min(wanted, max_blocks, MAX_SPLITS)


@triton.jit
def _blocks_of_split(length, splits, block: tl.constexpr):
    """How many blocks of tokens a row has, and how many of them one split takes (0 of an empty row)."""
    blocks = tl.cdiv(length, block)
    return blocks, tl.cdiv(blocks, splits)


@triton.jit(
    do_not_specialize=["max_pages", "splits"], do_not_specialize_on_alignment=["page_table", "lengths"]
)
def decode_split_kernel(
    q,
    keys,
    values,
    page_table,
    lengths,
    partial,
    log_sums,
    max_pages,
    splits,
    scale,
    kv_heads: tl.constexpr,
    group: tl.constexpr,
    padded_group: tl.constexpr,
    head_dim: tl.constexpr,
    page_size: tl.constexpr,
    block: tl.constexpr,
    whole: tl.constexpr,
):
    """With `whole` rows, `partial` is what is asked for, and there is nothing to merge."""
    row = tl.program_id(0)
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    length = tl.load(lengths + row)
    blocks, per_split = _blocks_of_split(length, splits, block)
    first = split * per_split
    if not whole and first >= blocks:
        return

    member = tl.arange(0, padded_group)
    number = tl.arange(0, head_dim)
    token = tl.arange(0, block)
    head = (row * kv_heads + kv_head) * group + member
    in_group = member < group
    queries = tl.load(q + head[:, None] * head_dim + number[None, :], mask=in_group[:, None], other=0)
    peak = tl.full([padded_group], float("-inf"), tl.float32)
    total = tl.zeros([padded_group], tl.float32)
    attended = tl.zeros([padded_group, head_dim], tl.float32)
    pages = page_table + row * max_pages
    within = kv_head * page_size * head_dim + token[:, None] * head_dim + number[None, :]

    # The page is looked up one step ahead: Triton would spend one of its stages on the look-up instead.
    page = tl.load(pages + first * block // page_size)
    for index in range(first, tl.minimum(first + per_split, blocks)):
        offset = page.to(tl.int64) * (kv_heads * page_size) + index * block % page_size
        here = offset * head_dim + within
        page = tl.load(pages + tl.minimum(index + 1, blocks - 1) * block // page_size)
        known = index * block + token < length
        key = tl.load(keys + here)
        # Beyond the row's end there may be another sequence's NaN, and NaN * 0 is NaN.
        value = tl.load(values + here, mask=known[:, None], other=0)
        scores = tl.dot(queries, tl.trans(key), input_precision="ieee") * scale
        scores = tl.where(known[None, :], scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_peak[:, None])
        fade = tl.exp2(peak - new_peak)
        total = total * fade + tl.sum(weights, axis=1)
        attended = attended * fade[:, None]
        attended = tl.dot(weights.to(value.dtype), value, attended, input_precision="ieee")
        peak = new_peak

    part = head.to(tl.int64) * splits + split
    at = partial + part[:, None] * head_dim + number[None, :]
    # An empty row, which only a whole one can be here, is zeros.
    result = (attended / tl.maximum(total, 1e-30)[:, None]).to(partial.dtype.element_ty)
    tl.store(at, result, mask=in_group[:, None])
    if not whole:
        tl.store(log_sums + part, peak + tl.log2(total), mask=in_group)


@triton.jit(do_not_specialize=["splits"], do_not_specialize_on_alignment=["lengths"])
def decode_merge_kernel(
    partial,
    log_sums,
    lengths,
    attended,
    splits,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    block: tl.constexpr,
    max_splits: tl.constexpr,
    per_step: tl.constexpr,
):
    row = tl.program_id(0)
    head = row.to(tl.int64) * heads + tl.program_id(1)
    blocks, per_split = _blocks_of_split(tl.load(lengths + row), splits, block)
    used = tl.cdiv(blocks, tl.maximum(per_split, 1))
    split = tl.arange(0, max_splits)
    all_sums = tl.load(log_sums + head * splits + split, mask=split < used, other=float("-inf"))
    # An empty row has no split; what counts there is that nothing becomes NaN.
    peak = tl.maximum(tl.max(all_sums, axis=0), -1e30)
    total = tl.sum(tl.exp2(all_sums - peak), axis=0)

    number = tl.arange(0, head_dim)
    merged = tl.zeros([head_dim], tl.float32)
    for start in range(0, used, per_step):
        here = start + tl.arange(0, per_step)
        sums = tl.load(log_sums + head * splits + here, mask=here < used, other=float("-inf"))
        at = (head * splits + here)[:, None] * head_dim + number[None, :]
        part = tl.load(partial + at, mask=(here < used)[:, None], other=0)
        merged += tl.sum(part * tl.exp2(sums - peak)[:, None], axis=0)
    merged = merged / tl.maximum(total, 1e-30)
    tl.store(attended + head * head_dim + number, merged.to(attended.dtype.element_ty))
