"""Packages and devices that are missing are named before anything is loaded."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from glimpse_worker.dependencies import PACKAGES, import_dependencies
from glimpse_worker.device import choose_device, describe_device, is_out_of_memory
from glimpse_worker.failure import WorkerFailure

HIDE = """
import sys, types

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
from glimpse_worker.engine.reference import load_reference
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.protocol import ReferenceEngine
try:
    load_reference(types.SimpleNamespace(model="."), ReferenceEngine(), None, None)
except WorkerFailure as failure:
    print(failure.code, failure.message, failure.hint, sep="|")
"""


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("torch", "torch"),
        ("transformers", "transformers"),
        ("PIL", "pillow"),
    ],
)
def test_a_missing_package_is_named_with_what_to_do(module: str, package: str) -> None:
    program = [sys.executable, "-c", HIDE, module]
    run = subprocess.run(program, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    code, message, hint = run.stdout.strip().split("|")
    assert code == "PYTHON_DEPS_MISSING"
    assert message == f"the worker's Python environment lacks the package {package}"
    assert "npx glimpse setup" in hint


@pytest.mark.parametrize(
    ("module", "version", "wanted"),
    [
        ("torch", "2.10.1+cu128", "2.11"),
        ("transformers", "5.9.0.dev0", "5.17"),
        ("huggingface_hub", "1.30.2", "1.31"),
        ("PIL", "10.0.1", "10.1"),
        ("msgspec", "0.20.0", "0.21"),
        ("zmq", "26.4.0", "27.0"),
    ],
)
def test_a_package_that_is_too_old_is_named_with_both_versions(
    module: str, version: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module(module), "__version__", version)
    with pytest.raises(WorkerFailure) as caught:
        import_dependencies()
    assert caught.value.code == "PYTHON_DEPS_MISSING"
    assert version in caught.value.message
    assert f"{wanted} or later" in caught.value.message


def test_the_packages_that_are_asked_for_are_those_that_are_checked() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    checked = {f"{package}>={'.'.join(map(str, least))}" for package, least in PACKAGES.values()}
    assert {*pyproject["project"]["dependencies"]} == checked


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("HIP out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
    ],
)
def test_every_wording_of_a_full_device_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("HIP error: invalid device function"))


def no_gpu(monkeypatch: pytest.MonkeyPatch, count: int = 0) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_auto_is_the_processor_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch)
    assert choose_device("auto") == torch.device("cpu")


def test_auto_is_the_first_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch, count=2)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("wanted", "count", "message"),
    [
        ("cuda:0", 0, "cuda:0 is not there; torch .* sees no GPU"),
        ("cuda:2", 2, "cuda:2 is not there; torch .* sees 2 of them, cuda:0 to cuda:1"),
        ("gpu", 1, "expected auto, cpu, cuda or cuda:N, got 'gpu'"),
    ],
)
def test_a_device_that_is_not_there_is_named(
    wanted: str, count: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_gpu(monkeypatch, count)
    with pytest.raises(WorkerFailure, match=message) as caught:
        choose_device(wanted)
    assert caught.value.code == "DEVICE_NOT_FOUND"


def test_the_processor_is_described_by_its_name_and_memory() -> None:
    device = describe_device(torch.device("cpu"))
    assert (device.kind, device.id) == ("cpu", "cpu")
    assert device.name
    assert device.memory_bytes is not None
    assert device.memory_bytes > 2**28
