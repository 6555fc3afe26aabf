"""What a request's media become before the engine sees them."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from drawing import encode, noise
from embedded import MODEL, start_line, user
from PIL import Image

from glimpse_worker.checkpoint import Checkpoint, load_tokenizer, open_checkpoint
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.geometry import Geometry
from glimpse_worker.prepare import Prepared, prepare
from glimpse_worker.prompt import PromptBuilder
from glimpse_worker.protocol import Generate, ImageMedia, Options, VideoMedia


@cache
def checkpoint() -> tuple[Checkpoint, PromptBuilder]:
    found = open_checkpoint(start_line(str(MODEL)), lambda *_: None)
    return found, PromptBuilder(load_tokenizer(found), found.placeholders, found.context_length)


def prepared(media: list[ImageMedia | VideoMedia], frames: list[bytes], *shown: int) -> Prepared:
    request = Generate(
        request="a", attempt=0, messages=[user(*shown, "Describe.")], media=media, options=Options(seed=0)
    )
    return prepare(request, frames, *checkpoint())


def test_boxes_of_a_padded_picture_are_mapped_back_to_the_original() -> None:
    [medium] = prepared([ImageMedia(bytes=1)], [encode(Image.new("RGB", (1000, 2), "red"))], 0).media
    assert medium.geometry == Geometry(1000, 2, canvas_width=1000, canvas_height=5)
    assert medium.geometry.to_pixels((100, 0, 500, 1000)) == (100, 0, 500, 2)


def test_boxes_of_a_rotated_picture_are_those_of_the_upright_one() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    [medium] = prepared([ImageMedia(bytes=1)], [encode(noise(100, 60), "JPEG", exif=exif)], 0).media
    assert medium.geometry == Geometry.unpadded(60, 100)


def test_patches_stand_in_the_order_in_which_the_messages_show_the_pictures() -> None:
    small, large = encode(noise(56, 112)), encode(noise(112, 112))
    both = prepared([ImageMedia(bytes=1)] * 2, [small, large], 1, 0)
    inputs = both.model_inputs(torch.device("cpu"))
    assert inputs["image_grid_thw"].tolist() == [[1, 8, 8], [1, 8, 4]]
    assert torch.equal(inputs["pixel_values"][:64], both.media[1].pixels.patches)
    assert int((inputs["mm_token_type_ids"] == 1).sum()) == (64 + 32) // 4


def test_a_video_is_given_under_the_names_that_the_model_has_for_it() -> None:
    inputs = prepared([VideoMedia(bytes=[1] * 3, fps=2)], [encode(noise(112, 112))] * 3, 0).model_inputs(
        torch.device("cpu")
    )
    assert inputs["video_grid_thw"].tolist() == [[2, 8, 8]]
    assert inputs["pixel_values_videos"].shape == (128, 3 * 2 * 14 * 14)
    assert int((inputs["mm_token_type_ids"] == 2).sum()) == 128 // 4
    assert "pixel_values" not in inputs


def test_a_damaged_frame_of_a_video_is_named() -> None:
    with pytest.raises(WorkerFailure, match="frame 2 of the video"):
        prepared([VideoMedia(bytes=[1] * 2, fps=2)], [encode(noise(56, 56)), b"nothing"], 0)


def test_a_warning_that_all_frames_share_is_given_once() -> None:
    line = encode(Image.new("RGB", (1000, 2), "red"))
    [medium] = prepared([VideoMedia(bytes=[1] * 4, fps=2)], [line] * 4, 0).media
    assert [warning.code for warning in medium.warnings] == ["IMAGE_PADDED"]
