"""What a request's media become before the engine sees them."""

from __future__ import annotations

import struct
from functools import cache

import pytest
import torch
from drawing import encode, moving_circle, noise, photo
from embedded import MODEL, start_line, user
from PIL import Image

from glimpse_worker.checkpoint import Checkpoint, load_tokenizer, open_checkpoint
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.geometry import Geometry
from glimpse_worker.media import Picture, read_picture
from glimpse_worker.media_tokens import count_tokens
from glimpse_worker.prepare import Cancelled, IsCancelled, Prepared, prepare
from glimpse_worker.prompt import ImageTokens, PromptBuilder, VideoTokens
from glimpse_worker.protocol import Frame, Generate, ImageMedia, Options, VideoMedia


@cache
def checkpoint() -> tuple[Checkpoint, PromptBuilder]:
    found = open_checkpoint(start_line(str(MODEL)), lambda *_: None)
    return found, PromptBuilder(load_tokenizer(found), found.placeholders)


def prepared(
    media: list[ImageMedia | VideoMedia],
    frames: list[bytes],
    *shown: int,
    is_cancelled: IsCancelled = lambda: False,
) -> Prepared:
    request = Generate(
        request="a", attempt=0, messages=[user(*shown, "Describe.")], media=media, options=Options(seed=0)
    )
    return prepare(request, frames, *checkpoint(), is_cancelled)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures and frames that were decoded."""
    names: list[str] = []

    def read(data: Frame, media: int, factor: int, name: str) -> Picture:
        names.append(name)
        return read_picture(data, media, factor, name)

    monkeypatch.setattr("glimpse_worker.prepare.read_picture", read)
    monkeypatch.setattr("glimpse_worker.media_tokens.read_picture", read)
    return names


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


def test_pictures_beyond_the_context_are_refused_before_any_is_decoded(decoded: list[str]) -> None:
    # 9999 × 9999 in a few bytes: each takes seconds and 300 MB to decode.
    screen = struct.pack("<HHBBB", 9999, 9999, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0;"
    with pytest.raises(WorkerFailure) as caught:
        prepared([ImageMedia(bytes=1)] * 30, [b"GIF89a" + screen + frame] * 30, *range(30))
    assert caught.value.code == "CONTEXT_TOO_LONG"
    assert decoded == []


def test_a_cancelled_request_decodes_no_further_picture(decoded: list[str]) -> None:
    with pytest.raises(Cancelled):
        prepared(
            [ImageMedia(bytes=1)] * 3,
            [encode(noise(56, 56))] * 3,
            *range(3),
            is_cancelled=lambda: len(decoded) == 1,
        )
    assert decoded == ["picture 1"]


def test_a_cancelled_request_decodes_no_further_frame(decoded: list[str]) -> None:
    frames = [encode(frame) for frame in moving_circle(4)]
    with pytest.raises(Cancelled):
        prepared([VideoMedia(bytes=[1] * 4, fps=2)], frames, 0, is_cancelled=lambda: len(decoded) == 2)
    assert decoded == ["frame 1 of the video", "frame 2 of the video"]


def rotated(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(picture, "JPEG", exif=exif)


@pytest.mark.parametrize(
    "data",
    [
        encode(noise(1, 1)),
        encode(photo(641, 479), "JPEG"),
        encode(photo(640, 480), "WEBP"),
        encode(noise(300, 33), "GIF"),
        encode(Image.new("RGB", (1000, 2))),
        encode(Image.new("RGB", (3, 1000))),
        rotated(photo(301, 77)),
    ],
    ids=["dot", "jpeg", "webp", "gif", "wide", "tall", "rotated"],
)
def test_a_header_tells_as_many_tokens_as_the_decoded_picture_has(data: bytes) -> None:
    [medium] = prepared([ImageMedia(bytes=1)], [data], 0).media
    tokens = count_tokens(ImageMedia(bytes=1), [data], 0, checkpoint()[0])
    assert tokens == ImageTokens(medium.pixels.patches.shape[0] // 4)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_header_tells_as_many_tokens_as_the_decoded_video_has(count: int) -> None:
    video, frames = VideoMedia(bytes=[1] * count, fps=1), [rotated(photo(150, 97))] * count
    [medium] = prepared([video], frames, 0).media
    t, h, w = medium.pixels.grid
    tokens = count_tokens(video, frames, 0, checkpoint()[0])
    assert tokens == VideoTokens(h * w // 4, tuple(range(0, count, 2)))
    assert len(range(0, count, 2)) == t
