"""A PDF given as its bytes: its pages are pictures, each at its place in the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from drawing import encode, noise
from embedded import checkpoint, user
from media_files import encrypted_pdf, pdf_file

from glimpse_worker.extraction.extractor import Extractor
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.geometry import Geometry
from glimpse_worker.prepare import Prepared, prepare
from glimpse_worker.protocol import Generate, ImageMedia, Media, Options, PdfMedia, PixelCap, VideoFileMedia


def prepared(media: list[Media], frames: list[bytes], *shown: int, recall: Any = None) -> Prepared:
    content = user(*(shown or range(len(media))), "Read.")
    request = Generate(request="a", attempt=0, messages=[content], media=media, options=Options(seed=0))
    return prepare(request, frames, *checkpoint(), lambda: False, recall)


def pdf(**fields: Any) -> PdfMedia:
    return PdfMedia(**({"bytes": 1, "dpi": 72} | fields))


def refusal(run: Callable[[], object], code: str) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        run()
    assert (caught.value.code, caught.value.media) == (code, 0)
    assert caught.value.hint
    return caught.value


def reds(made: Prepared) -> list[int]:
    """Which page each picture shows, by its left half, in the order of the prompt."""
    pictures = [made.media[index].pixels for index in made.order]
    return [int(picture.frames[0, 0, 0, 30, 10]) for picture in pictures if picture is not None]


THREE = pdf_file((56, 112), (112, 56), (112, 112))


def test_every_page_is_a_picture_of_its_own_shape() -> None:
    made = prepared([pdf()], [THREE])
    assert [medium.size for medium in made.media] == [(8, 4), (4, 8), (8, 8)]
    assert [medium.page for medium in made.media] == [1, 2, 3]
    assert reds(made) == [1, 2, 3]
    assert made.prompt.image_tokens == (32 + 32 + 64) // 4


def test_a_page_is_drawn_as_it_is() -> None:
    data = pdf_file((100, 60), words="Hi")
    with Extractor("pdf", [data], lambda: False) as extractor:
        assert extractor.open_pdf(0, None, 300).sizes == [(100, 60)]
        drawn = extractor.page(0, 0, 200, 120)
    assert drawn.shape == (120, 200, 3)
    assert drawn[60, 50].tolist() == [1, 0, 0]
    assert drawn[110, 190].tolist() == [255, 255, 255]
    assert drawn[:, 101:].min() < 50, "no letter was drawn"


def test_pages_are_shown_in_the_order_asked_for() -> None:
    made = prepared([pdf(pages=[3, 1])], [THREE])
    assert [medium.page for medium in made.media] == [3, 1]
    assert reds(made) == [3, 1]


def test_pages_stand_where_the_document_stands_among_pictures() -> None:
    picture = encode(noise(112, 112))
    made = prepared([ImageMedia(bytes=1), pdf(pages=[2, 3])], [picture, THREE], 1, 0)
    assert made.order == [1, 2, 0]
    assert [(place.image, place.page) for place in made.places] == [(0, None), (1, 2), (1, 3)]


def test_several_documents_are_read_in_one_process() -> None:
    other = pdf_file((112, 112), (112, 112))
    made = prepared([pdf(pages=[3]), pdf()], [THREE, other])
    assert [(place.image, place.page) for place in made.places] == [(0, 3), (1, 1), (1, 2)]
    assert reds(made) == [3, 1, 2]


def test_boxes_are_in_pixels_of_the_page_at_its_resolution() -> None:
    [page] = prepared([pdf(dpi=144)], [pdf_file((100, 50.2))]).media
    assert page.geometry == Geometry.unpadded(200, 100)
    assert page.geometry.to_pixels((500, 500, 1000, 1000)) == (100, 50, 200, 100)


def test_a_huge_page_is_drawn_smaller_and_its_boxes_are_not() -> None:
    # 14,400 points, the largest page that there is, at 600 dpi: 14 gigapixels.
    [page] = prepared([pdf(dpi=600)], [pdf_file((14_400, 14_400))]).media
    assert page.geometry == Geometry.unpadded(120_000, 120_000)


def test_a_strip_is_padded_with_white() -> None:
    made = prepared([pdf()], [pdf_file((1000, 2))])
    assert made.media[0].geometry == Geometry(1000, 2, canvas_width=1000, canvas_height=5)
    assert [warning.message[:28] for warning in made.warnings] == ["page 1 of the PDF is 1000 × "]


def test_a_cap_makes_pages_cheaper_or_refuses_them() -> None:
    data = pdf_file((168, 224))
    whole = prepared([pdf()], [data])
    small = prepared([pdf(cap=PixelCap(max_pixels=84 * 112, on_too_large="downscale"))], [data])
    assert 0 < small.prompt.image_tokens < whole.prompt.image_tokens
    assert small.media[0].geometry == whole.media[0].geometry
    cap = PixelCap(max_pixels=84 * 112, on_too_large="refuse")
    error = refusal(lambda: prepared([pdf(cap=cap)], [data]), "IMAGE_TOO_LARGE")
    assert "page 1 of the PDF is 168 × 224" in error.message


def test_a_page_that_is_known_is_not_drawn_again() -> None:
    first = prepared([pdf(pages=[2])], [THREE]).media[0]
    memory = {first.keys: first.remembered}
    _, second, _ = prepared([pdf()], [THREE], recall=memory.get).media
    assert second.pixels is None
    sharper = prepared([pdf(pages=[2], dpi=300)], [THREE], recall=memory.get).media[0]
    assert sharper.pixels is not None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"nothing at all", "is no PDF: its data begins with b'nothing at a'"),
        (b"%PDF-1.7\n", "is damaged"),
        (THREE[: len(THREE) // 3], "is damaged"),
        (encrypted_pdf(), "is encrypted: it opens with a password only"),
    ],
    ids=["empty", "no PDF", "header", "cut", "encrypted"],
)
def test_what_cannot_be_read_is_refused_by_name(data: bytes, reason: str) -> None:
    error = refusal(lambda: prepared([pdf()], [data]), "PDF_UNREADABLE")
    assert error.message.startswith("the PDF ")
    assert reason in error.message


def test_more_pages_than_the_model_takes_are_refused_before_any_is_drawn() -> None:
    many = pdf_file(*[(28, 28)] * 301)
    error = refusal(lambda: prepared([pdf()], [many]), "PDF_UNREADABLE")
    assert "has 301 pages, more than the 300 pictures" in error.message
    assert len(prepared([pdf(pages=[301])], [many]).media) == 1


def test_a_page_that_is_not_there_is_named() -> None:
    error = refusal(lambda: prepared([pdf(pages=[1, 4])], [THREE]), "INVALID_REQUEST")
    assert "expected pages of the PDF, which has 3, got 4" in error.message


def test_pages_and_a_video_are_refused_together() -> None:
    with pytest.raises(WorkerFailure) as caught:
        prepared([pdf(), VideoFileMedia(bytes=1)], [THREE, b"?"])
    assert caught.value.code == "MEDIA_MIX_UNSUPPORTED"
