"""Video files and PDFs, made in memory by the libraries that read them."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pypdfium2
from PIL import Image
from pypdfium2 import raw

Rgb = npt.NDArray[np.uint8]


def clip(frames: int, width: int = 64, height: int = 48) -> list[Rgb]:
    """Frame N is as red as N, and its Nth row is white; the top left quarter is green."""
    made = []
    for number in range(frames):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[..., 0] = number % 256
        picture[: height // 2, : width // 2, 1] = 200
        picture[number % height] = 255
        made.append(picture)
    return made


def video_file(
    pictures: Iterable[Rgb],
    *,
    container: str = "mov",
    codec: str = "png",
    pixels: str = "rgb24",
    fps: Fraction | int = 10,
    options: Mapping[str, str] | None = None,
    rotation: int | None = None,
) -> bytes:
    """By default without any loss."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=fps)
        stream.options = dict(options or {})
        stream.pix_fmt = pixels
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return file.getvalue()


def sound_file() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        output.mux(stream.encode(silence))
        output.mux(stream.encode())
    return file.getvalue()


def pdf_file(*pages: tuple[float, float], words: str = "") -> bytes:
    """One page for each size in points. The left half of page N is as red as N; `words` stand on all."""
    document = pypdfium2.PdfDocument.new()
    for number, (width, height) in enumerate(pages, start=1):
        page = document.new_page(width, height)
        shape = raw.FPDFPageObj_CreateNewRect(0, 0, width / 2, height)
        raw.FPDFPageObj_SetFillColor(shape, number, 0, 0, 255)
        raw.FPDFPath_SetDrawMode(shape, raw.FPDF_FILLMODE_WINDING, False)
        raw.FPDFPage_InsertObject(page, shape)
        if words:
            text = raw.FPDFPageObj_NewTextObj(document, b"Helvetica", ctypes.c_float(24))
            raw.FPDFText_SetText(text, (ctypes.c_ushort * (len(words) + 1))(*map(ord, words), 0))
            raw.FPDFPageObj_Transform(text, 1, 0, 0, 1, width / 2 + 5, height / 2)
            raw.FPDFPage_InsertObject(page, text)
        page.gen_content()
        page.close()
    file = io.BytesIO()
    document.save(file)
    document.close()
    return file.getvalue()


def encrypted_pdf() -> bytes:
    """One that no empty password opens."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, "PDF")
    locked = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>]"
    return file.getvalue().replace(b"trailer\n<<", b"trailer\n<<" + locked % (b"11" * 32, b"22" * 32))
