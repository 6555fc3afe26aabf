"""Tokens are counted as they will be used, and nothing is decoded or generated for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from drawing import encode, noise
from embedded import checkpoint, user
from media_files import clip, encrypted_pdf, pdf_file, video_file

from glimpse_worker.engine.counting import TokenCounter
from glimpse_worker.prepare import prepare
from glimpse_worker.protocol import (
    Counted,
    CountedImage,
    CountedMedium,
    CountedPdf,
    CountedVideo,
    CountTokens,
    DataFromWorker,
    Done,
    Error,
    Fault,
    Generate,
    ImageMedia,
    Media,
    Options,
    PdfMedia,
    RequestKey,
    VideoFileMedia,
    VideoMedia,
)

PATIENCE_S = 60
Case = tuple[list[Media], list[bytes]]


class Counting:
    """A counter, and what it says."""

    def __init__(self) -> None:
        self.said: list[DataFromWorker | Fault] = []
        self.ended = threading.Event()
        self.counter = TokenCounter(*checkpoint(), self._emit)

    def ask(self, media: Sequence[Media], frames: Sequence[bytes]) -> RequestKey:
        messages = [user(*range(len(media)), "What is this?")]
        request = CountTokens(request="c", attempt=2, messages=messages, media=media)
        self.counter.count(request, frames)
        return request.key

    def wait(self) -> DataFromWorker | Fault:
        assert self.ended.wait(PATIENCE_S), "the count has not ended"
        self.counter.close()
        [ending] = self.said
        return ending

    def _emit(self, message: DataFromWorker | Fault) -> None:
        self.said.append(message)
        self.ended.set()


def counted(media: list[Media], frames: list[bytes]) -> DataFromWorker | Fault:
    counting = Counting()
    counting.ask(media, frames)
    return counting.wait()


def pictures() -> Case:
    frames = [encode(noise(56, 112)), encode(noise(200, 130), "JPEG")]
    return [ImageMedia(bytes=len(frame)) for frame in frames], frames


def frames_of_a_video() -> Case:
    frames = [encode(noise(56, 56))] * 5
    return [VideoMedia(bytes=[len(frame) for frame in frames], fps=2)], frames


def video_as_a_file() -> Case:
    data = video_file(clip(45))
    return [VideoFileMedia(bytes=len(data))], [data]


def document_and_picture() -> Case:
    data, picture = pdf_file((112, 112), (56, 112), (112, 56)), encode(noise(56, 56))
    return [PdfMedia(bytes=len(data), dpi=72, pages=[3, 1]), ImageMedia(bytes=len(picture))], [data, picture]


@pytest.mark.parametrize("case", [pictures, frames_of_a_video, video_as_a_file, document_and_picture])
def test_as_many_tokens_are_counted_as_a_request_will_use(case: Callable[[], Case]) -> None:
    media, frames = case()
    count = counted(media, frames)
    assert isinstance(count, Counted)
    messages = [user(*range(len(media)), "What is this?")]
    request = Generate(request="g", attempt=0, messages=messages, media=media, options=Options(seed=0))
    prepared = prepare(request, frames, *checkpoint(), lambda: False)
    assert (count.request, count.attempt) == ("c", 2)
    assert count.prompt_tokens == len(prepared.prompt.ids)
    assert count.image_tokens == prepared.prompt.image_tokens
    assert sum(medium.tokens for medium in count.media) == count.image_tokens
    assert count.context_length == checkpoint()[0].context_length


def media_of(case: Case) -> list[CountedMedium]:
    count = counted(*case)
    assert isinstance(count, Counted)
    return list(count.media)


def test_a_count_tells_the_pages_of_a_document_and_the_frames_of_a_video() -> None:
    assert media_of(document_and_picture()) == [
        CountedPdf(tokens=24, pages=3, page_tokens=[8, 16]),
        CountedImage(tokens=9),
    ]
    assert media_of(frames_of_a_video()) == [CountedVideo(tokens=3 * 4, frames=5, duration_ms=2500)]
    [video] = media_of(video_as_a_file())
    assert isinstance(video, CountedVideo)
    assert (video.frames, video.duration_ms) == (10, 4500)


def test_what_does_not_fit_into_the_context_is_counted_all_the_same() -> None:
    picture = encode(noise(320, 320))
    count = counted([ImageMedia(bytes=len(picture))] * 100, [picture] * 100)
    assert isinstance(count, Counted)
    assert count.prompt_tokens > count.context_length


def test_what_cannot_be_counted_is_an_error_by_name() -> None:
    data = encrypted_pdf()
    error = counted([PdfMedia(bytes=len(data), dpi=72)], [data])
    assert isinstance(error, Error)
    assert (error.code, error.media) == ("PDF_UNREADABLE", 0)


def test_a_cancelled_count_ends_once() -> None:
    counting = Counting()
    key = counting.ask(*document_and_picture())
    counting.counter.cancel(key)
    counting.counter.cancel(key)
    ending = counting.wait()
    counting.counter.cancel(RequestKey("unknown", 0))
    assert len(counting.said) == 1
    assert isinstance(ending, Done | Counted)
    if isinstance(ending, Done):
        assert ending.finish_reason == "cancelled"
