"""
The lowest score that top-k or top-p keeps in each row, without sorting.

A row is cut into segments, one program each, so that few rows fill the card too. A launch tries a few
thresholds at once: it adds up, in each segment, how many scores reach them (top-k), or what probability those
have (top-p). The programs of the next launch add up what all segments of their row found, and go on between
two of the thresholds. Scores are searched as the integers that their bits are, so that a fixed number of
launches ends at one score.

No sum depends on the order in which programs run, or on other rows, and no launch writes where another does.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import triton
import triton.language as tl

from .scores import NOT_SPECIALIZED, UNALIGNED, _scores, _weights


@triton.jit
def _order(score, low_bits: tl.constexpr):
    """int64 in the order of float32 scores, of which the `low_bits` are 0; 1 more for each next score."""
    bits = score.to(tl.int32, bitcast=True)
    return (tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits) >> low_bits).to(tl.int64)


@triton.jit
def _score(order, low_bits: tl.constexpr):
    """The float32 with that _order; NaN, which nothing reaches, where `order` is above that of infinity."""
    bits = tl.minimum(order << low_bits, 0x7FFFFFFF).to(tl.int32)
    ones: tl.constexpr = (1 << low_bits) - 1
    return tl.where(bits < 0, (bits | ones) ^ 0x7FFFFFFF, bits).to(tl.float32, bitcast=True)


@triton.jit
def _narrowed(intervals, sums, at, target, segments: tl.constexpr, padded: tl.constexpr, ways: tl.constexpr):
    """
    What launch `at` (counted over all rows) found: the highest threshold whose sum reaches `target`, how many
    orders from there on may be the one that is searched for, and which of the launch's thresholds it was.
    """
    low = tl.load(intervals + at * 3 + 1)
    step = tl.cdiv(tl.load(intervals + at * 3 + 2), ways)
    segment = tl.arange(0, padded)[:, None]
    way = tl.arange(0, ways)[None, :]
    parts = tl.load(sums + (at * segments + segment) * ways + way, mask=segment < segments, other=0)
    reached = tl.sum((tl.sum(parts, axis=0) >= target).to(tl.int32), axis=0)
    last = tl.maximum(reached - 1, 0)
    return low + last * step, step, last


@triton.jit
def _mass_wanted(sums, at, share, segments: tl.constexpr, padded: tl.constexpr, ways: tl.constexpr):
    """What top-p's threshold must reach, of what the first launch of its search (`at`) found in all."""
    segment = tl.arange(0, padded)
    parts = tl.load(sums + (at * segments + segment) * ways, mask=segment < segments, other=0)
    # Not 0, which the thresholds above every score reach.
    return tl.maximum(share * tl.sum(parts, axis=0), 1e-30)


@triton.jit
def _interval(
    intervals,
    sums,
    at,
    launch,
    all_peaks,
    best,
    heat,
    share,
    count,
    vocabulary: tl.constexpr,
    segments: tl.constexpr,
    padded: tl.constexpr,
    passes: tl.constexpr,
    ways: tl.constexpr,
    low_bits: tl.constexpr,
):
    """
    Where launch `at` searches: the lowest _order that takes part, the lowest that may be the threshold's, and
    how many from there on may be.
    """
    lowest = _order(tl.full([], float("-inf"), tl.float32), low_bits)
    highest = _order(best, low_bits)
    if launch == 0:
        # Every segment has a score that reaches the lowest peak.
        low = _order(tl.min(all_peaks, axis=0), low_bits)
        low = tl.where(count <= segments, low, lowest)
        first = low
        span = highest - low + 1
    elif launch == passes:
        first = lowest
        if count > 0:
            target = count.to(tl.float32)
            first, _, _ = _narrowed(intervals, sums, at - 1, target, segments, padded, ways)
        # Ids with probabilities below (1 - top_p) / vocabulary have less than 1 - top_p together, and the
        # best one's probability is at most 1. The 1 that is added is far above the rounding errors here.
        unlikely = best - heat * (tl.log(vocabulary / tl.maximum(1 - share, 1e-8)) + 1)
        low = tl.maximum(first, tl.where(share < 1, _order(unlikely, low_bits), first))
        span = highest - low + 1
    else:
        target = count.to(tl.float32)
        if launch > passes:
            target = _mass_wanted(sums, at - launch + passes, share, segments, padded, ways)
        low, span, _ = _narrowed(intervals, sums, at - 1, target, segments, padded, ways)
        first = low
    return first, low, span


@triton.jit(do_not_specialize=NOT_SPECIALIZED, do_not_specialize_on_alignment=UNALIGNED)
def narrow_kernel(
    logits,
    seen,
    slots,
    allowed,
    penalty,
    temperature,
    top_p,
    top_k,
    peaks,
    intervals,
    sums,
    launch,
    vocabulary: tl.constexpr,
    segment_size: tl.constexpr,
    segments: tl.constexpr,
    padded: tl.constexpr,
    passes: tl.constexpr,
    ways: tl.constexpr,
    low_bits: tl.constexpr,
    tile: tl.constexpr,
):
    """The first `passes` launches search top-k's threshold, by counting; as many more search top-p's."""
    segment = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    heat = tl.load(temperature + row)
    share = tl.load(top_p + row)
    count = tl.load(top_k + row)
    by_mass = launch >= passes
    # The first launch for top-p is also where a row without top-p gets its sums from.
    needed = tl.where(by_mass, (launch == passes) | (share < 1), count > 0)
    if (heat > 0) & needed:
        at = row * (2 * passes) + launch
        every = tl.arange(0, padded)
        # The last segment in place of those that there are not: it is among the others anyway.
        all_peaks = tl.load(peaks + row * segments + tl.minimum(every, segments - 1))
        best = tl.max(all_peaks, axis=0)
        first, low, span = _interval(
            intervals,
            sums,
            at,
            launch,
            all_peaks,
            best,
            heat,
            share,
            count,
            vocabulary,
            segments,
            padded,
            passes,
            ways,
            low_bits,
        )
        if segment == 0:
            tl.store(intervals + at * 3, first)
            tl.store(intervals + at * 3 + 1, low)
            tl.store(intervals + at * 3 + 2, span)
        step = tl.cdiv(span, ways)
        numbers = tl.arange(0, ways)
        totals = tl.zeros([ways], tl.float32)
        if tl.load(peaks + row * segments + segment) >= _score(first, low_bits):
            for start in range(0, segment_size, tile):
                ids = segment * segment_size + start + tl.arange(0, tile)
                scores = _scores(logits, seen, slots, allowed, penalty, row, ids, vocabulary)
                parts = tl.where(by_mass, _weights(scores, best, heat), 1.0)
                for way in range(ways):
                    threshold = _score(tl.where(way == 0, first, low + way * step), low_bits)
                    total = tl.sum(tl.where(scores >= threshold, parts, 0.0), axis=0)
                    totals += tl.where(numbers == way, total, 0.0)
        tl.store(sums + (at * segments + segment) * ways + numbers, totals)
