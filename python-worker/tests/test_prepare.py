"""What a request's media become before the engine sees them."""

from __future__ import annotations

import struct

import pytest
import torch
from drawing import encode, moving_circle, noise, photo
from embedded import checkpoint, user
from PIL import Image

from glimpse_worker.cancelling import Cancelled, IsCancelled
from glimpse_worker.decoding import Remembered
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.geometry import Geometry
from glimpse_worker.media import Picture, read_picture
from glimpse_worker.media_keys import media_keys
from glimpse_worker.media_tokens import count_tokens, header_size
from glimpse_worker.pixels import patches
from glimpse_worker.prepare import Prepared, PreparedMedium, Recall, prepare
from glimpse_worker.prompt import ImageTokens, VideoTokens
from glimpse_worker.protocol import Frame, Generate, ImageMedia, Options, VideoMedia


def prepared(
    media: list[ImageMedia | VideoMedia],
    frames: list[bytes],
    *shown: int,
    is_cancelled: IsCancelled = lambda: False,
    recall: Recall | None = None,
) -> Prepared:
    request = Generate(
        request="a", attempt=0, messages=[user(*shown, "Describe.")], media=media, options=Options(seed=0)
    )
    return prepare(request, frames, *checkpoint(), is_cancelled, recall)


def picture(data: bytes) -> PreparedMedium:
    [medium] = prepared([ImageMedia(bytes=1)], [data], 0).media
    return medium


def video(frames: list[bytes]) -> PreparedMedium:
    [medium] = prepared([VideoMedia(bytes=[1] * len(frames), fps=2)], frames, 0).media
    return medium


def grid(medium: PreparedMedium) -> tuple[int, int, int]:
    assert medium.pixels is not None
    return medium.pixels.grid


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures and frames that were decoded."""
    names: list[str] = []

    def read(data: Frame, media: int, factor: int, name: str) -> Picture:
        names.append(name)
        return read_picture(data, media, factor, name)

    monkeypatch.setattr("glimpse_worker.decoding.read_picture", read)
    monkeypatch.setattr("glimpse_worker.media_tokens.read_picture", read)
    return names


def test_boxes_of_a_padded_picture_are_mapped_back_to_the_original() -> None:
    medium = picture(encode(Image.new("RGB", (1000, 2), "red")))
    assert medium.geometry == Geometry(1000, 2, canvas_width=1000, canvas_height=5)
    assert medium.geometry.to_pixels((100, 0, 500, 1000)) == (100, 0, 500, 2)


def test_boxes_of_a_rotated_picture_are_those_of_the_upright_one() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    medium = picture(encode(noise(100, 60), "JPEG", exif=exif))
    assert medium.geometry == Geometry.unpadded(60, 100)


def test_patches_stand_in_the_order_in_which_the_messages_show_the_pictures() -> None:
    small, large = encode(noise(56, 112)), encode(noise(112, 112))
    both = prepared([ImageMedia(bytes=1)] * 2, [small, large], 1, 0)
    inputs = both.model_inputs(torch.device("cpu"))
    assert inputs["image_grid_thw"].tolist() == [[1, 8, 8], [1, 8, 4]]
    [first, _] = [both.media[index].pixels for index in both.order]
    assert first is not None
    assert torch.equal(inputs["pixel_values"][:64], patches(first.frames, both.numbers))
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
    assert [warning.code for warning in video([line] * 4).warnings] == ["IMAGE_PADDED"]


def animation() -> bytes:
    return encode(noise(56, 56), "GIF", save_all=True, append_images=[noise(56, 56).rotate(90)])


def test_warnings_name_the_picture_and_the_frame() -> None:
    plain = encode(noise(56, 56))
    [warning] = prepared([ImageMedia(bytes=1)] * 2, [plain, animation()], 0, 1).warnings
    assert (warning.media, warning.message[:25]) == (1, "picture 2 is an animated ")
    [warning] = prepared([VideoMedia(bytes=[1] * 3, fps=2)], [plain, plain, animation()], 0).warnings
    assert (warning.media, warning.message[:36]) == (0, "frame 3 of the video is an animated ")


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
    numbers = checkpoint()[0].image
    tokens = count_tokens(ImageMedia(bytes=1), header_size("image", [data], 0, numbers), numbers)
    t, h, w = grid(picture(data))
    assert (t, tokens) == (1, ImageTokens(h * w // 4))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_header_tells_as_many_tokens_as_the_decoded_video_has(count: int) -> None:
    numbers, frames = checkpoint()[0].video, [rotated(photo(150, 97))] * count
    size = header_size("video", frames, 0, numbers)
    tokens = count_tokens(VideoMedia(bytes=[1] * count, fps=1), size, numbers)
    t, h, w = grid(video(frames))
    assert tokens == VideoTokens(h * w // 4, tuple(range(0, count, 2)))
    assert len(range(0, count, 2)) == t


def test_the_size_of_a_medium_is_that_of_its_upright_patches() -> None:
    assert picture(rotated(noise(112, 56))).size == (8, 4)
    assert video([rotated(noise(112, 56))] * 3).size == (8, 4)


def test_the_same_bytes_have_the_same_key_wherever_they_stand() -> None:
    first, second = encode(noise(112, 112)), encode(noise(112, 56))
    media = prepared([ImageMedia(bytes=1)] * 3, [first, second, first], 0, 1, 2).media
    keys = [medium.keys for medium in media]
    assert all(len(key) == 1 and len(key[0]) == 16 for key in keys)
    assert keys[0] == keys[2] != keys[1]
    assert picture(first).keys == keys[0]


def test_a_picture_and_a_video_of_it_have_different_keys() -> None:
    data = encode(noise(112, 112))
    assert picture(data).keys != video([data]).keys


def test_equal_frame_pairs_of_two_videos_share_their_keys() -> None:
    a, b, c = (encode(noise(112, 112).rotate(90 * turn)) for turn in range(3))
    assert video([a, b, c, c]).keys[0] == video([a, b]).keys[0]
    assert video([a, b, c]).keys == video([a, b, c, c]).keys
    assert len({*video([a, b, c]).keys, *video([b, a, c, b]).keys}) == 4


def test_equal_frames_that_the_length_of_the_video_makes_smaller_have_other_keys() -> None:
    frames = [encode(noise(252, 252))] * 12
    short, long = video(frames[:2]), video(frames)
    assert short.size != long.size
    assert not {*short.keys} & {*long.keys}


def test_the_key_says_whether_a_frame_is_of_a_picture_or_of_a_video() -> None:
    # The two have preprocessing numbers of their own.
    assert media_keys("image", [b"a"], (112, 112), 1) != media_keys("video", [b"a"], (112, 112), 1)


def test_where_one_frame_ends_and_the_next_begins_is_part_of_the_key() -> None:
    def keys(*frames: bytes) -> tuple[bytes, ...]:
        return media_keys("video", frames, (112, 112), 2)

    assert keys(b"ab", b"c") != keys(b"a", b"bc")


def test_a_medium_that_is_recalled_is_not_decoded(decoded: list[str]) -> None:
    known, other = animation(), encode(noise(112, 112))
    media: list[ImageMedia | VideoMedia] = [ImageMedia(bytes=1)] * 2
    before = prepared(media, [known, other], 0, 1)
    memory = {before.media[0].keys: before.media[0].remembered}
    decoded.clear()
    after = prepared(media, [other, known], 0, 1, recall=memory.get)
    assert decoded == ["picture 1"]
    [fresh, recalled] = after.media
    assert fresh.pixels is not None
    assert recalled.pixels is None
    assert (recalled.keys, recalled.remembered) == (before.media[0].keys, before.media[0].remembered)
    assert [warning.message[:25] for warning in after.warnings] == ["picture 2 is an animated "]


def test_a_video_is_recalled_as_a_whole_so_that_its_frames_are_compared_with_each_other() -> None:
    small, large = (encode(Image.new("RGB", (side, side))) for side in (112, 113))
    asked: list[tuple[bytes, ...]] = []

    def recall(keys: tuple[bytes, ...]) -> Remembered | None:
        asked.append(keys)
        return None

    with pytest.raises(WorkerFailure, match="frame 3 of the video is 113 × 113, but the first is 112 × 112"):
        prepared([VideoMedia(bytes=[1] * 4, fps=2)], [small] * 2 + [large] * 2, 0, recall=recall)
    assert asked == [(*video([small] * 2).keys, *video([large] * 2).keys)]
