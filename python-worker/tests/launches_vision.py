"""What test_kernels.py compiles of the vision tower: the shapes of GLM-4.1V-9B's."""

from __future__ import annotations

from collections.abc import Callable

import torch

from glimpse_worker.engine.paged.kernels.vision import rotate_half

HEADS, HEAD_DIM = 12, 128
NOWHERE = torch.device("meta")


def _rotate_half() -> object:
    qkv = torch.empty(3, 3 * HEADS * HEAD_DIM, dtype=torch.bfloat16, device=NOWHERE)
    angles = torch.empty(3, HEAD_DIM // 2, device=NOWHERE)
    return rotate_half(qkv, angles, angles, HEADS)


LAUNCHES: dict[str, Callable[[], object]] = {"rotate_half": _rotate_half}
