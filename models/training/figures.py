"""How much of held-out batches the model gets right, with all earlier tokens given."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .conversation import Task
from .encoding import encode
from .mixture import draw
from .packing import Arrays, Placed, fill
from .recipe import Recipe
from .vocabulary import load_tokenizer

Predict = Callable[[Tensor], NDArray[np.int64]]
"""(tokens,): the likeliest next id at every token of a batch."""


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


@dataclass(frozen=True, slots=True)
class Score:
    """Of one turn. `thought` counts only what is trained of it; `overlap` is of boxes."""

    answer: bool
    thought: bool
    overlap: float | None


def figures(predict: Predict, batches: Sequence[HeldOut]) -> str:
    """
    A line per group of turns: how many, how often the answer was right, and how often the thought before it
    too, which is then what greedy decoding answers.
    """
    groups: dict[str, list[Score]] = defaultdict(list)
    for batch in batches:
        predicted = predict(batch.flat)
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
