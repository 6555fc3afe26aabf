"""
The command `python -P -m glimpse_worker.extraction KIND FD…`, which a worker runs: each FD is a file in
memory, by its descriptor, all of one kind. It reads commands from stdin, answers on stdout, and ends when
stdin ends.
"""

from __future__ import annotations

import importlib
import mmap
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, assert_never

from ..lifecycle import die_with_parent
from .messages import (
    Answer,
    Command,
    OpenPdf,
    OpenVideo,
    Picture,
    RenderPage,
    TakeFrames,
    Unreadable,
    decode_command,
    encode_line,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .pdf import PdfFile
    from .video import VideoFile

MEMORY_BYTES = 4 * 1024**3
"""More than 8K video with all the frames that it refers to, and than the largest page, take."""
PACKAGES = {"video": "av", "pdf": "pypdfium2"}
"""What reads each kind."""


class Extraction:
    """The files of one request, opened one by one."""

    def __init__(self, files: list[mmap.mmap], out: BinaryIO) -> None:
        self._files = files
        self._out = out
        self._videos: dict[int, VideoFile] = {}
        self._pdfs: dict[int, PdfFile] = {}

    def answer(self, command: Command) -> None:
        try:
            self._answer(command)
        except Unreadable as error:
            self._say(error.refused)
        except MemoryError:
            self._say(Unreadable("takes more memory than a file is given").refused)
        self._out.flush()

    def _answer(self, command: Command) -> None:
        match command:
            case OpenVideo(file):
                from .video import VideoFile

                self._videos[file] = video = VideoFile(self._files[file])
                self._say(video.header)
            case OpenPdf(file, pages, most):
                from .pdf import PdfFile

                self._pdfs[file] = pdf = PdfFile(self._files[file])
                self._say(pdf.header(pages, most))
            case TakeFrames(file, indices):
                for frame in self._videos[file].frames(indices):
                    self._show(frame)
            case RenderPage(file, page, width, height):
                self._show(self._pdfs[file].render(page, width, height))
            case _:
                assert_never(command)

    def _say(self, answer: Answer) -> None:
        self._out.write(encode_line(answer))

    def _show(self, pixels: npt.NDArray[np.uint8]) -> None:
        height, width, _ = pixels.shape
        self._say(Picture(width, height))
        self._out.write(pixels.data)


def main() -> None:
    die_with_parent()
    kind, *descriptors = sys.argv[1:]
    # Only answers go where the worker reads, whatever a library prints.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    files = [mmap.mmap(int(descriptor), 0, access=mmap.ACCESS_COPY) for descriptor in descriptors]
    try:
        importlib.import_module(f"{__package__}.{kind}")
    except ImportError as error:
        out.write(encode_line(Unreadable(f"cannot be read: {error}", package=PACKAGES[kind]).refused))
        out.flush()
        return
    _confine()
    extraction = Extraction(files, out)
    for line in sys.stdin.buffer:
        extraction.answer(decode_command.decode(line))


def _confine() -> None:
    """What goes wrong from here on goes wrong within bounds."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
