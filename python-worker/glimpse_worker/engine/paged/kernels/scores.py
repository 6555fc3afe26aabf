"""What the sampler's kernels read: scores of a row, after penalty and mask, and their probabilities."""

# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="import-untyped"
from __future__ import annotations

import triton
import triton.language as tl

NOT_SPECIALIZED = ["launch"]
# Rows' parameters may be views of one tensor, some aligned and some not.
UNALIGNED = ["slots", "allowed", "temperature", "top_p", "top_k", "penalty", "uniform"]


@triton.jit
def _scores(logits, seen, slots, allowed, penalty, row, ids, vocabulary: tl.constexpr):
    """Of `ids` of a row, after penalty and mask: -inf where an id cannot be chosen, finite elsewhere."""
    inside = ids < vocabulary
    scores = tl.load(logits + row * vocabulary + ids, mask=inside, other=float("-inf")).to(tl.float32)
    if seen is not None:
        slot = tl.load(slots + row)
        factor = tl.load(penalty + row)
        penalized = ids < tl.where(factor == 1, 0, vocabulary)
        had = tl.load(seen + slot * vocabulary + ids, mask=penalized, other=0) != 0
        scores = tl.where(had, tl.where(scores < 0, scores * factor, scores / factor), scores)
    if allowed is not None:
        words: tl.constexpr = (vocabulary + 31) // 32
        word = tl.load(allowed + row * words + ids // 32, mask=inside, other=0)
        scores = tl.where(((word >> (ids % 32)) & 1) != 0, scores, float("-inf"))
    largest: tl.constexpr = 3.4028234663852886e38
    # Neither comparison holds for NaN.
    return tl.where(scores <= largest, scores, tl.where(scores > largest, largest, float("-inf")))


@triton.jit
def _weights(scores, best, temperature):
    """Probabilities of softmax(scores / temperature), each over that of the row's `best` score."""
    # Where no id can be chosen, the best score is -inf.
    return tl.exp((scores - tl.maximum(best, -3.4028234663852886e38)) * (1 / temperature))
