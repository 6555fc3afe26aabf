"""The batched vision tower gives what transformers' own gives for one picture after another."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from embedded import MODEL
from torch import Tensor
from transformers import Glm4vForConditionalGeneration, Glm4vVisionModel

from glimpse_worker.engine.paged import vision_positions
from glimpse_worker.engine.paged.torch_ops import TorchOps
from glimpse_worker.engine.paged.vision import VisionTower
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.pixels import patches
from glimpse_worker.preprocessing import read_preprocessing

NUMBERS, _ = read_preprocessing(MODEL)
RELATIVE = 1e-5

STILL, PAIR = (1, 3, 112, 112), (2, 3, 112, 112)
WIDE, TALL, LARGE = (1, 3, 56, 140), (1, 3, 140, 56), (1, 3, 252, 308)
WIDE_PAIR = (2, 3, 56, 140)


def load(dtype: torch.dtype = torch.float32) -> Glm4vVisionModel:
    model: Any = Glm4vForConditionalGeneration.from_pretrained(MODEL, dtype=dtype)
    return model.model.visual  # type: ignore[no-any-return]


@cache
def theirs() -> Glm4vVisionModel:
    return load()


@cache
def tower() -> VisionTower:
    return VisionTower(load(), NUMBERS, TorchOps())


def picture(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def official(item: Tensor, visual: Glm4vVisionModel | None = None) -> Tensor:
    grid = torch.tensor([[1, item.shape[2] // 14, item.shape[3] // 14]])
    pixel_values = patches(item[None], NUMBERS)
    with torch.inference_mode():
        output: Any = (visual or theirs())(pixel_values, grid_thw=grid)
    return output.pooler_output  # type: ignore[no-any-return]


def encode(*items: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        return tower().encode(items)


def difference(ours: Tensor, expected: Tensor) -> float:
    """The largest, relative to the largest number."""
    assert ours.shape == expected.shape
    return float((ours - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    "shapes",
    [
        [STILL],
        [PAIR],
        [LARGE],
        [STILL, STILL, STILL],
        [PAIR, STILL, PAIR],
        [LARGE, WIDE, STILL, TALL, WIDE_PAIR, PAIR, WIDE, STILL],
    ],
    ids=["picture", "two frames", "large", "several of one size", "pictures and frames", "mixed sizes"],
)
def test_features_are_those_of_transformers(shapes: list[tuple[int, ...]]) -> None:
    items = [picture(shape, seed) for seed, shape in enumerate(shapes)]
    for ours, item in zip(encode(*items), items, strict=True):
        assert difference(ours, official(item)) < RELATIVE


def test_features_of_a_picture_do_not_depend_on_what_is_encoded_with_it() -> None:
    item = picture(WIDE, 7)
    [alone] = encode(item)
    among = encode(picture(LARGE), picture(WIDE), item, picture(WIDE_PAIR))[2]
    assert difference(among, alone) < RELATIVE
    assert difference(encode(picture(WIDE))[0], alone) > 100 * RELATIVE


def test_a_still_picture_is_a_video_that_stands_still() -> None:
    item = picture(STILL)
    still, pair = encode(item, item.expand(2, -1, -1, -1))
    assert difference(still, pair) < RELATIVE


def test_nothing_to_see_gives_no_features() -> None:
    assert encode() == []


def test_bf16_is_no_further_from_float32_than_transformers_bf16_is() -> None:
    half = load(torch.bfloat16)
    item = picture(LARGE)
    expected = official(item)
    theirs_off = official(item, half).float() - expected
    with torch.inference_mode():
        [ours] = VisionTower(half, NUMBERS, TorchOps()).encode([item])
    assert ours.dtype == torch.bfloat16
    ours_off = ours.float() - expected
    assert ours_off.abs().max() < 1.5 * theirs_off.abs().max()
    assert ours_off.square().mean().sqrt() < 1.5 * theirs_off.square().mean().sqrt()


def test_weights_exist_once_and_the_model_that_lent_them_still_works() -> None:
    visual = load()

    def weight_bytes() -> int:
        return sum(
            {s.data_ptr(): s.nbytes() for p in visual.parameters() for s in [p.untyped_storage()]}.values()
        )

    before, expected = weight_bytes(), official(picture(STILL))
    one = VisionTower(visual, NUMBERS, TorchOps())
    assert weight_bytes() == before
    assert torch.equal(official(picture(STILL), visual), expected)
    # What is one and the same changes with the other.
    for parameter in visual.parameters():
        parameter.detach().mul_(0.9)
    with torch.inference_mode():
        [features] = one.encode([picture(STILL)])
    assert difference(features, expected) > 100 * RELATIVE
    assert difference(features, official(picture(STILL), visual)) < RELATIVE


def test_positions_are_kept_for_the_sizes_seen_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_positions, "MAX_PATCHES", 150)
    positions = vision_positions.VisionPositions(theirs())
    with torch.inference_mode():
        first, second = positions.of(8, 8), positions.of(4, 20)
        assert positions.of(8, 8) is first
        positions.of(2, 2)
        assert positions.of(8, 8) is first
        assert positions.of(4, 20) is second
        positions.of(2, 4)
        assert positions.of(4, 20) is second
        again = positions.of(8, 8)
    assert again is not first
    assert torch.equal(again.embedding, first.embedding)


def test_an_activation_that_is_not_implemented_is_refused_by_name() -> None:
    visual = load()
    visual.config.hidden_act = "gelu"
    with pytest.raises(WorkerFailure, match=r"vision_config\.hidden_act 'silu', got 'gelu'") as caught:
        VisionTower(visual, NUMBERS, TorchOps())
    assert caught.value.code == "MODEL_UNSUPPORTED"
