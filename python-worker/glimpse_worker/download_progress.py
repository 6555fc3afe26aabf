"""The bytes of several downloads, added up as they reach the disk."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ReportBytes = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all, from any thread."""


class ByteCounter:
    """
    Reports the sum over all files after every piece of any of them; the first report is `done` of `total`,
    `done` being what earlier starts left on the disk.
    """

    def __init__(self, done: int, total: int, report: ReportBytes) -> None:
        self._done = done
        self._total = total
        self._report = report
        self._lock = threading.Lock()
        report(done, total)

    def add(self, size: int) -> None:
        """`size` is negative when bytes that were counted have to come again."""
        if size == 0:
            return
        with self._lock:
            self._done += size
            self._report(min(self._done, self._total), self._total)


class CountedFile(io.FileIO):
    """
    A file that is appended to. Nothing is held in this process: what is counted is kept when it is killed.
    """

    def __init__(self, path: Path, counter: ByteCounter) -> None:
        super().__init__(path, "ab")
        self._counter = counter

    def write(self, data: ReadableBuffer) -> int:
        left = memoryview(data)
        size = len(left)
        while left:
            written = super().write(left)
            self._counter.add(written)
            left = left[written:]
        return size

    def truncate(self, size: int | None = None) -> int:
        before = os.fstat(self.fileno()).st_size
        after = super().truncate(size)
        self._counter.add(after - before)
        return after
