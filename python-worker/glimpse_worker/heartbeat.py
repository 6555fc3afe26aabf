"""The thread that tells the orchestrator what the others are doing. Imports nothing heavy."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .engine.interface import Engine, Load
from .engine.pulse import Reading
from .protocol import Heartbeat, Memory

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")
"""Linux has it."""


class Heartbeats:
    """
    Sends a Heartbeat every `every_ms` from `start` to the end of the process. Nothing that the thread does
    waits for loading, for the engine or for the device.
    """

    def __init__(self, every_ms: int, send: Callable[[Heartbeat], None]) -> None:
        self._every_s = every_ms / 1000
        self._send = send
        self._engine: Engine | None = None
        self._progressed = time.monotonic()

    def start(self) -> None:
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def progressed(self) -> None:
        """Loading gets on: its present stage has an age of 0 again. Any thread may call."""
        self._progressed = time.monotonic()

    def watch(self, engine: Engine) -> None:
        """From now on it is the engine that is told of."""
        self._engine = engine

    def observe(self) -> Heartbeat:
        """What is to be said now."""
        engine = self._engine
        if engine is None:
            reading, load, device = Reading("loading", 0, self._progressed), Load(0, 0), None
        else:
            reading, load, device = engine.pulse.reading, engine.load, engine.pulse.device_memory
        return Heartbeat(
            phase=reading.phase,
            steps=reading.steps,
            age_ms=1000 * (time.monotonic() - reading.since),
            running=load.running,
            waiting=load.waiting,
            memory=Memory(
                process=resident_bytes(),
                used=None if device is None else device.used,
                total=None if device is None else device.total,
            ),
        )

    def _beat(self) -> NoReturn:
        while True:
            self._send(self.observe())
            time.sleep(self._every_s)


def resident_bytes() -> int:
    """The memory that the process holds now; where the system does not tell, the most it has held."""
    if sys.platform == "linux":
        return int(_STATM.read_text().split()[1]) * _PAGE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
