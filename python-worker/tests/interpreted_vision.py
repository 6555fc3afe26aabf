"""The vision tower sees the same with Triton as with torch. Run by test_kernels.py, in the interpreter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from embedded import MODEL
from transformers import Glm4vForConditionalGeneration

from glimpse_worker.engine.paged.kernels import vision as kernels
from glimpse_worker.engine.paged.kernels.card import Card
from glimpse_worker.engine.paged.ops import Ops
from glimpse_worker.engine.paged.torch_ops import TorchOps
from glimpse_worker.engine.paged.triton_ops import TritonOps
from glimpse_worker.engine.paged.vision import VisionTower, rotate_half
from glimpse_worker.preprocessing import read_preprocessing


@pytest.mark.parametrize(("heads", "head_dim"), [(12, 128), (4, 64)], ids=["9B", "embedded"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 1e-3)])
def test_queries_and_keys_are_rotated_as_in_torch(
    heads: int, head_dim: int, dtype: torch.dtype, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(5, 3 * heads * head_dim, generator=generator).to(dtype)
    angles = 100 * torch.rand(5, head_dim // 2, generator=generator)
    ours = kernels.rotate_half(qkv, angles.cos(), angles.sin(), heads)
    theirs = rotate_half(qkv, angles.cos(), angles.sin(), heads)
    for turned, expected in zip(ours, theirs, strict=True):
        assert turned.shape == (5, heads, head_dim)
        assert turned.is_contiguous()
        torch.testing.assert_close(turned, expected, rtol=tolerance, atol=tolerance)


def test_features_are_the_same() -> None:
    model: Any = Glm4vForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32)
    numbers, _ = read_preprocessing(MODEL)
    items = [torch.randint(0, 256, (count, 3, 28, 28 * count), dtype=torch.uint8) for count in (1, 2)]
    card = Card(multiprocessors=1, shared_memory=64 * 1024)
    both: list[Ops] = [TorchOps(), TritonOps(torch.device("cpu"), card)]
    with torch.inference_mode():
        expected, features = (VisionTower(model.model.visual, numbers, ops).encode(items) for ops in both)
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
