"""The device that a worker runs on, by torch's name and by its own."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from .failure import WorkerFailure
from .protocol import Device


def choose_device(wanted: str) -> torch.device:
    """
    `auto` is the first GPU, else the CPU; `cuda` is the first GPU, `cuda:N` one by its number (AMD's too).

    Raises DEVICE_NOT_FOUND when it is not there.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    match = re.fullmatch(r"(?:auto|cuda(?::([0-9]+))?)", wanted)
    if match is None:
        raise WorkerFailure("DEVICE_NOT_FOUND", f"device: expected auto, cpu, cuda or cuda:N, got {wanted!r}")
    index = int(match[1] or 0)
    count = torch.cuda.device_count()
    if index >= count:
        build = "sees no GPU" if count == 0 else f"sees {count} of them, cuda:0 to cuda:{count - 1}"
        raise WorkerFailure(
            "DEVICE_NOT_FOUND",
            f"device: {wanted} is not there; torch {torch.__version__} {build}",
            hint="Check the driver, and torch's build: `npx glimpse setup --torch cuda` (or `rocm`).",
        )
    return torch.device("cuda", index)


def describe_device(device: torch.device) -> Device:
    """What `ready` says about it; memory is the whole device's, not what is free."""
    if device.type == "cpu":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Device(kind="cpu", id="cpu", name=_processor_name(), memory_bytes=memory)
    properties = torch.cuda.get_device_properties(device)
    return Device(
        kind="rocm" if torch.version.hip else "cuda",
        id=str(device),
        name=properties.name,
        memory_bytes=properties.total_memory,
    )


def memory_use(gpus: Sequence[torch.device]) -> tuple[int, int]:
    """The used and all bytes of these GPUs together; what other programs use there counts as used."""
    pairs = [torch.cuda.mem_get_info(gpu) for gpu in gpus]
    total = sum(of_one for _, of_one in pairs)
    return total - sum(free for free, _ in pairs), total


def to_device(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """A tensor of `array` on `device`. A GPU copies it when it gets there, and the host goes on at once."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def is_out_of_memory(error: BaseException) -> bool:
    """HIP, older CUDA libraries and the CPU's allocator report it as a plain RuntimeError, in these words."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and bool(re.search("out of memory|can't allocate memory", str(error), re.I))
    )


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
        if match is not None:
            return match[1].strip()
    return platform.processor() or platform.machine() or "CPU"
