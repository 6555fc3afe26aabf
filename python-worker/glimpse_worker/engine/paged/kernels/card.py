"""What of a device decides how kernels are launched."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from triton.runtime.driver import driver  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Card:
    multiprocessors: int
    """CUDA's streaming multiprocessors, ROCm's compute units."""
    shared_memory: int
    """Bytes that one program may have."""

    @staticmethod
    def of(device: torch.device) -> Card:
        index = torch.cuda.current_device() if device.index is None else device.index
        properties = driver.active.utils.get_device_properties(index)
        return Card(properties["multiprocessor_count"], properties["max_shared_mem"])

    @property
    def stages(self) -> int:
        """How deep the attention of prompts pipelines its loads: as deep as its tiles fit."""
        return 3 if self.shared_memory >= 128 * 1024 else 2
