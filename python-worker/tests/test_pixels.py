"""Patches are those of transformers' processors, which need torchvision or Pillow to make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawing import noise, photo
from embedded import MODEL
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize as transformers_smart_resize
from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor

from glimpse_worker.failure import WorkerFailure
from glimpse_worker.pixels import image_pixels, patches, resize, to_tensor, video_frame_size, video_pixels
from glimpse_worker.preprocessing import Preprocessing, aspect_ratio_fits, read_preprocessing, smart_resize

IMAGE, VIDEO = read_preprocessing(MODEL)
PIL = Glm4vImageProcessorPil.from_pretrained(MODEL)
ROUNDING = 1e-6


Made = tuple[tuple[int, ...], torch.Tensor]
"""Grid and patches."""


def official(picture: Image.Image) -> Made:
    result = PIL([picture], return_tensors="pt")
    grid = tuple(int(n) for n in result["image_grid_thw"][0])
    return grid, torch.as_tensor(result["pixel_values"]).float()


def ours(picture: Image.Image) -> Made:
    pixels = image_pixels(to_tensor(picture), IMAGE)
    return pixels.grid, patches(pixels.frames, IMAGE)


def levels(difference: torch.Tensor, numbers: Preprocessing) -> float:
    """The largest difference between two patch tensors, in steps of the picture's 256."""
    per_channel = difference.reshape(difference.shape[0], 3, -1)
    return float((per_channel * torch.tensor(numbers.image_std).view(1, 3, 1) * 255).abs().max())


@pytest.mark.parametrize("size", [(112, 112), (224, 196), (56, 112), (28, 308), (560, 28), (252, 280)])
def test_a_picture_that_needs_no_resize_gives_the_official_patches_to_rounding(size: tuple[int, int]) -> None:
    (grid, made), (their_grid, theirs) = ours(noise(*size)), official(noise(*size))
    assert grid == their_grid
    assert float((made - theirs).abs().max()) < ROUNDING


@pytest.mark.parametrize(
    "size",
    [
        *[(1, 1), (3, 5), (27, 27), (29, 55), (33, 500), (101, 203), (499, 100), (640, 480), (641, 479)],
        *[(1, 200), (200, 1), (3, 600), (597, 3), (5000, 30), (1999, 1501), (3840, 2160)],
    ],
)
def test_a_resized_picture_is_within_two_levels_of_the_official_pil_processor(size: tuple[int, int]) -> None:
    (grid, made), (their_grid, theirs) = ours(photo(*size)), official(photo(*size))
    assert grid == their_grid
    assert levels(made - theirs, IMAGE) <= 2.001


@pytest.mark.parametrize(
    ("size", "to"), [((100, 60), (112, 56)), ((640, 480), (364, 252)), ((9, 7), (84, 56))]
)
def test_even_noise_is_resized_as_pillow_does_it_row_pass_first(
    size: tuple[int, int], to: tuple[int, int]
) -> None:
    # Pillow itself takes the column pass first where that is less work, and then clips other overshoots.
    picture, (width, height) = noise(*size), to
    bicubic = Image.Resampling.BICUBIC
    expected = picture.resize((width, size[1]), bicubic).resize((width, height), bicubic)
    resized = resize(to_tensor(picture), height, width).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(resized - np.asarray(expected)).max() <= 2


sides = st.integers(1, 3000)


@given(sides, sides, st.integers(2, 700))
def test_sizes_are_those_of_transformers(height: int, width: int, frames: int) -> None:
    for numbers in (IMAGE, Preprocessing(14, 2, 2, 12_544, 9_633_792, (0, 0, 0), (1, 1, 1))):
        if not aspect_ratio_fits(height, width, numbers.factor):
            continue
        expected = transformers_smart_resize(
            frames, height, width, 2, 28, min_pixels=numbers.min_pixels, max_pixels=numbers.max_pixels
        )
        assert smart_resize(frames, height, width, numbers) == expected


def clip(frames: int, width: int, height: int) -> list[Image.Image]:
    return [noise(width, height).rotate(90 * number) for number in range(frames)]


@pytest.mark.parametrize("frames", [2, 3, 8])
def test_a_video_gives_the_patches_of_transformers_video_processor(frames: int) -> None:
    pictures = clip(frames, 56, 56)
    size = video_frame_size(frames, 56, 56, VIDEO)
    resized = [resize(to_tensor(picture), *size) for picture in pictures]
    pixels = video_pixels(resized, VIDEO)
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (VIDEO.image_mean, VIDEO.image_std))
    normalised = (torch.stack(resized).float() / 255 - mean) / std
    # The processor needs torchvision to resize, but not to cut patches.
    theirs, *grid = Glm4vVideoProcessor.patchify(None, normalised[None], 14, 2, 2)  # type: ignore[arg-type]
    assert list(pixels.grid) == grid
    assert float((patches(pixels.frames, VIDEO) - theirs[0]).abs().max()) < ROUNDING


def test_a_video_of_one_frame_counts_as_two() -> None:
    frame = to_tensor(noise(84, 84))
    assert video_frame_size(1, 84, 84, VIDEO) == (84, 84)
    assert torch.equal(video_pixels([frame], VIDEO).frames, video_pixels([frame, frame], VIDEO).frames)


def test_a_picture_is_kept_as_bytes_and_its_frame_once() -> None:
    pixels = image_pixels(to_tensor(photo(641, 479)), IMAGE)
    _, h, w = pixels.grid
    assert (pixels.frames.dtype, pixels.frames.shape) == (torch.uint8, (1, 1, 3, 14 * h, 14 * w))
    assert pixels.frames.is_contiguous()
    assert pixels.frames.untyped_storage().nbytes() == 3 * 14 * h * 14 * w


def test_the_frame_of_a_still_picture_stands_for_all_of_its_temporal_patch() -> None:
    frames = image_pixels(to_tensor(noise(112, 56)), IMAGE).frames
    assert torch.equal(patches(frames, IMAGE), patches(frames.repeat(1, 2, 1, 1, 1), IMAGE))


def test_patches_of_several_pictures_stand_one_after_another() -> None:
    frames = video_pixels([to_tensor(picture) for picture in clip(6, 112, 112)], VIDEO).frames
    apart = torch.cat([patches(one[None], VIDEO) for one in frames])
    assert torch.equal(patches(frames, VIDEO), apart)


def test_patches_are_rounded_after_they_are_normalised() -> None:
    frames = image_pixels(to_tensor(noise(112, 56)), IMAGE).frames
    expected = patches(frames, IMAGE).to(torch.bfloat16)
    assert torch.equal(patches(frames, IMAGE, torch.bfloat16), expected)


def preprocessor_files(directory: Path, **changes: Any) -> Path:
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        fields = json.loads((MODEL / name).read_text()) | changes
        kept = {key: value for key, value in fields.items() if value is not None}
        (directory / name).write_text(json.dumps(kept))
    return directory


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_mean": None}, "preprocessor_config.json: image_mean should be three numbers, but is None"),
        (
            {"merge_size": None},
            "preprocessor_config.json: merge_size should be a positive integer, but is None",
        ),
        ({"patch_size": "14"}, "patch_size should be a positive integer, but is '14'"),
        ({"size": {"height": 1}}, "size.shortest_edge should be a positive integer, but is None"),
        ({"resample": 2}, "resample is 2; the worker implements 3 only"),
        ({"do_normalize": False}, "do_normalize is False"),
    ],
)
def test_a_preprocessor_file_is_never_completed_by_guesses(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(WorkerFailure) as caught:
        read_preprocessing(preprocessor_files(tmp_path, **changes))
    assert caught.value.code == "MODEL_UNSUPPORTED"
    assert message in caught.value.message


def test_a_missing_preprocessor_file_is_named(tmp_path: Path) -> None:
    (preprocessor_files(tmp_path) / "video_preprocessor_config.json").unlink()
    with pytest.raises(WorkerFailure, match=r"has no video_preprocessor_config\.json"):
        read_preprocessing(tmp_path)


def test_the_one_file_that_transformers_5_saves_is_read_too(tmp_path: Path) -> None:
    merged = {
        "image_processor": json.loads((MODEL / "preprocessor_config.json").read_text()),
        "video_processor": json.loads((MODEL / "video_preprocessor_config.json").read_text()),
    }
    (tmp_path / "processor_config.json").write_text(json.dumps(merged))
    assert read_preprocessing(tmp_path) == (IMAGE, VIDEO)
