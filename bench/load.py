"""
A worker's start, without the worker: loads a checkpoint and asks for one token. Prints one JSON object per
stage, with the time of time.time at which it was over.

    python -m bench.load DIRECTORY DEVICE
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from glimpse_worker.engine.paged.loading import load_paged
from glimpse_worker.protocol import DataFromWorker, Done, Error, Fault, LoadingStage, PagedEngine, Tokens

from .client import Asked, message
from .start import start_line

KV_CACHE_BYTES = 2 * 1024**3
"""Whoever runs this may have a model on the same device."""


def main() -> None:
    directory, device = sys.argv[1:]
    over = threading.Event()

    def progress(stage: LoadingStage, done: int | None, total: int | None) -> None:
        if done == 0:
            _say(f"{stage} begun")
        if done == total:
            _say(stage)

    def emit(said: DataFromWorker | Fault) -> None:
        if isinstance(said, Tokens):
            _say("first token")
        if isinstance(said, Done):
            over.set()
        if isinstance(said, Error | Fault):
            print(said, file=sys.stderr)
            over.set()

    choice = PagedEngine(kv_cache_memory_bytes=None if device == "cpu" else KV_CACHE_BYTES)
    engine = load_paged(start_line(Path(directory), device), choice, progress, emit)
    _say("engine")
    engine.submit(message(Asked("Who are you?"), "first"), [])
    over.wait()
    # As the worker does: there is nothing to take down in order, and torch's threads do not like to be.
    sys.stderr.flush()
    os._exit(0)


def _say(stage: str) -> None:
    print(json.dumps({"stage": stage, "time": time.time()}), flush=True)


if __name__ == "__main__":
    main()
