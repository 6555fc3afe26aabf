"""How the process lives and dies with the one that started it. Imports nothing heavy: it runs before all
else.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
from typing import NoReturn

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_START = 64
"""EX_USAGE of sysexits.h."""
EXIT_PACKAGE_MISSING = 78
"""EX_CONFIG of sysexits.h."""

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
"""Both from linux/prctl.h."""
MAX_START_BYTES = 1024 * 1024
PARENT_CHECK_S = 0.5
"""How often the parent is looked at, for where nothing announces its death."""


def die_with_parent() -> None:
    """Asks Linux for SIGKILL when the parent's spawning thread ends; elsewhere the end of stdin has to do."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        leave(EXIT_FAILED, f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")


def name_process(name: str) -> None:
    """What `ps` and `top` are to show, on Linux; up to 15 characters."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def read_start_line() -> bytes:
    """The first line on stdin. Ends the process when stdin ends or the parent dies before it is complete."""
    parent = os.getppid()
    line = b""
    while b"\n" not in line:
        chunk = _read_stdin(parent)
        if not chunk:
            leave(
                EXIT_BAD_START,
                "stdin ended before the start line; the library starts this process, see --help",
            )
        line += chunk
        if len(line) > MAX_START_BYTES:
            leave(EXIT_BAD_START, f"the start line has more than {MAX_START_BYTES} bytes")
    return line.split(b"\n", 1)[0]


def leave_with(parent_pid: int) -> None:
    """From now on the process ends at once when stdin ends or `parent_pid` is no longer its parent."""
    if os.getppid() != parent_pid:
        leave(
            EXIT_FAILED,
            f"the parent is process {os.getppid()}, the start line says {parent_pid}; `python` must name the "
            "interpreter itself, or a script that ends with `exec` of it",
        )

    def watch() -> None:
        while _read_stdin(parent_pid):
            pass
        leave(EXIT_OK)

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def leave(code: int, reason: str | None = None) -> NoReturn:
    """Ends the process from any thread, not waiting for the others: one may hang in a step or an import."""
    if reason is not None:
        sys.stderr.write(f"glimpse_worker: {reason}\n")
        sys.stderr.flush()
    os._exit(code)


def _read_stdin(parent: int) -> bytes:
    """What arrives next; empty at the end of stdin. Ends the process when the parent has changed."""
    while True:
        readable, _, _ = select.select([0], [], [], PARENT_CHECK_S)
        if os.getppid() != parent:
            leave(EXIT_FAILED, f"the parent process {parent} is gone")
        if readable:
            return os.read(0, 65536)
