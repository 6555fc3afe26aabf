"""Counting on the scripted engine, which looks at no medium: each frame of bytes counts as one token."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol import (
    Counted,
    CountedImage,
    CountedMedium,
    CountedPdf,
    CountedVideo,
    CountTokens,
    Frame,
    ImageMedia,
    Media,
    PdfMedia,
    RequestKey,
    VideoMedia,
)
from .interface import Emit
from .scripted_run import CONTEXT_LENGTH, text_tokens


class ScriptedCounter:
    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def count(self, request: CountTokens, frames: Sequence[Frame]) -> None:
        self._emit(
            Counted(
                request=request.request,
                attempt=request.attempt,
                prompt_tokens=len(frames) + text_tokens(request.messages),
                image_tokens=len(frames),
                context_length=CONTEXT_LENGTH,
                media=[_counted(medium) for medium in request.media],
            )
        )

    def cancel(self, key: RequestKey) -> None:
        """What is counted at once cannot be cancelled."""

    def close(self) -> None:
        pass


def _counted(medium: Media) -> CountedMedium:
    if isinstance(medium, ImageMedia):
        return CountedImage(tokens=1)
    if isinstance(medium, PdfMedia):
        return CountedPdf(tokens=1, pages=1, page_tokens=[1])
    frames = len(medium.bytes) if isinstance(medium, VideoMedia) else 1
    return CountedVideo(tokens=frames, frames=frames, duration_ms=1000 * frames / (medium.fps or 1))
