"""A video given as its file's bytes: what is taken out of it, and how it is refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from drawing import encode
from embedded import checkpoint, user
from media_files import Rgb, clip, sound_file, video_file
from PIL import Image

from glimpse_worker.cancelling import Cancelled
from glimpse_worker.extraction import extractor as extractor_module
from glimpse_worker.extraction.extractor import Extractor
from glimpse_worker.extraction.messages import Unreadable
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.prepare import Prepared, Recall, prepare
from glimpse_worker.protocol import Generate, Options, PixelCap, VideoFileMedia


def prepared(
    data: bytes,
    is_cancelled: Callable[[], bool] = lambda: False,
    recall: Recall | None = None,
    **medium: Any,
) -> Prepared:
    request = Generate(
        request="a",
        attempt=0,
        messages=[user(0, "What?")],
        media=[VideoFileMedia(bytes=len(data), **medium)],
        options=Options(seed=0),
    )
    return prepare(request, [data], *checkpoint(), is_cancelled, recall)


def taken(data: bytes, *indices: int) -> list[Rgb]:
    with Extractor("video", [data], lambda: False) as extractor:
        extractor.open_video(0)
        return list(extractor.frames(0, indices))


def refusal(data: bytes) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        prepared(data)
    assert (caught.value.code, caught.value.media) == ("VIDEO_UNREADABLE", 0)
    assert caught.value.hint
    return caught.value


FORMATS = {
    "mp4": ("mp4", "libx264", "yuv420p"),
    "quicktime": ("mov", "libx264", "yuv420p"),
    "webm": ("webm", "libvpx-vp9", "yuv420p"),
    "old webm": ("webm", "libvpx", "yuv420p"),
    "gif": ("gif", "gif", "rgb8"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_common_format_is_read(name: str) -> None:
    container, codec, pixels = FORMATS[name]
    data = video_file(clip(24, 160, 120), container=container, codec=codec, pixels=pixels)
    with Extractor("video", [data], lambda: False) as extractor:
        header = extractor.open_video(0)
        frames = list(extractor.frames(0, [0, 11, 23]))
    assert (header.frames, header.fps, header.width, header.height) == (24, 10, 160, 120)
    for frame in frames:
        assert abs(int(frame[40, 40, 1]) - 200) < 40
        assert frame[100, 100, 1] < 60


def test_frames_found_from_a_key_frame_are_those_found_from_the_beginning() -> None:
    options = {"g": "8", "bf": "3", "qp": "0"}
    data = video_file(clip(60), container="mp4", codec="libx264", pixels="yuv420p", options=options)
    with av.open(io.BytesIO(data), "r") as container:
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(every) == 60
    for indices in ([5, 6, 31, 59], [58], [7, 8, 9], [0, 59]):
        for frame, index in zip(taken(data, *indices), indices, strict=True):
            np.testing.assert_array_equal(frame, every[index])


def test_pictures_that_are_only_referred_to_are_no_frames() -> None:
    data = video_file(clip(6), container="webm", codec="libvpx", pixels="yuv420p")
    with_hidden = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(with_hidden, "w", format="webm") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is None:
                continue
            content = bytes(packet)
            for first, later in ((content[0], 0), (content[0] & ~0x10, 1)):
                copy = av.Packet(bytes([first]) + content[1:])
                copy.stream, copy.time_base = stream, packet.time_base
                copy.pts = copy.dts = packet.pts + later
                copy.is_keyframe = packet.is_keyframe
                output.mux(copy)
    with Extractor("video", [with_hidden.getvalue()], lambda: False) as extractor:
        assert extractor.open_video(0).frames == 6
        assert len(list(extractor.frames(0, [*range(6)]))) == 6


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_what_a_phone_turns_on_the_screen_is_turned(degrees: int, turns: int) -> None:
    [plain] = taken(video_file(clip(1)), 0)
    [turned] = taken(video_file(clip(1), rotation=degrees), 0)
    np.testing.assert_array_equal(turned, np.rot90(plain, turns))


def test_what_is_transparent_becomes_white() -> None:
    picture = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    picture.paste((200, 0, 0, 255), (0, 0, 20, 30))
    blank = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    file = io.BytesIO()
    picture.save(file, "GIF", save_all=True, append_images=[blank], duration=100, disposal=2)
    first, second = taken(file.getvalue(), 0, 1)
    assert first[15, 10].tolist() == [200, 0, 0]
    assert first[15, 30].tolist() == [255, 255, 255]
    assert second[15, 10].tolist() == [255, 255, 255]


def test_a_title_in_another_encoding_is_no_damage() -> None:
    data = video_file(clip(2), title="encoding")
    assert b"encoding" in data
    assert len(taken(data.replace(b"encoding", b"\xfcml\xe4ute?"), 0, 1)) == 2


def test_a_turned_video_has_as_many_tokens_as_are_counted() -> None:
    medium = prepared(video_file(clip(30, 112, 56), rotation=90)).media[0]
    assert medium.size[0] == 2 * medium.size[1]
    assert (medium.geometry.width, medium.geometry.height) == (56, 112)


def test_the_request_says_how_many_frames_are_taken() -> None:
    data = video_file(clip(40), fps=Fraction(10))
    assert len(prepared(data).media[0].keys) == 4
    assert len(prepared(data, fps=10).media[0].keys) == 20
    assert len(prepared(data, max_frames=4).media[0].keys) == 2


def test_a_cap_makes_a_video_cheaper_or_refuses_it() -> None:
    data = video_file(clip(10, 168, 112))
    whole = prepared(data)
    small = prepared(data, cap=PixelCap(max_pixels=84 * 84, on_too_large="downscale"))
    assert 0 < small.prompt.image_tokens < whole.prompt.image_tokens
    height, width = (14 * side for side in small.media[0].size)
    assert height * width <= 84 * 84
    assert small.media[0].geometry == whole.media[0].geometry
    with pytest.raises(WorkerFailure, match="the video is 168 × 112 = 18816 pixels; maxPixels allows 7056"):
        prepared(data, cap=PixelCap(max_pixels=84 * 84, on_too_large="refuse"))


def test_frames_that_come_again_are_recalled_by_the_file_and_their_numbers() -> None:
    data = video_file(clip(20))
    first = prepared(data).media[0]
    assert first.pixels is not None
    memory = {first.keys: first.remembered}
    again = prepared(data, recall=memory.get).media[0]
    assert again.pixels is None
    assert again.remembered == first.remembered
    assert prepared(video_file(clip(21)), recall=memory.get).media[0].pixels is not None


def test_a_file_shows_what_its_frames_show_as_pictures() -> None:
    pixels = prepared(video_file(clip(4, 112, 112), fps=Fraction(2))).media[0].pixels
    assert pixels is not None
    shown = pixels.frames.flatten(0, 1)
    assert [int(frame[0, -1, -1]) for frame in shown] == [0, 1, 2, 3]
    assert shown.dtype == torch.uint8


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def garbled(data: bytes) -> bytes:
    middle = len(data) // 3
    return data[:middle] + bytes(len(data) // 3) + data[middle + len(data) // 3 :]


H264: dict[str, Any] = {"codec": "libx264", "pixels": "yuv420p"}


def without_frames() -> bytes:
    return video_file([], container="mp4", **H264)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"nothing at all", "begins with b'nothing at a'"),
        (encode(Image.new("RGB", (8, 8))), "begins with b'\\x89PNG"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "begins with b'#EXTM3U"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "begins with b'ffconcat ver'"),
        (sound_file(), "holds no moving pictures, but audio"),
        (without_frames(), ""),
        (cut(video_file(clip(30), container="mp4", **H264)), ""),
        (garbled(video_file(clip(30))), "damaged or unusual"),
        (b"GIF89a", ""),
        (b"\x1aE\xdf\xa3" + bytes(100), ""),
        (bytes(4) + b"ftyp" + bytes(100), ""),
    ],
    ids=[
        "empty",
        "no video",
        "picture",
        "playlist",
        "list of files",
        "sound",
        "no frame",
        "cut",
        "garbled",
        "gif",
        "webm",
        "mp4",
    ],
)
def test_what_cannot_be_read_is_refused_by_name(data: bytes, reason: str) -> None:
    assert reason in refusal(data).message


def with_its_list_first(data: bytes, path: Path) -> bytes:
    options = {"movflags": "faststart"}
    with av.open(io.BytesIO(data), "r") as source, av.open(str(path), "w", options=options) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return path.read_bytes()


def test_a_file_that_lost_its_end_is_refused_when_it_tells_how_long_it_was(tmp_path: Path) -> None:
    data = with_its_list_first(video_file(clip(40), container="mp4", **H264), tmp_path / "a.mp4")
    begun = data.index(b"mdat")
    half = data[: begun + (len(data) - begun) // 2]
    assert "is cut off: of 40 frames" in refusal(half).message


def test_of_a_stream_that_breaks_off_there_is_what_came() -> None:
    data = video_file(clip(40), container="webm", codec="libvpx-vp9", pixels="yuv420p")
    frames = prepared(cut(data)).media[0].keys
    assert 0 < len(frames) < 4


def test_a_frame_of_billions_of_pixels_is_refused() -> None:
    data = bytearray(video_file(clip(1)))
    header = data.index(b"IHDR")
    data[header + 4 : header + 12] = struct.pack(">II", 60_000, 60_000)
    assert refusal(bytes(data)).message.startswith("the video is ")


def test_one_that_takes_too_long_is_given_up_however_little_each_of_its_frames_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extractor_module, "TIME_LIMIT_S", 0.0)
    # So that no wait for an answer is longer than it.
    monkeypatch.setattr(extractor_module, "CANCEL_CHECK_S", 60.0)
    assert "took too long" in refusal(video_file(clip(30))).message


def test_a_crash_of_what_reads_the_file_costs_the_request_only() -> None:
    with Extractor("video", [video_file(clip(30))], lambda: False) as extractor:
        extractor.open_video(0)
        process = extractor._process
        assert process is not None
        process.kill()
        process.wait()
        with pytest.raises(Unreadable, match="what reads it ended with signal 9"):
            list(extractor.frames(0, [0]))


def test_a_cancelled_request_waits_for_no_frame() -> None:
    asked = 0

    def is_cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Cancelled):
        prepared(video_file(clip(30)), is_cancelled=is_cancelled)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ModuleNotFoundError(\"No module named 'av'\", name='av')")
    path = f"{tmp_path}:{extractor_module._ENVIRONMENT['PYTHONPATH']}"
    monkeypatch.setitem(extractor_module._ENVIRONMENT, "PYTHONPATH", path)
    with pytest.raises(WorkerFailure, match="No module named 'av'") as caught:
        prepared(video_file(clip(2)))
    assert caught.value.code == "PYTHON_DEPS_MISSING"
    assert "install av" in str(caught.value.hint)


def test_no_process_is_left_behind() -> None:
    extractor = Extractor("video", [video_file(clip(5))], lambda: False)
    with extractor:
        extractor.open_video(0)
        process = extractor._process
    assert process is not None
    assert process.poll() is not None
    assert process.stdout is not None
    assert process.stdout.closed
