"""What an engine's thread is doing, for the heartbeat to tell while that thread computes, or hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from ..protocol import HeartbeatPhase

MEASURE_EVERY_S = 1.0
"""How often the device is asked for its memory, at most."""


class DeviceMemory(NamedTuple):
    """Bytes of the whole device, or of all devices of a model together."""

    used: int
    total: int


class Reading(NamedTuple):
    """`steps` have ended; the phase, or the present step, has lasted since a time of time.monotonic."""

    phase: HeartbeatPhase
    steps: int
    since: float


class Pulse:
    """
    Written by the engine's thread alone, read by any thread without a lock: values are replaced as a whole.

    `measure` asks the device for its memory. It is called on the engine's thread between two steps, never
    while a CUDA graph may be captured.
    """

    def __init__(self, measure: Callable[[], DeviceMemory] | None = None) -> None:
        now = time.monotonic()
        self._measure = measure
        self._measured = now
        self.reading = Reading("idle", 0, now)
        self.device_memory = None if measure is None else measure()

    def begin(self) -> None:
        """From now on something is computed: a step, or what has to be done between two of them."""
        self.reading = Reading("step", self.reading.steps, time.monotonic())

    def end(self, steps: int = 1) -> None:
        """What was begun has ended; it was so many steps."""
        now = time.monotonic()
        self.reading = Reading("idle", self.reading.steps + steps, now)
        if self._measure is not None and now - self._measured >= MEASURE_EVERY_S:
            self._measured = now
            self.device_memory = self._measure()
