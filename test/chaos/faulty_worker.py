"""A worker that breaks where and when a test says so.

    python faulty_worker.py FOLDER, then a worker's own arguments

In FOLDER the test puts `hold-PLACE-N`, which the next process that comes to `starting` or `loading` takes, or
`hold-PID-PLACE` for `shutdown`, for `token-N`, the token N of any request, or for `token-N-of-K`, where K
requests have come to their token N. Who takes it makes it `held-PLACE-PID` and waits. SIGUSR2 makes a process
play the fault that `fault-PID` names, wherever it is, and ends the waiting.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import zmq

import glimpse_worker.__main__ as program
from glimpse_worker import worker
from glimpse_worker.protocol import Shutdown, Tokens

FOLDER = Path(sys.argv[1])
PID = os.getpid()
GARBAGE = b"\xc1 no message at all"
SPARE_BYTES = 64 * 1024 * 1024

released = threading.Event()
hung = threading.Event()
start: dict[str, Any] = {}
reached: dict[str, int] = {}
"""The token to which each request has come."""


def hold(place: str) -> None:
    if take(f"hold-{place}-*", f"held-{place}-{PID}") or take_own(place):
        wait()


def wait() -> None:
    released.clear()
    released.wait()
    hang_if_told()


def take(pattern: str, name: str) -> bool:
    """Whether there was such a file, and no other process was quicker."""
    for file in FOLDER.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            file.rename(FOLDER / name)
            return True
    return False


def take_own(place: str) -> bool:
    try:
        os.rename(FOLDER / f"hold-{PID}-{place}", FOLDER / f"held-{place}-{PID}")
    except FileNotFoundError:
        return False
    return True


def take_where_all_are() -> bool:
    for file in FOLDER.glob(f"hold-{PID}-token-*-of-*"):
        place = file.name.removeprefix(f"hold-{PID}-")
        number, count = map(int, place.removeprefix("token-").split("-of-"))
        if sum(index >= number for index in reached.values()) >= count:
            return take_own(place)
    return False


def hang_if_told() -> None:
    if hung.is_set():
        threading.Event().wait()


def play(*_: object) -> None:
    """On the main thread, which does nothing else once the worker is ready."""
    fault = (FOLDER / f"fault-{PID}").read_text()
    match fault:
        case "SIGKILL" | "SIGSTOP" | "SIGSEGV":
            os.kill(PID, getattr(signal, fault))
        case "exit":
            os._exit(3)
        case "hang":
            hung.set()
        case "hang with the GIL":
            hang_with_the_lock()
        case "out of memory":
            run_out_of_memory()
        case "babble":
            babble()
        case _:
            raise ValueError(f"no such fault: {fault}")
    released.set()


def hang_with_the_lock() -> NoReturn:
    """Takes a lock twice: unlike a sleep, no signal ends that. PyDLL keeps the interpreter's own lock."""
    lock = ctypes.create_string_buffer(256)
    libc = ctypes.PyDLL(None)
    while True:
        libc.pthread_mutex_lock(lock)


def run_out_of_memory() -> NoReturn:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    hoard = []
    try:
        while True:
            hoard.append(bytearray(1024 * 1024))
    except MemoryError:
        # What native code does for want of memory.
        os.abort()


def babble() -> None:
    """Over a connection of its own, which the worker's threads do not use."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect(start["control"])
    socket.send(GARBAGE)


def main() -> None:
    # What follows are the arguments of the interpreter.
    del sys.argv[1:]
    signal.signal(signal.SIGUSR2, play)
    run, load, serve_control, emit = (
        program._work,
        worker.load_engine,
        worker.Worker._on_control,
        worker.Worker._emit,
    )

    def work(line: bytes) -> None:
        start.update(json.loads(line))
        hold("starting")
        run(line)

    def load_engine(*arguments: Any) -> Any:
        hold("loading")
        return load(*arguments)

    def on_control(self: worker.Worker, message: Any) -> None:
        if isinstance(message, Shutdown):
            hold("shutdown")
        serve_control(self, message)

    def emit_to_library(self: worker.Worker, message: Any) -> None:
        if isinstance(message, Tokens):
            hang_if_told()
            for item in message.items:
                reached[item.request] = item.index
                if take_own(f"token-{item.index}") or take_where_all_are():
                    wait()
        emit(self, message)

    program._work = work
    worker.load_engine = load_engine
    worker.Worker._on_control = on_control
    worker.Worker._emit = emit_to_library
    program.main()


if __name__ == "__main__":
    main()
