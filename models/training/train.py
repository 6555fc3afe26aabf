"""
Trains the embedded model: `python -m models.training.train --out DIR`, from the repository's root.

`--gpus N` shares every step among N GPUs. `--stop-after S` writes DIR/state.safetensors after step S,
`--resume FILE` goes on from there as if nothing had happened. DIR/checkpoint holds what `models/embedded`
does: written now and then, and at the end.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch

from .batches import Feed, MakeBatch, Workers, batches_needed
from .encoding import encode
from .export import export
from .figures import HeldOut, figures, held_out_batches
from .mixture import draw
from .packing import Arrays, fill
from .recipe import SMALL, Recipe
from .state import load_state, save_state, steps_done
from .trainer import Log, Trainer
from .vocabulary import load_tokenizer
from .world import ALONE, World, run_together

SLOTS = 64
"""Batches that wait for a process' device in shared memory, 6 MB each."""

SYNCHRONIZE = 25
"""Steps that are queued at most before the host looks at the loss."""

PACED = 1_000
"""The step by which one can tell how long a step takes. The learning rate is still at its highest."""

FIGURES = 6
PROGRESS_LINES = 50
LATE = 0.8
"""After this part of the steps a checkpoint is worth having: should the run be cut off, little is lost."""


class Diverged(RuntimeError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Call:
    """What one call of the program does of a training."""

    out: Path
    stop_after: int | None = None
    resume: Path | None = None
    checkpoint: Path | None = None
    """Whose weights to begin with."""
    deadline: float | None = None
    """By time.monotonic(): there will be as many steps as fit."""
    profile: bool = False


def log_of(world: World) -> Log:
    """Lines with the seconds since now, by the first process."""
    began = time.monotonic()

    def log(text: str) -> None:
        if world.is_first:
            print(f"[{time.monotonic() - began:7.1f}] {text}", flush=True)

    return log


def batch_maker(recipe: Recipe, part: int) -> MakeBatch:
    """Batch k of a part comes from the seed, the part and k alone."""
    tokenizer = load_tokenizer()

    def make(number: int, arrays: Arrays) -> None:
        rng = Random(f"{recipe.seed}/{part}/{number}")
        fill(recipe.layout, arrays, lambda: encode(draw(rng), tokenizer, rng))

    return make


def train(recipe: Recipe, call: Call, device: torch.device, world: World = ALONE) -> Trainer:
    """Trains up to the end of the recipe, or of the call, and writes what comes out."""
    log = log_of(world)
    call.out.mkdir(parents=True, exist_ok=True)
    # Processes forked from one with a pool of threads would wait for threads that they do not have.
    torch.set_num_threads(1)
    held_out = held_out_batches(recipe)
    log(f"{len(held_out)} held-out batches of {recipe.layout.size / 1e6:.1f} MB")
    start = steps_done(call.resume) if call.resume else 0
    stop = recipe.steps if call.stop_after is None else min(call.stop_after, recipe.steps)
    with ExitStack() as stack:
        makers = [
            stack.enter_context(closing(workers)) for workers in _start_workers(recipe, world, start, stop)
        ]
        if device.type == "cuda":
            torch.cuda.set_device(device)
        else:
            torch.set_num_threads(_cores(world))
        stack.enter_context(world.connected(device))
        trainer = Trainer(recipe, device, world)
        stack.callback(trainer.release)
        if call.checkpoint:
            trainer.load_checkpoint(call.checkpoint)
        if call.resume:
            load_state(trainer, call.resume)
        log(f"{sum(p.numel() for p in trainer.model.parameters()):,} parameters, from step {start}")
        if device.type == "cuda":
            trainer.capture(held_out[0].flat, profile=call.profile and world.is_first, log=log)
        feeds = [
            stack.enter_context(closing(Feed(workers, device, start, stop, reuse=recipe.reuse)))
            for workers in makers
        ]
        stop = Run(trainer, feeds, held_out, call, world, log).steps(start, stop)
        if world.size > 1:
            log(f"the processes' weights differ by {trainer.spread()} at most")
        if world.is_first:
            _finish(trainer, stop, held_out, call, log)
    return trainer


def _start_workers(recipe: Recipe, world: World, start: int, stop: int) -> list[Workers]:
    """Those that make the batches of each part of this process."""
    share = world.share(recipe.parts)
    processes = max(1, (_cores(world) - 1) // len(share))
    numbers = batches_needed(start, stop, recipe.reuse)
    return [
        Workers(
            recipe.layout,
            batch_maker(recipe, part),
            numbers,
            processes=processes,
            slots=max(4, SLOTS // len(share)),
        )
        for part in share
    ]


def _cores(world: World) -> int:
    """Of this process."""
    return max(1, len(os.sched_getaffinity(0)) // world.size)


def _finish(trainer: Trainer, stop: int, held_out: Sequence[HeldOut], call: Call, log: Log) -> None:
    if stop < trainer.recipe.steps:
        file = call.out / "state.safetensors"
        save_state(trainer, stop, file)
        log(f"stopped after step {stop}: {file}, {file.stat().st_size:,} bytes")
        return
    trainer.round()
    log(f"with the weights rounded to bfloat16:\n{figures(trainer.predictions, held_out)}")
    export(trainer.model, call.out / "checkpoint")
    log(f"exported to {call.out / 'checkpoint'}")


class Run:
    """The steps of one call."""

    def __init__(
        self,
        trainer: Trainer,
        feeds: Sequence[Feed],
        held_out: Sequence[HeldOut],
        call: Call,
        world: World,
        log: Log,
    ) -> None:
        self._trainer = trainer
        self._feeds = feeds
        self._held_out = held_out
        self._call = call
        self._world = world
        self._log = log
        self._line_began, self._line_step = time.monotonic(), 0

    def steps(self, start: int, stop: int) -> int:
        """Makes the steps from `start` on, up to `stop` or to what the deadline allows. Returns the last."""
        trainer = self._trainer
        self._line_began, self._line_step = time.monotonic(), start
        step = start
        while step < stop:
            for feed, batch in zip(self._feeds, trainer.batches, strict=True):
                feed.load(step, batch)
            trainer.step(step)
            step += 1
            if step % SYNCHRONIZE == 0 and not math.isfinite(float(trainer.answer_loss)):
                loss = float(trainer.answer_loss)
                raise Diverged(f"the loss after step {step} is {loss}; try a lower rate")
            if step == PACED and self._call.deadline is not None:
                stop = self._as_many_as_fit(step, stop, self._call.deadline)
            self._report(step, stop)
        return step

    def _as_many_as_fit(self, done: int, most: int, deadline: float) -> int:
        """The recipe gets as many steps as fit up to the deadline, by how long those since the line took."""
        now = time.monotonic()
        each = (now - self._line_began) / (done - self._line_step)
        self._show_figures(done)
        for_figures = (time.monotonic() - now) * (FIGURES + 1)
        fitting = done + max(0, int((deadline - time.monotonic() - for_figures) / each))
        steps = self._world.agree(min(most, fitting), self._trainer.device)
        self._trainer.recipe = replace(self._trainer.recipe, steps=steps)
        self._log(f"{steps} steps of {each * 1000:.2f} ms fit")
        self._begin_line(done)
        return steps

    def _report(self, done: int, stop: int) -> None:
        total = self._trainer.recipe.steps
        if done == PACED // 2 or done % max(1, total // PROGRESS_LINES) == 0 or done == stop:
            self._show_progress(done, total)
            self._begin_line(done)
        if done % max(1, total // FIGURES) == 0 and done < stop:
            self._show_figures(done)
            self._begin_line(done)

    def _show_progress(self, done: int, total: int) -> None:
        trainer = self._trainer
        answer, character = float(trainer.answer_loss), float(trainer.character_loss)
        each = (time.monotonic() - self._line_began) / max(1, done - self._line_step) * 1000
        waited = sum(feed.waited for feed in self._feeds)
        if self._world.is_first and done > LATE * total:
            export(trainer.model, self._call.out / "checkpoint")
        self._log(
            f"step {done} of {total}: loss {answer:.4f}, characters {character:.4f},"
            f" {each:.2f} ms a step, waited {waited:.1f} s for batches"
        )

    def _show_figures(self, done: int) -> None:
        if self._world.is_first:
            self._log(f"held out, after step {done}:\n{figures(self._trainer.predictions, self._held_out)}")
            export(self._trainer.model, self._call.out / "checkpoint")

    def _begin_line(self, done: int) -> None:
        self._line_began, self._line_step = time.monotonic(), done


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.training.train", description="Trains the embedded model."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="that share the parts of every step")
    parser.add_argument("--parts", type=int, help="batches of a step, instead of the recipe's")
    parser.add_argument("--steps", type=int, help="of the whole training, instead of the recipe's")
    parser.add_argument("--minutes", type=float, help="as many steps as fit, up to the recipe's or --steps")
    parser.add_argument("--stop-after", type=int, metavar="S", help="end this call after step S with a state")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="a state to go on from")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="whose weights to begin with")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a few steps of a smaller model")
    parser.add_argument("--profile", action="store_true", help="also print what a step's time goes to (cuda)")
    options = parser.parse_args()
    if options.profile and options.device != "cuda":
        parser.error("--profile measures the CUDA graph of a step; expected --device cuda")
    if options.minutes is not None and (options.resume or options.stop_after):
        parser.error("--minutes sets the steps of a whole training; expected no --resume and no --stop-after")
    recipe = SMALL if options.small else Recipe()
    if options.steps is not None:
        recipe = replace(recipe, steps=options.steps)
    if options.parts is not None:
        recipe = replace(recipe, parts=options.parts)
    try:
        World(size=options.gpus).share(recipe.parts)
    except ValueError as error:
        parser.error(f"--gpus: {error}")
    call = Call(
        options.out,
        stop_after=options.stop_after,
        resume=options.resume,
        checkpoint=options.checkpoint,
        deadline=None if options.minutes is None else time.monotonic() + 60 * options.minutes,
        profile=options.profile,
    )
    os.environ["TOKENIZERS_PARALLELISM"] = "false"

    def work(world: World) -> None:
        device = torch.device("cuda", world.rank) if options.device == "cuda" else torch.device("cpu")
        train(recipe, call, device, world)

    run_together(options.gpus, work)


if __name__ == "__main__":
    main()
