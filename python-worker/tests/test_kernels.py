"""
Every Triton kernel compiles for the cards it must run on, and, interpreted, gives torch's numbers.

Kernels come with two kinds of files here, named by subject:

- `launches_<subject>.py` holds `LAUNCHES: dict[str, Callable[[], object]]`: what is launched, by a name of
  yours, as functions without arguments that call what the engine calls, with tensors of the dtypes and row
  widths of the 9B model, on the CPU or on "meta" (few rows; nothing is read). Each launch is compiled for
  every device of compile_only.py instead of being run, exactly as it is launched: signature, constexprs,
  num_warps, num_stages. `Card.of(torch.device("cuda", 0))` is that device then. A @triton.jit function of the
  package that is neither launched by an entry, nor called by one that is, fails the run.
- `interpreted_<subject>.py` holds ordinary pytest tests with CPU tensors. They run in a process of their own
  with TRITON_INTERPRET=1, which must be set before Triton is imported; pytest does not collect them
  otherwise. Take float32 or float16 there.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton has no build for this platform")

from compile_only import DEVICES, compile_launches
from triton.runtime.jit import JITFunction  # type: ignore[import-untyped]

from glimpse_worker.engine.paged import kernels

HERE = Path(__file__).parent
LAUNCHES: dict[str, Callable[[], object]] = {
    f"{file.stem.removeprefix('launches_')}.{name}": launch
    for file in sorted(HERE.glob("launches_*.py"))
    for name, launch in importlib.import_module(file.stem).LAUNCHES.items()
}


@pytest.fixture(autouse=True)
def _triton_cache(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not changed is not compiled again; Triton keeps kernels by source, options and version."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(pytestconfig.cache.mkdir("triton")))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LAUNCHES)
def test_launches_compile_and_fit_the_device(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compile_launches(LAUNCHES[name], DEVICES[device], monkeypatch)
    assert compiled, f"{name} launches no kernel"
    too_large = {
        str(kernel.function): kernel.shared_memory
        for kernel in compiled
        if kernel.shared_memory > DEVICES[device].shared_memory
    }
    assert not too_large


def test_every_kernel_is_among_the_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = [
        kernel.function
        for launch in LAUNCHES.values()
        for kernel in compile_launches(launch, DEVICES["sm_90"], monkeypatch)
    ]
    missing = [function for function in _functions() if function not in _with_callees(compiled)]
    assert not missing, "these kernels need an entry in a launches_*.py"


def test_interpreted_kernels_agree_with_torch() -> None:
    files = sorted(str(file) for file in HERE.glob("interpreted_*.py"))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files],
        cwd=HERE.parent,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def _functions() -> list[Any]:
    """All functions of the package with @triton.jit."""
    modules = [
        importlib.import_module(f"{kernels.__name__}.{module.name}")
        for module in pkgutil.iter_modules(kernels.__path__)
    ]
    members = [member for module in modules for member in vars(module).values()]
    return [member for member in members if isinstance(member, JITFunction)]


def _with_callees(launched: list[Any]) -> list[Any]:
    """`launched`, and what these call: by name, in their source."""
    reached = list(launched)
    for function in reached:
        called = [
            other
            for other in _functions()
            if other not in reached and re.search(rf"\b{other.fn.__name__}\(", function.src)
        ]
        reached.extend(called)
    return reached
