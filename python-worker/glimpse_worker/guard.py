"""
A second process in the worker's group, whose one task is to outlive it by a moment: nothing that the worker
has started may hold a GPU when the worker is gone. Imports nothing heavy: it is forked before all else.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import NoReturn

from .lifecycle import name_process

BLOCKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
"""What a whole group may be sent; the guard has to outlive those that die of it."""


def guard_group() -> None:
    """
    From now on, when this process ends in whatever way, all others of its group are killed. Does nothing
    unless the process leads a session of its own, as the library starts it: else others, such as the rest of
    a shell's pipeline, would be in the group.

    The guard waits for the end of a pipe whose other end this process alone holds. Programs that it starts do
    not inherit that, and children that it forks in Python close it; a child that C code forks and that does
    not exec would delay the guard until it ends itself.
    """
    if os.getsid(0) != os.getpid():
        return
    reader, writer = os.pipe()
    # The guard begins with them blocked, so there is no moment in which it could die of one.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    if os.fork() == 0:
        _guard(reader)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(reader)
    os.register_at_fork(after_in_child=lambda: os.close(writer))


def _guard(reader: int) -> NoReturn:
    try:
        name_process("glimpse-guard")
        # Whoever reads the worker's stderr waits for its end, so it must not be held open here.
        for descriptor in _descriptors():
            if descriptor != reader:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        os.read(reader, 1)
        os.killpg(0, signal.SIGKILL)
    finally:
        # Only a guard that could not get to work comes here; it kills nobody.
        os._exit(1)


def _descriptors() -> list[int]:
    """Those that are open; one of them was for looking, and is not any more."""
    return [int(path.name) for path in Path("/dev/fd").iterdir()]
