"""When an engine on a GPU has captured its CUDA graphs."""

from __future__ import annotations

import queue

from glimpse_worker.protocol import LoadingStage

PATIENCE_S = 40
"""An idle engine captures one graph after another, each in far less."""


class Captures:
    """`progress` is what the engine reports to."""

    def __init__(self) -> None:
        self._complete: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def progress(self, stage: LoadingStage, done: int | None, total: int | None) -> None:
        if stage == "graphs":
            self._complete.put(done == total)

    def wait(self) -> None:
        """Until all are captured; gives up, and says so, when for a while none was."""
        try:
            while not self._complete.get(timeout=PATIENCE_S):
                pass
        except queue.Empty:
            print(f"no CUDA graph more was captured for {PATIENCE_S} s; going on without the others")
