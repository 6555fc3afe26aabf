"""The weights' way from the disk into the system's page cache, which need not wait for Python's imports."""

from __future__ import annotations

import os
import threading
from pathlib import Path

BLOCK_BYTES = 8 * 1024**2
MOST_OF_MEMORY = 0.5
"""A machine that cannot keep the weights would only read them twice."""


def read_ahead(directory: Path) -> threading.Thread:
    """Reads the weights in `directory`, from end to end, while whoever needs them gets ready."""
    thread = threading.Thread(target=_read, args=(directory,), name="read ahead", daemon=True)
    thread.start()
    return thread


def _read(directory: Path) -> None:
    try:
        files = sorted(directory.glob("*.safetensors"))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if sum(file.stat().st_size for file in files) > MOST_OF_MEMORY * memory:
            return
        block = bytearray(BLOCK_BYTES)
        for path in files:
            with path.open("rb", buffering=0) as file:
                while file.readinto(block):
                    pass
    except OSError:
        # Whoever loads the weights says what is wrong with them.
        return
