"""Fixtures of the tests that run a real worker process, and how long an example of Hypothesis may take."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from worker_process import WorkerProcess

# An example that takes long says something about the machine: it may have had to wait for its turn.
settings.register_profile("glimpse", deadline=None)
settings.load_profile("glimpse")


@pytest.fixture
def socket_directory() -> Iterator[Path]:
    """A short path: a socket's address has 107 bytes at most."""
    directory = Path(tempfile.mkdtemp(prefix="glimpse-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def spawn(socket_directory: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts a worker, with WorkerProcess's arguments; it is gone when the test is over."""
    with contextlib.ExitStack() as stack:

        def start(**arguments: object) -> WorkerProcess:
            return stack.enter_context(contextlib.closing(WorkerProcess(socket_directory, **arguments)))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def worker(spawn: Callable[..., WorkerProcess]) -> WorkerProcess:
    """A worker with the scripted engine, ready."""
    worker = spawn()
    worker.ready()
    return worker
