"""Reads the headers of a request's media."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import assert_never

from .cancelling import IsCancelled
from .checkpoint import Checkpoint
from .decoding import Decoder
from .extraction.extractor import Extractor
from .failure import WorkerFailure
from .media import MediaKind, picture_name
from .media_items import Item, OpenMedium
from .media_keys import media_keys
from .media_tokens import count_tokens, header_size
from .pdf_pages import open_pdf
from .preprocessing import Preprocessing
from .prompt import ImageTokens
from .protocol import (
    CountedImage,
    CountedVideo,
    Frame,
    ImageMedia,
    Media,
    PdfMedia,
    VideoFileMedia,
    VideoMedia,
)
from .request_media import MAX_IMAGES, media_kind
from .video_file import open_video_file


@contextmanager
def open_media(
    media: Sequence[Media], frames: Sequence[Frame], checkpoint: Checkpoint, is_cancelled: IsCancelled
) -> Iterator[list[OpenMedium]]:
    """
    The media, in the order of the request. They can be decoded for as long as the context lasts, in which
    files are read by a process of their own.

    Raises Cancelled, or a WorkerFailure that names the medium at fault.
    """
    kind = media_kind(media)
    numbers = checkpoint.video if kind == "video" else checkpoint.image
    encoded = _split(frames, media)
    files = [
        data
        for medium, (data, *_) in zip(media, encoded, strict=True)
        if isinstance(medium, VideoFileMedia | PdfMedia)
    ]
    with Extractor("video" if kind == "video" else "pdf", files, is_cancelled) as extractor:
        opener = _Opener(kind, numbers, checkpoint, is_cancelled, extractor)
        opened = [opener.open(medium, encoded[index], index) for index, medium in enumerate(media)]
        _check_number(opened)
        yield opened


class _Opener:
    def __init__(
        self,
        kind: MediaKind,
        numbers: Preprocessing,
        checkpoint: Checkpoint,
        is_cancelled: IsCancelled,
        extractor: Extractor,
    ) -> None:
        self._kind = kind
        self._numbers = numbers
        self._checkpoint = checkpoint
        self._is_cancelled = is_cancelled
        self._extractor = extractor
        self._files = 0

    def open(self, medium: Media, raw: Sequence[Frame], index: int) -> OpenMedium:
        match medium:
            case ImageMedia() | VideoMedia():
                return self._open_encoded(medium, raw, index)
            case VideoFileMedia():
                sampling = self._checkpoint.sampling
                return open_video_file(medium, raw[0], index, self._numbers, sampling, self._extractor)
            case PdfMedia():
                self._files += 1
                return open_pdf(medium, raw[0], index, self._numbers, self._files - 1, self._extractor)
            case _:
                assert_never(medium)

    def _open_encoded(self, medium: ImageMedia | VideoMedia, raw: Sequence[Frame], index: int) -> OpenMedium:
        step = self._numbers.temporal_patch_size
        numbers = self._numbers.capped(medium.cap, max(step, len(raw)))
        size = header_size(self._kind, raw, index, numbers, medium.cap)
        tokens = count_tokens(medium, size, numbers)
        item = Item(
            tokens=tokens,
            keys=media_keys(self._kind, raw, size, step),
            name=partial(picture_name, self._kind, index),
            decode=partial(Decoder(self._kind, numbers, self._is_cancelled).decode, raw, index),
        )
        if isinstance(tokens, ImageTokens):
            return OpenMedium([item], CountedImage(tokens=tokens.count))
        assert isinstance(medium, VideoMedia)
        counted = CountedVideo(
            tokens=tokens.per_patch * len(tokens.seconds),
            frames=len(raw),
            duration_ms=1000 * len(raw) / medium.fps,
        )
        return OpenMedium([item], counted)


def _split(frames: Sequence[Frame], media: Sequence[Media]) -> list[Sequence[Frame]]:
    """The frames of each medium."""
    raw = iter(frames)
    counts = [len(medium.bytes) if isinstance(medium, VideoMedia) else 1 for medium in media]
    return [list(islice(raw, count)) for count in counts]


def _check_number(opened: Sequence[OpenMedium]) -> None:
    pictures = sum(len(medium.items) for medium in opened)
    if pictures > MAX_IMAGES:
        raise WorkerFailure(
            "INVALID_REQUEST",
            f"expected at most {MAX_IMAGES} pictures and pages, got {pictures}",
            hint="Ask about them in separate requests.",
        )
