"""When a worker ends, in whatever way, nothing that it has started is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from test_lifecycle import PARENT
from worker_process import COMMAND, PATIENCE_S, Orchestrator, WorkerProcess, environment, gone_within

from glimpse_worker.protocol import Done, Hello, Ready

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for children in /proc")

Spawn = Callable[..., WorkerProcess]
WITHIN_S = 1.0


def children_of(pid: int) -> dict[int, str]:
    """The processes that `pid` has started, with their names."""
    tasks = Path(f"/proc/{pid}/task")
    pids = [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    return {child: Path(f"/proc/{child}/comm").read_text().strip() for child in pids}


def family(pid: int) -> list[int]:
    """A worker's guard, and the program that its script has started."""
    deadline = time.monotonic() + PATIENCE_S
    # The guard is there before all else, but has its name only when it had its turn.
    while sorted((children := children_of(pid)).values()) != ["glimpse-guard", "sleep"]:
        assert time.monotonic() < deadline, children
    return list(children)


def have_a_child(orchestrator: Orchestrator) -> None:
    _, done = orchestrator.until_end(orchestrator.generate("children 1"))
    assert isinstance(done, Done)


def kill(worker: WorkerProcess) -> None:
    worker.process.kill()


def end_the_group(worker: WorkerProcess) -> None:
    os.killpg(worker.process.pid, signal.SIGTERM)


def crash(worker: WorkerProcess) -> None:
    worker.generate("crash 1", request="r2")


def close_stdin(worker: WorkerProcess) -> None:
    worker.stdin.close()


@pytest.mark.parametrize(
    "end",
    [kill, end_the_group, crash, WorkerProcess.shut_down, close_stdin],
    ids=["SIGKILL", "SIGTERM to all", "SIGSEGV", "shutdown", "end of stdin"],
)
def test_what_a_worker_has_started_ends_with_it(
    worker: WorkerProcess, end: Callable[[WorkerProcess], None]
) -> None:
    have_a_child(worker)
    others = family(worker.process.pid)
    end(worker)
    worker.exit_code(within_s=2)
    assert all(gone_within(pid, WITHIN_S) for pid in others)


def test_what_a_worker_has_started_ends_with_the_workers_parent(socket_directory: Path) -> None:
    with closing(Orchestrator(socket_directory)) as orchestrator:
        line = orchestrator.start_line().decode()
        parent = subprocess.Popen([sys.executable, "-c", PARENT, line, "own", *COMMAND], env=environment())
        try:
            pid = orchestrator.expect(Hello).pid
            orchestrator.expect(Ready)
            have_a_child(orchestrator)
            others = family(pid)
        finally:
            parent.kill()
            parent.wait(PATIENCE_S)
        assert all(gone_within(process, 2 * WITHIN_S) for process in [pid, *others])


def test_who_reads_a_killed_workers_output_comes_to_its_end() -> None:
    worker = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    # The guard is there, and holds nothing but its pipe.
    while [len(os.listdir(f"/proc/{pid}/fd")) for pid in children_of(worker.pid)] != [1]:
        assert time.monotonic() < deadline
    worker.kill()
    assert worker.communicate(timeout=WITHIN_S) == (b"", b"")


def test_a_worker_that_shares_its_session_kills_nobody(socket_directory: Path) -> None:
    with closing(Orchestrator(socket_directory)) as orchestrator:
        worker = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, env=environment())
        assert worker.stdin is not None
        with worker.stdin:
            worker.stdin.write(orchestrator.start_line())
            worker.stdin.flush()
            orchestrator.expect(Hello)
            assert children_of(worker.pid) == {}
        assert worker.wait(PATIENCE_S) == 0


FORKING = """
import os, signal, sys
from glimpse_worker.guard import guard_group
guard_group()
ready, child = os.pipe()
if (pid := os.fork()) == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(child, b"!")
    while True:
        signal.pause()
os.read(ready, 1)
print(pid, flush=True)
sys.stdin.read()
"""


def test_a_forked_child_does_not_keep_the_guard_from_its_work() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.killpg(parent.pid, signal.SIGTERM)
    assert gone_within(pid, WITHIN_S)
    parent.communicate()
