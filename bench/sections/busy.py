"""How much of the time the device computes something, as its driver counts it."""

from __future__ import annotations

import threading
from types import TracebackType

import torch

PERIOD_S = 0.1


class Busy:
    """Asks the driver while its block runs. `shares` stays empty on a CPU, and without NVML's Python."""

    def __init__(self, device: torch.device) -> None:
        self.shares: list[float] = []
        self._device = device
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Busy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        if self._device.type != "cuda":
            return
        while not self._over.wait(PERIOD_S):
            try:
                self.shares.append(torch.cuda.utilization(self._device) / 100)
            except (ModuleNotFoundError, RuntimeError) as error:
                print(f"the driver does not say how busy the device is: {error}")
                return
