"""
The next token of every row.

The first kernel finds the peak, the highest score, of each segment of a row; threshold.py then searches what
top-k and top-p keep. The sums that its last launch leaves say in which segment a row's random number falls,
and the last kernel looks for the id there.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..sampler import Rows
from .scores import NOT_SPECIALIZED, UNALIGNED, _scores, _weights
from .threshold import _mass_wanted, _narrowed, _score, narrow_kernel

# Ids of a program. The order of sums depends on it, so that it is the same for all numbers of rows.
SEGMENT = 2048
# Ids that a program holds in registers at a time.
TILE = 512
# A launch tries 2**BITS_PER_LAUNCH thresholds: more of them are fewer launches that take longer.
BITS_PER_LAUNCH = 2
CHOOSE_WARPS = 4


class TritonSampler:
    """
    Sampler for CUDA and ROCm. Rows' parameters must be contiguous.

    Nothing waits for the device, and what is launched and allocated depends only on shapes, dtypes and on
    whether `seen` and `allowed` are None: a CUDA graph can be captured of it. The first call with each
    compiles.
    """

    def choose(
        self, logits: Tensor, rows: Rows, seen: Tensor | None, slots: Tensor, allowed: Tensor | None
    ) -> Tensor:
        count, vocabulary = logits.shape
        segments = triton.cdiv(vocabulary, SEGMENT)
        # bfloat16 numbers differ in the upper 16 bits of a float32; a penalty fills the others too.
        low_bits = 16 if logits.dtype == torch.bfloat16 and seen is None else 0
        passes = triton.cdiv(32 - low_bits, BITS_PER_LAUNCH)
        peaks = logits.new_empty(count, segments, dtype=torch.float32)
        places = logits.new_empty(count, segments, dtype=torch.int32)
        intervals = logits.new_empty(count, 2 * passes, 3, dtype=torch.int64)
        sums = logits.new_empty(count, 2 * passes, segments, 2**BITS_PER_LAUNCH, dtype=torch.float32)
        chosen = logits.new_empty(count, dtype=torch.int64)

        given = (logits, seen, slots, allowed, rows.penalty)
        asked = (rows.temperature, rows.top_p, rows.top_k)
        found = (peaks, intervals, sums)
        sizes = (vocabulary, SEGMENT, segments, triton.next_power_of_2(segments))
        search = (passes, 2**BITS_PER_LAUNCH, low_bits)
        peaks_kernel[segments, count](*given, peaks, places, vocabulary, SEGMENT, segments, num_warps=1)
        for launch in range(2 * passes):
            # One warp alone can add up without a barrier.
            narrow_kernel[segments, count](*given, *asked, *found, launch, *sizes, *search, TILE, num_warps=1)
        choose_kernel[count,](
            *given,
            *asked[:2],
            *found,
            rows.uniform,
            places,
            chosen,
            *sizes,
            *search,
            num_warps=CHOOSE_WARPS,
        )
        return chosen


@triton.jit(do_not_specialize=NOT_SPECIALIZED, do_not_specialize_on_alignment=UNALIGNED)
def peaks_kernel(
    logits,
    seen,
    slots,
    allowed,
    penalty,
    peaks,
    places,
    vocabulary: tl.constexpr,
    segment_size: tl.constexpr,
    segments: tl.constexpr,
):
    segment = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    ids = segment * segment_size + tl.arange(0, segment_size)
    scores = _scores(logits, seen, slots, allowed, penalty, row, ids, vocabulary)
    peak = tl.max(scores, axis=0)
    tl.store(peaks + row * segments + segment, peak)
    place = tl.min(tl.where(scores == peak, ids, vocabulary - 1), axis=0)
    tl.store(places + row * segments + segment, place)


@triton.jit(do_not_specialize=NOT_SPECIALIZED, do_not_specialize_on_alignment=UNALIGNED)
def choose_kernel(
    logits,
    seen,
    slots,
    allowed,
    penalty,
    temperature,
    top_p,
    peaks,
    intervals,
    sums,
    uniform,
    places,
    chosen,
    vocabulary: tl.constexpr,
    segment_size: tl.constexpr,
    segments: tl.constexpr,
    padded: tl.constexpr,
    passes: tl.constexpr,
    ways: tl.constexpr,
    low_bits: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    heat = tl.load(temperature + row)
    share = tl.load(top_p + row)
    every = tl.arange(0, padded)
    real = every < segments
    all_peaks = tl.load(peaks + row * segments + every, mask=real, other=float("-inf"))
    best = tl.max(all_peaks, axis=0)
    all_places = tl.load(places + row * segments + every, mask=real, other=vocabulary - 1)
    drawn = tl.min(tl.where(all_peaks == best, all_places, vocabulary - 1), axis=0)
    if heat > 0:
        at = row * (2 * passes) + passes
        low = tl.load(intervals + at * 3)
        way = 0
        if share < 1:
            target = _mass_wanted(sums, at, share, segments, padded, ways)
            at = at + passes - 1
            low, _, way = _narrowed(intervals, sums, at, target, segments, padded, ways)
        parts = tl.load(sums + (at * segments + every) * ways + way, mask=real, other=0)
        point = tl.load(uniform + row) * tl.sum(parts, axis=0)
        segment = _place(parts, point, every)
        point -= tl.sum(tl.where(every < segment, parts, 0.0), axis=0)
        ids = segment * segment_size + tl.arange(0, segment_size)
        scores = _scores(logits, seen, slots, allowed, penalty, row, ids, vocabulary)
        kept = scores >= _score(low, low_bits)
        drawn = _place(tl.where(kept, _weights(scores, best, heat), 0.0), point, ids)
    tl.store(chosen + row, drawn.to(tl.int64))


@triton.jit
def _place(parts, point, numbers):
    """The first of `numbers` where the running sum of `parts` exceeds `point`; one with a part, if any."""
    has_part = parts > 0
    last = tl.max(tl.where(has_part, numbers, 0), axis=0)
    beyond = has_part & (tl.cumsum(parts, axis=0) > point)
    return tl.min(tl.where(beyond, numbers, last), axis=0)
