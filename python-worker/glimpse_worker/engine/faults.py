"""How the scripted engine breaks, and with it the process that plays it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import threading
from pathlib import Path
from typing import NoReturn, assert_never, cast

import msgspec

from ..failure import WorkerFailure
from ..protocol import DataFromWorker, LoadingStage, Progress
from .interface import Emit
from .script import ScriptedFault

EXIT_SCRIPTED = 3
"""The code of `exit`; the worker has no other reason to leave with it."""
HEADROOM = 64 * 1024 * 1024
CHUNK = 4 * 1024 * 1024
GARBAGE = b"\xc1 no message at all"
"""MessagePack never uses the byte 0xc1."""


class Poisoned(Exception):
    """Ends its request, and the engine with it."""


def play_fault(fault: ScriptedFault, emit: Emit) -> None:
    """Breaks as a real engine might, see `read_script`; what breaks one request only is raised."""
    match fault:
        case "crash":
            crash()
        case "exit":
            os._exit(EXIT_SCRIPTED)
        case "allocate":
            allocate()
        case "hang":
            hang()
        case "gil":
            hang_with_lock()
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "children":
            subprocess.Popen(["sleep", "600"])
        case "oom":
            raise WorkerFailure(
                "GPU_OUT_OF_MEMORY",
                "the script ran out of memory, as it was told to",
                "Ask for something else.",
            )
        case "babble":
            emit(cast(DataFromWorker, msgspec.Raw(GARBAGE)))
            raise WorkerFailure("GENERATION_FAILED", "the script babbled, as it was told to")
        case "poison":
            raise Poisoned("the script broke the device, as it was told to")
        case _:
            assert_never(fault)


def babble_while_loading(progress: Progress) -> None:
    """Sends on the control channel what is no message."""
    progress(cast(LoadingStage, msgspec.Raw(GARBAGE)), None, None)


def crash() -> NoReturn:
    """Dies as on an error in native code."""
    os.kill(os.getpid(), signal.SIGSEGV)
    hang()


def hang() -> NoReturn:
    """Keeps its thread for ever, with the interpreter's lock free."""
    threading.Event().wait()
    raise AssertionError("nobody sets this event")


def hang_with_lock() -> NoReturn:
    """Keeps its thread for ever, and the interpreter's lock, so that no other thread runs either."""
    # PyDLL does not let go of the lock; of all waits in C, no signal interrupts that for a mutex.
    lock, mutex = ctypes.PyDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
    lock(mutex)
    lock(mutex)
    raise AssertionError("nobody unlocks it")


def allocate() -> NoReturn:
    """Takes memory until the limit of the process is reached, and dies as native code does then."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    held = []
    try:
        while True:
            held.append(bytes(1) * CHUNK)
    except MemoryError:
        os.write(2, b"MemoryError: the script has used up its memory, as it was told to\n")
        os.abort()
