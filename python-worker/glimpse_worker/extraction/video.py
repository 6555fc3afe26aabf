"""A video file → its frames. Runs in the process that extracts; the one file that imports PyAV."""

from __future__ import annotations

import contextlib
import mmap
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .messages import Unreadable, Video
from .orientation import Orientation, orientation_of

MAX_FRAME_PIXELS = 8192 * 4352
"""8K, with what codecs round its sides up to."""
MAX_FRAMES = 1_000_000
"""More than nine hours at 30 a second; each costs some bytes here, before anything is decoded."""
THREADS = 2
RECODE = "Convert it: ffmpeg -i IT -c:v libx264 -pix_fmt yuv420p OUT.mp4"
ATTACHED_PICTURE = av.stream.Disposition.attached_pic

Rgb = npt.NDArray[np.uint8]
"""(height, width, 3)."""
Demuxer = Literal["mov", "matroska", "gif"]


class VideoFile:
    """
    Frames are counted and found by the time at which they are shown, as listed by the file, so that a wanted
    one can be looked for from the key frame before it.
    """

    def __init__(self, file: mmap.mmap) -> None:
        """Reads the whole file once, and decodes one frame of it. Raises Unreadable."""
        self._file = file
        self._demuxer = _demuxer_of(file)
        with _named_errors(), self._opened() as (container, stream):
            self._times, self._key_times = _list_frames(container, stream)
            rate = stream.average_rate or stream.guessed_rate
        if not self._times:
            raise Unreadable("has no frame", "Check that the whole file was read.")
        self._fps = _frames_a_second(rate, len(self._times))
        [first] = self.frames([0])
        self.header = Video(len(self._times), self._fps, width=first.shape[1], height=first.shape[0])

    def frames(self, indices: Sequence[int]) -> Iterator[Rgb]:
        """The upright frames of these indices, which rise. Raises Unreadable, in the midst of it too."""
        for index, frame in zip(indices, self._find([self._times[index] for index in indices]), strict=False):
            if frame is None:
                raise Unreadable(
                    f"is damaged: frame {index + 1} of {len(self._times)} cannot be decoded", RECODE
                )
            yield _upright_rgb(frame)

    def _find(self, times: Sequence[int]) -> Iterator[VideoFrame | None]:
        """The frame of each time, or None, and nothing after it, for the first one that is not there."""
        with _named_errors(), self._opened() as (container, stream):
            decoder = _Decoder(container, stream, self._key_times)
            for time in times:
                frame = decoder.advance(time)
                if frame is None and decoder.has_jumped:
                    # Files exist that cannot be jumped in; from the beginning every frame is found that there
                    # is.
                    with self._opened() as (again, same):
                        frame = _Decoder(again, same, ()).advance(time)
                yield frame
                if frame is None:
                    return

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        self._file.seek(0)
        # The demuxer is named: some that FFmpeg would otherwise try open other files, or URLs, that a file
        # names.
        options = {"protocol_whitelist": "none"}
        with av.open(self._file, mode="r", format=self._demuxer, options=options) as container:
            yield container, _moving_pictures(container)


@dataclass(slots=True)
class _Decoder:
    """Goes forward through the frames of a stream."""

    container: InputContainer
    stream: VideoStream
    key_times: Sequence[int]
    has_jumped: bool = False
    _frames: Iterator[VideoFrame] | None = None
    _latest: VideoFrame | None = None

    def advance(self, time: int) -> VideoFrame | None:
        """The frame that is shown from `time` on, which is not before the one asked for last."""
        self._jump(time)
        self._frames = self._frames or self.container.decode(self.stream)
        while self._latest is None or _time(self._latest) < time:
            self._latest = next(self._frames, None)
            if self._latest is None:
                return None
        return self._latest if _time(self._latest) == time else None

    def _jump(self, time: int) -> None:
        """To the last key frame before `time`, if there is one after where we are."""
        place = bisect_right(self.key_times, time)
        if place == 0:
            return
        key = self.key_times[place - 1]
        here = self.key_times[0] if self._latest is None else _time(self._latest)
        if key <= here:
            return
        self.container.seek(key, stream=self.stream, backward=True)
        self.has_jumped = True
        self._frames = self._latest = None


def _time(frame: VideoFrame) -> int:
    if frame.pts is None:
        raise Unreadable("does not say when its frames are shown", RECODE)
    return frame.pts


def _list_frames(container: InputContainer, stream: VideoStream) -> tuple[list[int], list[int]]:
    """
    The times of all frames that are shown, and of the key frames among them, in order; nothing is decoded.
    """
    times: list[int] = []
    keys: list[int] = []
    read = 0
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        read += 1
        if packet.is_discard or _is_hidden(packet, stream):
            continue
        if packet.pts is None:
            raise Unreadable("does not say when its frames are shown", RECODE)
        times.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
        if len(times) > MAX_FRAMES:
            raise Unreadable(f"has more than {MAX_FRAMES} frames", "Cut it into pieces.")
    if read < stream.frames:
        raise Unreadable(f"is cut off: of {stream.frames} frames {read} are there", "Read the whole file.")
    return sorted(times), sorted(keys)


def _is_hidden(packet: av.Packet[VideoStream], stream: VideoStream) -> bool:
    """
    VP8 keeps pictures that are only referred to in packets of their own; the fifth bit says so (RFC 6386,
    9.1).
    """
    return stream.codec_context.name in ("vp8", "libvpx") and not bytes(packet)[0] & 0x10


def _frames_a_second(rate: Fraction | None, frames: int) -> float:
    if rate is not None and rate > 0:
        return float(rate)
    if frames == 1:
        return 1.0
    raise Unreadable("does not say how many frames a second it has", RECODE)


def _moving_pictures(container: InputContainer) -> VideoStream:
    streams = [stream for stream in container.streams.video if not stream.disposition & ATTACHED_PICTURE]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        found = " and ".join(kinds) if kinds else "no stream at all"
        raise Unreadable(f"holds no moving pictures, but {found}", "Pass a file with a video track.")
    stream = streams[0]
    codec = stream.codec_context
    if codec.width * codec.height > MAX_FRAME_PIXELS:
        raise Unreadable(
            f"is {codec.width} × {codec.height}; at most {MAX_FRAME_PIXELS // 1_000_000} megapixels are read",
            "Scale it down: the model sees far fewer pixels.",
        )
    codec.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    codec.thread_type = "AUTO"
    codec.thread_count = THREADS
    return stream


def _demuxer_of(file: mmap.mmap) -> Demuxer:
    start = file.read(12)
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if start.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    what = f"begins with {start!r}" if start else "is empty"
    raise Unreadable(f"is no readable MP4, QuickTime, WebM, Matroska or GIF: its data {what}", RECODE)


def _upright_rgb(frame: VideoFrame) -> Rgb:
    orientation = orientation_of(frame)
    return orientation.apply(_rgb(frame)) if orientation != Orientation() else _rgb(frame)


def _rgb(frame: VideoFrame) -> Rgb:
    """As transformers converts a frame; what is transparent becomes white, as in pictures."""
    if not _has_alpha(frame):
        return np.ascontiguousarray(frame.to_ndarray(format="rgb24"), np.uint8)
    rgba = frame.to_ndarray(format="rgba").astype(np.uint16)
    alpha = rgba[..., 3:]
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _has_alpha(frame: VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components) or frame.format.has_palette


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise Unreadable(f"is damaged or unusual: {error.strerror}", RECODE) from error
    except ValueError as error:
        raise Unreadable(f"is damaged or unusual: {error}", RECODE) from error
