"""A PDF → pictures of its pages. Runs in the process that extracts; the one file that imports PDFium."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pypdfium2
from pypdfium2 import raw

from .messages import Pdf, Unreadable

RESAVE = "Open it elsewhere and print it to a new PDF, or send its pages as pictures."


class PdfFile:
    def __init__(self, file: mmap.mmap) -> None:
        """Raises Unreadable."""
        try:
            self._document = pypdfium2.PdfDocument((ctypes.c_char * len(file)).from_buffer(file))
            # Without it, what was filled into forms is not drawn.
            self._document.init_forms()
        except pypdfium2.PdfiumError as error:
            raise _refusal(error, file) from error

    def header(self, pages: Sequence[int] | None, most: int) -> Pdf:
        """Raises Unreadable. Pages that are not there have no size."""
        count = len(self._document)
        if count == 0:
            raise Unreadable("has no page", RESAVE)
        shown = range(min(count, most)) if pages is None else [page for page in pages if page < count]
        return Pdf(count, [self._size(page) for page in shown])

    def render(self, page: int, width: int, height: int) -> npt.NDArray[np.uint8]:
        """(height, width, 3), RGB on white. Raises Unreadable."""
        try:
            opened = self._document[page]
            bitmap = pypdfium2.PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGR, rev_byteorder=True)
            bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
            flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER
            place = (bitmap, opened, 0, 0, width, height, 0, flags)
            raw.FPDF_RenderPageBitmap(*place)
            if self._document.formenv:
                raw.FPDF_FFLDraw(self._document.formenv, *place)
            pixels = np.ascontiguousarray(bitmap.to_numpy()[..., :3])
            bitmap.close()
            opened.close()
        except pypdfium2.PdfiumError as error:
            raise Unreadable(f"is damaged: page {page + 1} cannot be drawn ({error})", RESAVE) from error
        return pixels

    def _size(self, page: int) -> tuple[float, float]:
        try:
            width, height = self._document.get_page_size(page)
        except pypdfium2.PdfiumError as error:
            raise Unreadable(f"is damaged: page {page + 1} cannot be read ({error})", RESAVE) from error
        if not (width > 0 and height > 0):
            raise Unreadable(f"is damaged: page {page + 1} is {width:g} × {height:g} points", RESAVE)
        return width, height


def _refusal(error: pypdfium2.PdfiumError, file: mmap.mmap) -> Unreadable:
    if error.err_code == raw.FPDF_ERR_PASSWORD:
        return Unreadable("is encrypted: it opens with a password only", "Save it without a password first.")
    start = bytes(file[:1024])
    if b"%PDF-" not in start:
        return Unreadable(f"is no PDF: its data begins with {start[:12]!r}", "Check what the bytes are.")
    return Unreadable(f"is damaged: {error}", RESAVE)
