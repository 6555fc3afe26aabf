"""
Trains the embedded model: `python -m models.training.train --out DIR`, from the repository's root.

`--stop-after S` writes DIR/state.safetensors after step S, `--resume FILE` goes on from there as if nothing
had happened. At the end DIR/checkpoint holds what `models/embedded` does.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .batches import Feed, MakeBatch, Workers, batches_needed
from .conversation import Task
from .encoding import encode
from .export import configuration, export, new_model
from .forward import Forward, Weights, initialize, new_characters_head
from .mixture import draw
from .optimizer import Hyperparameters, Optimizer, decay, learning_rate
from .packing import Arrays, Layout, Placed, fill
from .vocabulary import load_tokenizer


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out."""

    seed: int = 0
    steps: int = 56_000
    reuse: int = 2
    """How often a batch is used."""

    vision_layers: int = 8
    text_layers: int = 4
    width: int = 256
    gated_width: int = 704
    """Of the text part's feed-forward."""

    optimizer: Hyperparameters = field(
        default_factory=lambda: Hyperparameters(
            muon_rate=3e-3, adam_rate=3e-3, weight_decay=0.05, momentum=0.95
        )
    )
    warm_up: int = 300
    character_weight: float = 1.0
    """Of the auxiliary loss, to begin with; it falls as the learning rate does."""

    layout: Layout = field(
        default_factory=lambda: Layout(tokens=12_288, pictures=13_312, clips=3_584, sequences=320, pieces=512)
    )
    held_out_batches: int = 6


SMALL = Recipe(
    steps=3,
    vision_layers=1,
    text_layers=1,
    warm_up=2,
    layout=Layout(tokens=1_024, pictures=1_280, clips=384, sequences=32, pieces=64),
    held_out_batches=1,
)
"""Shows on any processor that everything works together. It learns nothing."""

SLOTS = 64
"""Batches that wait for the device in shared memory, about 13 MB each."""

SYNCHRONIZE = 25
"""Steps that are queued at most before the host looks at the loss."""

FIGURES = 6
PROGRESS_LINES = 50


class Diverged(RuntimeError):
    """The loss is no number any more."""


class Log:
    """Lines with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:7.1f}] {text}", flush=True)


# ---- Batches.


def batch_maker(recipe: Recipe) -> MakeBatch:
    """Batch k comes from the seed and k alone."""
    tokenizer = load_tokenizer()

    def make(number: int, arrays: Arrays) -> None:
        rng = Random(f"{recipe.seed}/{number}")
        fill(recipe.layout, arrays, lambda: encode(draw(rng), tokenizer, rng))

    return make


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A batch of held-out words, with whole thoughts."""

    flat: Tensor
    arrays: Arrays
    placed: tuple[Placed, ...]


def held_out_batches(recipe: Recipe) -> list[HeldOut]:
    tokenizer = load_tokenizer()
    batches = []
    for number in range(recipe.held_out_batches):
        rng = Random(f"{recipe.seed}/held out/{number}")
        buffer = bytearray(recipe.layout.size)
        arrays = recipe.layout.arrays(buffer)
        placed = fill(recipe.layout, arrays, lambda: encode(draw(rng, held_out=True), tokenizer, None))  # noqa: B023
        batches.append(HeldOut(torch.frombuffer(buffer, dtype=torch.uint8), arrays, placed))
    return batches


# ---- Steps.


class Trainer:
    """The model and one step of its training, over the batch that lies in `batch`."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe = recipe
        self.device = device
        torch.manual_seed(recipe.seed)
        config = configuration(
            vision_layers=recipe.vision_layers,
            text_layers=recipe.text_layers,
            width=recipe.width,
            gated_width=recipe.gated_width,
        )
        self.model = new_model(config)
        initialize(self.model)
        self.model.to(device)
        self._parameters = {
            **dict(self.model.named_parameters()),
            **new_characters_head(recipe.width, device),
        }
        on_gpu = device.type == "cuda"
        self._weights = Weights(self._parameters, torch.bfloat16 if on_gpu else torch.float32)
        self._forward = Forward(self.model, self._weights, device, compiled=on_gpu)
        # Figures are wanted a few times only: not worth a compilation.
        self._plain_forward = Forward(self.model, self._weights, device, compiled=False)
        self._optimizer = Optimizer(self._parameters, recipe.optimizer)
        self.batch = torch.zeros(recipe.layout.size, dtype=torch.uint8, device=device)
        self._fields = recipe.layout.tensors(self.batch)
        self._character_weight = torch.zeros((), device=device)
        self.answer_loss = torch.zeros((), device=device)
        self.character_loss = torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None

    def step(self, number: int) -> None:
        """Step `number`, which the schedule goes by."""
        recipe = self.recipe
        self._optimizer.rate.fill_(learning_rate(number, recipe.steps, recipe.warm_up))
        self._character_weight.fill_(recipe.character_weight * decay(number, recipe.steps))
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def _step(self) -> None:
        outputs = self._forward(self._fields)
        labels = self._fields["labels"]
        trained = (labels >= 0).sum().clamp(min=1)
        answer_loss = self._forward.answer_losses(outputs.logits, labels).sum() / trained
        character_loss = self._forward.character_loss(
            outputs.features,
            self._fields["characters"],
            self._weights["characters.weight"],
            self._weights["characters.bias"],
        )
        gradients = self._weights.gradients(answer_loss + character_loss * self._character_weight)
        self._optimizer.step(gradients)
        self._weights.refresh()
        self.answer_loss.copy_(answer_loss.detach())
        self.character_loss.copy_(character_loss.detach())

    def capture(self, batch: Tensor, *, profile: bool, log: Log) -> None:
        """Compiles a step and records it as one CUDA graph. The state is afterwards what it was before."""
        before = {name: tensor.clone() for name, tensor in self.state().items()}
        self.batch.copy_(batch)
        warm_up = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(warm_up)
        torch.cuda.synchronize()
        log("compiled")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._step()
        self._graph = graph
        self._time(20, log)
        if profile:
            _print_profile(graph)
        self.load(before)

    def _time(self, replays: int, log: Log) -> None:
        assert self._graph is not None
        torch.cuda.synchronize()
        began = time.monotonic()
        for _ in range(replays):
            self._graph.replay()
        torch.cuda.synchronize()
        milliseconds = (time.monotonic() - began) / replays * 1000
        memory = torch.cuda.max_memory_allocated() / 2**30
        log(f"captured: {milliseconds:.2f} ms a step, {memory:.1f} GiB of device memory")

    def state(self) -> dict[str, Tensor]:
        """Everything that steps change."""
        weights = {f"weights.{name}": parameter.detach() for name, parameter in self._parameters.items()}
        return {**weights, **self._optimizer.state()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Of `state()`."""
        for name, parameter in self._parameters.items():
            parameter.copy_(state[f"weights.{name}"])
        self._optimizer.load(state)
        self._weights.refresh()

    @torch.no_grad()
    def round(self) -> None:
        """The weights become what the checkpoint holds of them."""
        for parameter in self._parameters.values():
            parameter.copy_(parameter.bfloat16())
        self._weights.refresh()

    @torch.no_grad()
    def predictions(self, flat: Tensor) -> NDArray[np.int64]:
        """(tokens,): the likeliest next id at every token of a batch."""
        outputs = self._plain_forward(self.recipe.layout.tensors(flat.to(self.device)))
        predicted: NDArray[np.int64] = outputs.logits.argmax(-1).cpu().numpy()
        return predicted


def _print_profile(graph: torch.cuda.CUDAGraph) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(3):
            graph.replay()
        torch.cuda.synchronize()
    averages = profile.key_averages()
    print(averages.table(sort_by="cuda_time_total", row_limit=40, max_name_column_width=90))


# ---- A state between two calls.


def save_state(trainer: Trainer, step: int, file: Path) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in trainer.state().items()}
    save_file(tensors, file, metadata={"step": str(step), "recipe": json.dumps(asdict(trainer.recipe))})


def load_state(trainer: Trainer, file: Path) -> int:
    """Returns how many steps have been done. Raises ValueError for the state of another recipe."""
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        saved, own = json.loads(metadata["recipe"]), json.loads(json.dumps(asdict(trainer.recipe)))
        if saved != own:
            differing = [
                f"{key}: {saved.get(key)}, now {own[key]}" for key in own if saved.get(key) != own[key]
            ]
            raise ValueError(f"{file} is of another recipe; go on with the same one ({'; '.join(differing)})")
        trainer.load({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
    return int(metadata["step"])


# ---- Figures, with all earlier tokens given.


@dataclass(frozen=True, slots=True)
class Score:
    """Of one turn. `thought` counts only what is trained of it; `overlap` is of boxes."""

    answer: bool
    thought: bool
    overlap: float | None


def figures(trainer: Trainer, batches: Sequence[HeldOut]) -> str:
    """
    A line per group of turns: how many, how often the answer was right, and how often the thought before it
    too, which is then what greedy decoding answers.
    """
    groups: dict[str, list[Score]] = defaultdict(list)
    for batch in batches:
        predicted = trainer.predictions(batch.flat)
        for placed in batch.placed:
            score = _score(placed, predicted, batch.arrays["labels"])
            for group in _groups(placed):
                groups[group].append(score)
    lines = []
    for group, scores in sorted(groups.items()):
        answer = np.mean([score.answer for score in scores])
        both = np.mean([score.answer and score.thought for score in scores])
        overlaps = [score.overlap for score in scores if score.overlap is not None]
        box = f"  IoU {np.mean(overlaps):.3f}" if overlaps else ""
        lines.append(f"  {group:<28} n {len(scores):4}  answer {answer:.3f}  with thought {both:.3f}{box}")
    return "\n".join(lines)


def _groups(placed: Placed) -> Iterator[str]:
    span = placed.span
    yield span.task
    if span.task is Task.READ:
        first = (span.characters - 1) // 8 * 8 + 1
        yield f"read, {first:3}-{first + 7:3} characters" if first < 97 else "read, 97 characters or more"
        yield f"read, {span.lines} line{'' if span.lines == 1 else 's'}"


def _score(placed: Placed, predicted: NDArray[np.int64], labels: NDArray[np.int16]) -> Score:
    span, offset = placed.span, placed.offset - 1
    thought = slice(offset + span.thought, offset + span.answer)
    answer = slice(offset + span.answer, offset + span.end)
    right = (predicted == labels) | (labels < 0)
    overlap = None
    if span.task is Task.BOX:
        overlap = _overlap(_numbers(predicted[answer]), _numbers(labels[answer]))
    return Score(bool(right[answer].all()), bool(right[thought].all()), overlap)


def _numbers(ids: NDArray[np.int64] | NDArray[np.int16]) -> list[int]:
    text = load_tokenizer().decode([int(id) for id in ids], skip_special_tokens=True)
    return [int(number) for number in re.findall(r"\d+", text)]


def _overlap(box: list[int], other: list[int]) -> float:
    """Intersection over union; 0 for what is no box."""
    if len(box) != 4 or len(other) != 4:
        return 0.0
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = sum((right - left) * (bottom - top) for left, top, right, bottom in (box, other))
    return shared / (areas - shared) if areas > shared else 0.0


# ---- The run.


def train(
    recipe: Recipe,
    out: Path,
    device: torch.device,
    *,
    stop_after: int | None = None,
    resume: Path | None = None,
    profile: bool = False,
) -> Trainer:
    """Trains up to the end of the recipe, or to `stop_after`, and writes what comes out under `out`."""
    log = Log()
    out.mkdir(parents=True, exist_ok=True)
    # Processes forked from one with a pool of threads would wait for threads that they do not have.
    torch.set_num_threads(1)
    held_out = held_out_batches(recipe)
    log(f"{len(held_out)} held-out batches of {recipe.layout.size / 1e6:.1f} MB")
    start = _steps_done(resume) if resume else 0
    stop = recipe.steps if stop_after is None else min(stop_after, recipe.steps)
    with closing(_start_workers(recipe, start, stop)) as workers:
        if device.type == "cpu":
            torch.set_num_threads(_cores())
        trainer = Trainer(recipe, device)
        if resume:
            load_state(trainer, resume)
        log(f"{sum(p.numel() for p in trainer.model.parameters()):,} parameters, from step {start}")
        if device.type == "cuda":
            trainer.capture(held_out[0].flat, profile=profile, log=log)
        with closing(Feed(workers, device, start, stop, reuse=recipe.reuse)) as feed:
            _run(trainer, feed, range(start, stop), held_out, log)
    if stop < recipe.steps:
        file = out / "state.safetensors"
        save_state(trainer, stop, file)
        log(f"stopped after step {stop}: {file}, {file.stat().st_size:,} bytes")
        return trainer
    trainer.round()
    log(f"with the weights rounded to bfloat16:\n{figures(trainer, held_out)}")
    export(trainer.model, out / "checkpoint")
    log(f"exported to {out / 'checkpoint'}")
    return trainer


def _run(trainer: Trainer, feed: Feed, steps: range, held_out: Sequence[HeldOut], log: Log) -> None:
    total = trainer.recipe.steps
    progress, figures_every = max(1, total // PROGRESS_LINES), max(1, total // FIGURES)
    line_began, line_step = time.monotonic(), steps.start
    for step in steps:
        feed.load(step, trainer.batch)
        trainer.step(step)
        done = step + 1
        if done % SYNCHRONIZE == 0 and not math.isfinite(float(trainer.answer_loss)):
            raise Diverged(f"the loss after step {done} is {float(trainer.answer_loss)}; try a lower rate")
        if done % progress == 0 or done == steps.stop:
            answer, character = float(trainer.answer_loss), float(trainer.character_loss)
            each = (time.monotonic() - line_began) / (done - line_step) * 1000
            log(
                f"step {done} of {total}: loss {answer:.4f}, characters {character:.4f},"
                f" {each:.2f} ms a step, waited {feed.waited:.1f} s for batches"
            )
            line_began, line_step = time.monotonic(), done
        if done % figures_every == 0 and done < total:
            log(f"held out, after step {done}:\n{figures(trainer, held_out)}")
            line_began, line_step = time.monotonic(), done


def _start_workers(recipe: Recipe, start: int, stop: int) -> Workers:
    numbers = batches_needed(start, stop, recipe.reuse)
    return Workers(recipe.layout, batch_maker(recipe), numbers, processes=max(1, _cores() - 1), slots=SLOTS)


def _steps_done(state: Path) -> int:
    with safe_open(state, framework="pt") as opened:
        return int(opened.metadata()["step"])


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the embedded model.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--steps", type=int, help="of the whole training, instead of the recipe's")
    parser.add_argument("--stop-after", type=int, metavar="S", help="end this call after step S with a state")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="a state to go on from")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a few steps of a smaller model")
    parser.add_argument("--profile", action="store_true", help="also print what a step's time goes to (cuda)")
    options = parser.parse_args()
    if options.profile and options.device != "cuda":
        parser.error("--profile measures the CUDA graph of a step; expected --device cuda")
    recipe = SMALL if options.small else Recipe()
    if options.steps is not None:
        recipe = replace(recipe, steps=options.steps)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    train(
        recipe,
        options.out,
        torch.device(options.device),
        stop_after=options.stop_after,
        resume=options.resume,
        profile=options.profile,
    )


if __name__ == "__main__":
    main()
