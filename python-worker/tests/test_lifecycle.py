"""The process lives no longer than the one that started it, and speaks plainly when it cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from worker_process import COMMAND, PATIENCE_S, Orchestrator, WorkerProcess, environment, gone_within

from glimpse_worker import __version__
from glimpse_worker.dependencies import PACKAGES
from glimpse_worker.protocol import Hello, Ready

Spawn = Callable[..., WorkerProcess]

# Spawns a worker, hands it the start line with its own pid in it, and lives until it is killed.
PARENT = """
import json, os, subprocess, sys
start = json.loads(sys.argv[1])
stdin = subprocess.PIPE if sys.argv[2] == "own" else 0
child = subprocess.Popen(sys.argv[3:], stdin=stdin, start_new_session=True)
line = json.dumps({**start, "parentPid": os.getpid()}).encode() + b"\\n"
os.write(child.stdin.fileno() if child.stdin else int(os.environ["STDIN_WRITER"]), line)
child.wait()
"""


Completed = subprocess.CompletedProcess[str]


def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Completed:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin.decode(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=env or environment(),
        check=False,
    )


@pytest.mark.parametrize("load", ["normal", "hang"])
def test_the_end_of_stdin_ends_the_worker(spawn: Spawn, load: str) -> None:
    worker = spawn(load=load)
    worker.expect(Hello)
    worker.stdin.close()
    assert worker.exit_code(within_s=2) == 0


@pytest.mark.parametrize("load", ["normal", "slow", "hang"])
@pytest.mark.parametrize("stdin", ["own", "kept open by another"])
def test_no_worker_outlives_a_killed_parent(socket_directory: Path, load: str, stdin: str) -> None:
    reader, writer = os.pipe()
    with closing(Orchestrator(socket_directory)) as orchestrator:
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, orchestrator.start_line(load).decode(), stdin, *COMMAND],
            stdin=reader,
            pass_fds=[writer],
            env={**environment(), "STDIN_WRITER": str(writer)},
        )
        try:
            pid = orchestrator.expect(Hello).pid
            if load == "normal":
                orchestrator.expect(Ready)
                orchestrator.generate("slow 5000")
                orchestrator.next_data()
            parent.kill()
            parent.wait(PATIENCE_S)
            assert gone_within(pid, seconds=2)
        finally:
            parent.kill()
            parent.wait(PATIENCE_S)
            os.close(reader)
            os.close(writer)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux announces the death of a parent")
def test_a_worker_that_cannot_run_dies_with_its_parent(socket_directory: Path) -> None:
    with closing(Orchestrator(socket_directory)) as orchestrator:
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, orchestrator.start_line("hang").decode(), "own", *COMMAND],
            env=environment(),
        )
        try:
            pid = orchestrator.expect(Hello).pid
            os.kill(pid, signal.SIGSTOP)
        finally:
            parent.kill()
            parent.wait(PATIENCE_S)
        gone = gone_within(pid, seconds=2)
        if not gone:
            os.kill(pid, signal.SIGKILL)
        assert gone


def test_a_worker_whose_parent_is_another_leaves_before_hello(socket_directory: Path) -> None:
    with closing(Orchestrator(socket_directory)) as orchestrator:
        result = run(stdin=orchestrator.start_line(parentPid=1))
    assert result.returncode == 1
    assert "the start line says 1" in result.stderr
    assert "`python` must name the interpreter itself" in result.stderr


@pytest.mark.parametrize(
    ("stdin", "reason"),
    [
        (b"", "stdin ended before the start line"),
        (b"half a line", "stdin ended before the start line"),
        (b"not json\n", "the start line is not a message"),
        (b"{}\n", "the start line is not a message"),
        (b"x" * 1_100_000, "more than 1048576 bytes"),
    ],
    ids=["nothing", "half a line", "no JSON", "no start", "endless"],
)
def test_a_bad_start_line_is_a_usage_error(stdin: bytes, reason: str) -> None:
    result = run(stdin=stdin)
    assert result.returncode == 64
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bad_start_line_is_not_repeated(socket_directory: Path) -> None:
    with closing(Orchestrator(socket_directory)) as orchestrator:
        result = run(stdin=orchestrator.start_line(device=5, hubToken="hf_secret"))
    assert result.returncode == 64
    assert "secret" not in result.stderr


@pytest.mark.parametrize(("module", "package"), [("zmq", "pyzmq"), ("msgspec", "msgspec")])
def test_a_missing_package_is_named_with_what_to_do(
    tmp_path: Path, socket_directory: Path, module: str, package: str
) -> None:
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('no {module}', name='{module}')")
    with closing(Orchestrator(socket_directory)) as orchestrator:
        result = run(stdin=orchestrator.start_line(), env=environment(tmp_path))
    assert result.returncode == 78
    assert f"the Python package {package} cannot be imported" in result.stderr
    assert "npx glimpse setup" in result.stderr
    assert "Traceback" not in result.stderr


IMPORTED = """
import atexit, os, sys
atexit.register(lambda: print(*sys.modules, file=open(os.environ["IMPORTED"], "w")))
"""


def test_help_answers_at_once_as_it_imports_no_package(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(IMPORTED)
    imported = tmp_path / "imported"
    result = run("--help", env=environment(tmp_path) | {"IMPORTED": str(imported)})
    modules = {*imported.read_text().split()}
    assert {"glimpse_worker", "argparse"} <= modules
    assert modules & {*PACKAGES} == set()
    assert result.returncode == 0
    assert "The library starts it" in result.stdout
    assert f"glimpse_worker {__version__}" in result.stdout
    assert "torch 2" in result.stdout
    assert result.stderr == ""


def test_version_is_one_line() -> None:
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.startswith(f"glimpse_worker {__version__} (Python 3.")


def test_sigterm_ends_a_worker_that_hangs(spawn: Spawn) -> None:
    worker = spawn(load="hang")
    worker.expect(Hello)
    worker.process.terminate()
    assert worker.exit_code(within_s=2) == -signal.SIGTERM
