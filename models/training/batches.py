"""
Worker processes make batches, a thread brings them to the device.

Which batch a step sees is a function of the step's number, whatever the number of processes and however long
they take: batches are handed on strictly in order, and who is early waits.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.context import ForkProcess

import torch

from glimpse_worker.lifecycle import die_with_parent

from .packing import Arrays, Layout

BLOCK = 64
"""A batch that is used again is so after as many steps."""

MakeBatch = Callable[[int, Arrays], object]
"""Fills the arrays with the batch of this number, from nothing but this number."""


class WorkerFailed(RuntimeError):
    """A worker process has ended where it should not."""


def batch_of(step: int, reuse: int) -> int:
    """The batch that a step uses: each block of BLOCK batches is gone through `reuse` times."""
    block, within = divmod(step, BLOCK * reuse)
    return block * BLOCK + within % BLOCK


def batches_needed(start: int, stop: int, reuse: int) -> range:
    """The batches that the steps from `start` up to `stop` use."""
    if start >= stop:
        return range(0)
    # Two passes hold everything from the first batch that is still needed on.
    first = min(batch_of(step, reuse) for step in range(start, min(stop, start + BLOCK * reuse)))
    last = max(batch_of(step, reuse) for step in range(max(start, stop - BLOCK * reuse), stop))
    return range(first, last + 1)


def _is_last_use(step: int, reuse: int) -> bool:
    return step // BLOCK % reuse == reuse - 1


class Workers:
    """
    Processes that make the batches of `numbers` into slots of shared memory, as far ahead as there are slots.

    They are forked: start them before CUDA is touched. `memory` is (slots, bytes of a batch).
    """

    def __init__(
        self, layout: Layout, make: MakeBatch, numbers: range, *, processes: int, slots: int
    ) -> None:
        shared = mmap.mmap(-1, layout.size * slots)
        self.memory = torch.frombuffer(shared, dtype=torch.uint8).view(slots, layout.size)
        self._slots = slots
        self._taken = numbers.start
        self._requests = iter(numbers)
        self._arrived: set[int] = set()
        context = multiprocessing.get_context("fork")
        self._jobs = context.SimpleQueue()
        self._done = context.Queue()
        view = memoryview(shared)
        slices = [view[slot * layout.size : (slot + 1) * layout.size] for slot in range(slots)]

        def work() -> None:
            _work([layout.arrays(piece) for piece in slices], make, self._jobs.get, self._done.put)

        self._processes: list[ForkProcess] = [
            context.Process(target=work, daemon=True) for _ in range(processes)
        ]
        for _ in range(slots):
            self._request()
        for process in self._processes:
            process.start()

    def take(self) -> torch.Tensor:
        """The next batch, which stays in its slot until `release`. Raises WorkerFailed."""
        while self._taken not in self._arrived:
            self._receive()
        return self.memory[self._taken % self._slots]

    def release(self) -> None:
        """The batch taken last is not needed any more."""
        self._arrived.remove(self._taken)
        self._taken += 1
        self._request()

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def _request(self) -> None:
        number = next(self._requests, None)
        if number is not None:
            self._jobs.put(number)

    def _receive(self) -> None:
        try:
            number, failure = self._done.get(timeout=1)
        except queue.Empty:
            dead = [process for process in self._processes if not process.is_alive()]
            if dead:
                codes = [process.exitcode for process in dead]
                raise WorkerFailed(f"worker processes ended with exit codes {codes}") from None
            return
        if failure is not None:
            raise WorkerFailed(f"batch {number} could not be made:\n{failure}")
        self._arrived.add(number)


def _work(
    slots: list[Arrays], make: MakeBatch, next_job: Callable[[], int], report: Callable[[object], None]
) -> None:
    """What a worker process does until it is ended."""
    die_with_parent()
    # Threads of the parent's pools do not live on in a fork.
    torch.set_num_threads(1)
    os.nice(5)
    while True:
        number = next_job()
        try:
            make(number, slots[number % len(slots)])
        except BaseException:
            report((number, traceback.format_exc()))
            return
        report((number, None))


class Feed:
    """The batches of the steps from `start` up to `stop`, on the device ahead of their time."""

    def __init__(
        self, workers: Workers, device: torch.device, start: int, stop: int, *, reuse: int, ahead: int = BLOCK
    ) -> None:
        """`workers` make `batches_needed(start, stop, reuse)`."""
        self.waited = 0.0
        """Seconds in which a step waited for its batch."""
        self._workers = workers
        self._reuse = reuse
        self._numbers = batches_needed(start, stop, reuse)
        self._size = ahead + (BLOCK if reuse > 1 else 0)
        self._arrived = self._freed = self._numbers.start
        self._failure: Exception | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._ring = torch.empty(self._size, workers.memory.shape[1], dtype=torch.uint8, device=device)
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            _pin(workers.memory)
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._released = [torch.cuda.Event() for _ in range(self._size)]  # type: ignore[no-untyped-call]
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def load(self, step: int, batch: torch.Tensor) -> None:
        """Copies the step's batch to `batch`, in the current stream. Steps come in order."""
        number = batch_of(step, self._reuse)
        self._wait_for(number)
        batch.copy_(self._ring[number % self._size], non_blocking=True)
        if not _is_last_use(step, self._reuse):
            return
        if self._stream is not None:
            self._released[number % self._size].record()
        with self._changed:
            self._freed = number + 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _wait_for(self, number: int) -> None:
        began = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._arrived > number or self._failure is not None)
            if self._arrived <= number and self._failure is not None:
                raise self._failure
        self.waited += time.monotonic() - began

    def _feed(self) -> None:
        try:
            for number in self._numbers:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or number - self._freed < self._size)  # noqa: B023
                if self._closed:
                    return
                self._copy(self._workers.take(), number % self._size)
                self._workers.release()
                with self._changed:
                    self._arrived = number + 1
                    self._changed.notify_all()
        except Exception as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _copy(self, source: torch.Tensor, slot: int) -> None:
        if self._stream is None:
            self._ring[slot].copy_(source)
            return
        with torch.cuda.stream(self._stream):
            # Steps are queued long before they run: the slot's last reader may still be to come.
            self._stream.wait_event(self._released[slot])
            self._ring[slot].copy_(source, non_blocking=True)
        self._stream.synchronize()


def _pin(memory: torch.Tensor) -> None:
    """Registers shared memory with CUDA, so that copies from it run beside the computing."""
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    runtime.cudaHostRegister(memory.data_ptr(), memory.numel(), 0)
    if not memory.is_pinned():
        print("note: the batches' shared memory could not be pinned; copies take longer")
