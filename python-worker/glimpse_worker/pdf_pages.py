"""A PDF among the media of a request: each of its pages that was asked for is a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from PIL import Image

from .decoding import Remembered
from .extracted import named
from .extraction.extractor import Extractor
from .failure import WorkerFailure
from .geometry import Geometry
from .media import padded_picture, padded_size
from .media_items import Item, OpenMedium
from .media_keys import extracted_key, file_digest
from .media_tokens import check_cap
from .pixels import Pixels, image_size, resize, to_tensor
from .preprocessing import Preprocessing
from .prompt import ImageTokens
from .protocol import CountedPdf, Frame, PdfMedia
from .request_media import MAX_IMAGES

NAME = "the PDF"
POINTS_PER_INCH = 72
MAX_PAGE_PIXELS = 24_000_000
"""
A page with more is drawn smaller than asked for: the model sees fewer, and a large drawing at 600 dpi fills
gigabytes.
"""


def open_pdf(
    medium: PdfMedia, data: Frame, index: int, numbers: Preprocessing, file: int, extractor: Extractor
) -> OpenMedium:
    """
    Medium `index` of a request, the one that `extractor` knows by the number `file`. Raises PDF_UNREADABLE,
    INVALID_REQUEST for a page that is not there, or IMAGE_TOO_LARGE.
    """
    pages = None if medium.pages is None else [page - 1 for page in medium.pages]
    with named(NAME, "PDF_UNREADABLE", index):
        pdf = extractor.open_pdf(file, pages, MAX_IMAGES)
    _check_pages(medium.pages, pdf.pages, index)
    digest = file_digest(data)
    shown = range(pdf.pages) if pages is None else pages
    drawings = [
        _Drawing.of(page, size, medium, index, numbers.capped(medium.cap, numbers.temporal_patch_size))
        for page, size in zip(shown, pdf.sizes, strict=True)
    ]
    items = [
        Item(
            tokens=drawing.tokens,
            keys=(drawing.key(digest),),
            name=partial(_name, drawing.page),
            decode=partial(drawing.decode, file, extractor),
            page=drawing.page + 1,
        )
        for drawing in drawings
    ]
    page_tokens = [drawing.tokens.count for drawing in drawings]
    return OpenMedium(items, CountedPdf(tokens=sum(page_tokens), pages=pdf.pages, page_tokens=page_tokens))


def _check_pages(asked: Sequence[int] | None, count: int, index: int) -> None:
    if asked is None and count > MAX_IMAGES:
        raise WorkerFailure(
            "PDF_UNREADABLE",
            f"{NAME} has {count} pages, more than the {MAX_IMAGES} pictures of one request",
            hint=f'Choose pages, as in pages: "1-{MAX_IMAGES}", and ask about the others separately.',
            media=index,
        )
    absent = [page for page in asked or () if page > count]
    if absent:
        raise WorkerFailure(
            "INVALID_REQUEST",
            f"pages: expected pages of {NAME}, which has {count}, got {absent[0]}",
            hint=f"Pages are counted from 1: choose from 1 to {count}.",
            media=index,
        )


def _name(page: int, _: int = 0) -> str:
    return f"page {page + 1} of {NAME}"


@dataclass(frozen=True, slots=True)
class _Drawing:
    """
    A page, counted from 0, as a picture. `width` × `height` are its pixels at the resolution asked for, which
    boxes are in; it is drawn with as many or fewer, and resized to `size`, (height, width).
    """

    page: int
    index: int
    width: int
    height: int
    size: tuple[int, int]
    numbers: Preprocessing

    @classmethod
    def of(
        cls, page: int, points: tuple[float, float], medium: PdfMedia, index: int, numbers: Preprocessing
    ) -> _Drawing:
        width, height = (max(1, round(side * medium.dpi / POINTS_PER_INCH)) for side in points)
        check_cap(medium.cap, width, height, index, _name(page))
        canvas_width, canvas_height = padded_size(width, height, numbers.factor)
        return cls(page, index, width, height, image_size(canvas_height, canvas_width, numbers), numbers)

    @property
    def tokens(self) -> ImageTokens:
        return ImageTokens(self.size[0] * self.size[1] // self.numbers.factor**2)

    @property
    def drawn(self) -> tuple[int, int]:
        """Width and height."""
        shrink = min(1.0, math.sqrt(MAX_PAGE_PIXELS / (self.width * self.height)))
        return max(1, math.floor(self.width * shrink)), max(1, math.floor(self.height * shrink))

    def key(self, digest: bytes) -> bytes:
        return extracted_key("image", digest, self.size, [self.page, *self.drawn])

    def decode(self, file: int, extractor: Extractor) -> tuple[Pixels, Remembered]:
        with named(NAME, "PDF_UNREADABLE", self.index):
            drawn = extractor.page(file, self.page, *self.drawn)
        picture = padded_picture(Image.fromarray(drawn), self.index, self.numbers.factor, _name(self.page))
        pixels = Pixels(
            resize(to_tensor(picture.image), *self.size)[None, None].contiguous(), self.numbers.patch_size
        )
        canvas = padded_size(self.width, self.height, self.numbers.factor)
        geometry = Geometry(self.width, self.height, canvas_width=canvas[0], canvas_height=canvas[1])
        return pixels, Remembered(pixels.grid[1:], geometry, picture.warnings)
