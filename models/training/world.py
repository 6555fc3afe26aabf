"""The processes that train together, one per GPU."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist

from glimpse_worker.lifecycle import die_with_parent


class ProcessFailed(RuntimeError):
    """One of the processes has ended where it should not, and the others with it."""


@dataclass(frozen=True, slots=True)
class World:
    """This process among the others. Every process computes its share; `is_first` speaks for all."""

    rank: int = 0
    size: int = 1
    store: Path | None = None
    """The file by which they find each other."""

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, parts: int) -> range:
        """Which of the parts are computed here. Raises ValueError where they cannot be shared evenly."""
        if parts % self.size:
            raise ValueError(f"{parts} parts of a step cannot be shared evenly by {self.size} GPUs")
        return range(self.rank, parts, self.size)

    @contextmanager
    def connected(self, device: torch.device) -> Iterator[None]:
        """Touches the device: what is forked from this process has to be so before."""
        if self.store is None:
            yield
            return
        on_gpu = device.type == "cuda"
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            init_method=f"file://{self.store}",
            rank=self.rank,
            world_size=self.size,
            device_id=device if on_gpu else None,
        )
        try:
            yield
        finally:
            dist.destroy_process_group()

    def add_up(self, tensor: torch.Tensor) -> None:
        """It becomes the sum of all processes' tensors, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def agree(self, number: int, device: torch.device) -> int:
        """The first process' number, everywhere."""
        if self.size == 1:
            return number
        agreed = torch.tensor(number, device=device)
        dist.broadcast(agreed, 0)
        return int(agreed)

    def spread(self, tensor: torch.Tensor) -> float:
        """By how much a number of the tensor differs at most from the first process' one."""
        if self.size == 1:
            return 0.0
        of_first = tensor.clone()
        dist.broadcast(of_first, 0)
        largest = (tensor - of_first).abs().max()
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return float(largest)


ALONE = World()


def run_together(size: int, work: Callable[[World], None]) -> None:
    """
    `work` in as many processes. One is this process itself; several are forked from it, which therefore must
    not have touched CUDA. Raises ProcessFailed when one fails, after the others have been ended.
    """
    if size == 1:
        work(ALONE)
        return
    context = multiprocessing.get_context("fork")
    with TemporaryDirectory() as directory:
        store = Path(directory) / "store"
        processes = [
            context.Process(target=_join, args=(World(rank, size, store), work)) for rank in range(size)
        ]
        for process in processes:
            process.start()
        try:
            _await(processes)
        finally:
            for process in processes:
                process.kill()
                process.join()


def _join(world: World, work: Callable[[World], None]) -> None:
    die_with_parent()
    work(world)


def _await(processes: list[ForkProcess]) -> None:
    running = {process.sentinel: process for process in processes}
    while running:
        ended = wait(list(running))
        for sentinel in [sentinel for sentinel in running if sentinel in ended]:
            process = running.pop(sentinel)
            process.join()
            if process.exitcode:
                raise ProcessFailed(
                    f"process {processes.index(process)} ended with exit code {process.exitcode}"
                )
