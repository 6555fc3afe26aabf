"""The sampler's launches; test_kernels.py says what for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from glimpse_worker.engine.paged.kernels.sampling import TritonSampler
from glimpse_worker.engine.paged.sampler import Rows

VOCABULARY = 151_552
ROWS = 2


def _choose(dtype: torch.dtype, *, seen: bool = False, allowed: bool = False) -> None:
    # On the meta device, as a launch that a CUDA graph is to hold must not look at what is in a tensor.
    with torch.device("meta"):
        numbers = torch.empty(4, ROWS)
        TritonSampler().choose(
            torch.empty(ROWS, VOCABULARY, dtype=dtype),
            Rows(numbers[0], numbers[1], torch.empty(ROWS, dtype=torch.int32), numbers[2], numbers[3]),
            torch.empty(3, VOCABULARY, dtype=torch.uint8) if seen else None,
            torch.empty(ROWS, dtype=torch.int64),
            torch.empty(ROWS, VOCABULARY // 32, dtype=torch.int32) if allowed else None,
        )


LAUNCHES: dict[str, Callable[[], object]] = {
    "plain": partial(_choose, torch.bfloat16),
    "penalty": partial(_choose, torch.bfloat16, seen=True),
    "mask": partial(_choose, torch.bfloat16, allowed=True),
    "penalty and mask": partial(_choose, torch.bfloat16, seen=True, allowed=True),
    "float16": partial(_choose, torch.float16),
}
