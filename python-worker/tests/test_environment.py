"""Packages and devices that are missing are named before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from glimpse_worker.dependencies import import_dependencies
from glimpse_worker.device import choose_device, describe_device
from glimpse_worker.failure import WorkerFailure

HIDE = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
from glimpse_worker.engine.reference import load_reference
from glimpse_worker.failure import WorkerFailure
try:
    load_reference(None, None, None)
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
    ("module", "version", "wanted"), [(torch, "2.10.1+cu128", "2.11"), (transformers, "5.9.0.dev0", "5.17")]
)
def test_a_package_that_is_too_old_is_named_with_both_versions(
    module: object, version: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "__version__", version)
    with pytest.raises(WorkerFailure) as caught:
        import_dependencies()
    assert caught.value.code == "PYTHON_DEPS_MISSING"
    assert version in caught.value.message
    assert f"{wanted} or later" in caught.value.message


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
        ("gpu", 1, "expected auto, cpu or cuda:N, got 'gpu'"),
        ("cuda", 1, "expected auto, cpu or cuda:N, got 'cuda'"),
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
