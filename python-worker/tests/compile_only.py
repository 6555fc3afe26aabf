"""Compiles what Triton is asked to launch, for a GPU that need not be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped]
from triton.runtime.driver import driver  # type: ignore[import-untyped]
from triton.runtime.jit import JITFunction  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Compiled:
    function: Any
    """The triton.JITFunction."""
    shared_memory: int
    """Bytes a program takes."""


class Device:
    """Stands in for Triton's driver of a GPU: says what the GPU is, and cannot run anything."""

    def __init__(self, target: Any, *, multiprocessors: int, shared_memory: int) -> None:
        self.shared_memory = shared_memory
        self.utils = self
        self._target = target
        self._properties = {"multiprocessor_count": multiprocessors, "max_shared_mem": shared_memory}

    def get_device_properties(self, _index: int) -> dict[str, int]:
        return self._properties

    def get_current_target(self) -> Any:
        return self._target

    def get_current_device(self) -> str:
        # Triton keeps what it has compiled by device.
        return str(self._target)

    def get_current_stream(self, _device: str) -> int:
        return 0


# Shared memory: "Technical Specifications per Compute Capability" in the CUDA programming guide; the LDS of a
# work group in AMD's CDNA 3 ISA reference.
DEVICES = {
    "sm_86": Device(GPUTarget("cuda", 86, 32), multiprocessors=84, shared_memory=99 * 1024),
    "sm_90": Device(GPUTarget("cuda", 90, 32), multiprocessors=132, shared_memory=227 * 1024),
    "gfx942": Device(GPUTarget("hip", "gfx942", 64), multiprocessors=304, shared_memory=64 * 1024),
}


def compile_launches(
    launch: Callable[[], object], device: Device, monkeypatch: pytest.MonkeyPatch
) -> list[Compiled]:
    """Everything that `launch` launches, compiled for `device` as it would be for the launch."""
    compiled: list[Compiled] = []
    run = JITFunction.run

    def compile_only(function: Any, *args: Any, **options: Any) -> Any:
        kernel = run(function, *args, **options | {"warmup": True})
        compiled.append(Compiled(function, kernel.metadata.shared))
        return kernel

    with monkeypatch.context() as patch:
        patch.setattr(driver, "_active", device)
        patch.setattr(JITFunction, "run", compile_only)
        launch()
    return compiled
