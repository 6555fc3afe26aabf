"""The bytes of several downloads, added up while they arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

ReportBytes = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all, from any thread."""


class ByteCounter:
    """Reports the sum over all files after every piece of any of them; the first report is 0 of `total`."""

    def __init__(self, total: int, report: ReportBytes) -> None:
        self._total = total
        self._report = report
        self._done = 0
        self._lock = threading.Lock()
        report(0, total)

    def add(self, size: float | None) -> None:
        with self._lock:
            self._done += int(size or 0)
            self._report(min(self._done, self._total), self._total)

    def bar_class(self) -> Any:
        """
        What huggingface_hub takes for a class of tqdm bars, one for each file.

        `initial` is what an earlier start left on the disk. Because the class has `update_transfer`, the
        hub's two counts of an Xet download (bytes received, bytes written) stay apart; those written count.
        """
        add = self.add

        class Bar:
            def __init__(self, *_args: object, initial: int = 0, **_options: object) -> None:
                add(initial)

            def update(self, size: float | None = 1) -> None:
                add(size)

            def update_transfer(self, size: float | None = 1) -> None: ...

            def set_postfix_str(self, *_args: object, **_options: object) -> None: ...

            def set_transfer_postfix_str(self, *_args: object, **_options: object) -> None: ...

            def close(self) -> None: ...

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_error: object) -> None: ...

        return Bar
