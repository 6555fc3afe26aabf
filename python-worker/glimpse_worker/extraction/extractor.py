"""The worker's end: starts the process that extracts, asks it, and gives up on it in time."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from ..cancelling import Cancelled, IsCancelled
from ..protocol import Frame
from .messages import (
    Answer,
    Command,
    OpenPdf,
    OpenVideo,
    Pdf,
    Picture,
    Refused,
    RenderPage,
    TakeFrames,
    Unreadable,
    Video,
    decode_answer,
    encode_line,
)

TIME_LIMIT_S = 120.0
"""For all that one request waits for; an hour of small video is decoded in less."""
CANCEL_CHECK_S = 0.1
CHUNK_BYTES = 1024 * 1024
_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(
        filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")))
    ),
    # Its threads would take address space on every core, and nothing here is multiplied.
    "OPENBLAS_NUM_THREADS": "1",
}

FileKind = Literal["video", "pdf"]
Rgb = npt.NDArray[np.uint8]
"""(height, width, 3)."""


Header = TypeVar("Header", Video, Pdf)


class Extractor:
    """
    The process, with the files of one request; it is started by the first question and ended with the
    context.

    Every question raises Unreadable, or Cancelled as soon as `is_cancelled` says yes.
    """

    def __init__(
        self,
        kind: FileKind,
        files: Sequence[Frame],
        is_cancelled: IsCancelled,
        time_limit_s: float | None = None,
    ) -> None:
        self._kind = kind
        self._files = files
        self._is_cancelled = is_cancelled
        self._time_left_s = TIME_LIMIT_S if time_limit_s is None else time_limit_s
        self._exit = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._received = bytearray()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def open_video(self, file: int) -> Video:
        return self._expect(Video, OpenVideo(file))

    def open_pdf(self, file: int, pages: Sequence[int] | None, most: int) -> Pdf:
        """`pages` count from 0; None: the first `most`."""
        return self._expect(Pdf, OpenPdf(file, pages, most))

    def frames(self, file: int, indices: Sequence[int]) -> Iterator[Rgb]:
        """Of a video that is open. One frame at a time is in memory, beside what fits into a pipe."""
        self._send(TakeFrames(file, indices))
        for _ in indices:
            yield self._picture()

    def page(self, file: int, page: int, width: int, height: int) -> Rgb:
        """Of a PDF that is open, drawn into just this size."""
        self._send(RenderPage(file, page, width, height))
        return self._picture()

    def _expect(self, kind: type[Header], command: OpenVideo | OpenPdf) -> Header:
        if not self._files[command.file]:
            raise Unreadable("is empty: it has no bytes", "Check that the whole file was read.")
        self._send(command)
        answer = self._answer()
        assert isinstance(answer, kind), answer
        return answer

    def _picture(self) -> Rgb:
        answer = self._answer()
        assert isinstance(answer, Picture), answer
        pixels = np.empty((answer.height, answer.width, 3), np.uint8)
        self._read_into(pixels.reshape(-1).data)
        return pixels

    def _answer(self) -> Answer:
        answer = decode_answer.decode(self._read_line())
        if isinstance(answer, Refused):
            raise Unreadable(answer.message, answer.hint, answer.package)
        return answer

    def _send(self, command: Command) -> None:
        self._process = self._process or self._start()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode_line(command))
        except BrokenPipeError:
            raise self._ended() from None

    def _start(self) -> subprocess.Popen[bytes]:
        files = [self._exit.enter_context(_in_memory(file or b"\0")) for file in self._files]
        descriptors = [file.fileno() for file in files]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "glimpse_worker.extraction", self._kind, *map(str, descriptors)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=descriptors,
            env={**os.environ, **_ENVIRONMENT},
        )
        self._exit.enter_context(process)
        self._exit.callback(process.kill)
        return process

    def _read_line(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            self._received += self._read(65536)
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def _read_into(self, pixels: memoryview) -> None:
        taken = min(len(pixels), len(self._received))
        pixels[:taken] = self._received[:taken]
        del self._received[:taken]
        while taken < len(pixels):
            chunk = self._read(len(pixels) - taken)
            pixels[taken : taken + len(chunk)] = chunk
            taken += len(chunk)

    def _read(self, most: int) -> bytes:
        """What comes next."""
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while True:
            if self._is_cancelled():
                raise Cancelled
            before = time.monotonic()
            readable, _, _ = select.select([descriptor], [], [], CANCEL_CHECK_S)
            self._time_left_s -= time.monotonic() - before
            if self._time_left_s <= 0:
                raise Unreadable(
                    "took too long to read, and was given up on", "Send a shorter or smaller one."
                )
            if readable:
                if chunk := os.read(descriptor, min(most, CHUNK_BYTES)):
                    return chunk
                raise self._ended()

    def _ended(self) -> Unreadable:
        assert self._process is not None
        code = self._process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Unreadable(
            f"is damaged: what reads it ended with {how}", "Check that it opens elsewhere, or convert it."
        )


def _in_memory(data: Frame) -> IO[bytes]:
    """A file that another process can map, and that is nowhere on a disk where the system can do that."""
    file: IO[bytes]
    if sys.platform == "linux":
        file = os.fdopen(os.memfd_create("medium"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(data)
    file.flush()
    return file
