"""Conversation → what one sequence of a batch holds: ids, labels, positions, patches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glimpse_worker.prompt import answer_only

from .conversation import SLOTS, Clip, Conversation, Medium, Picture, Task, Turn

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from .conversation import Pixels

UNTRAINED = -100
"""A label that carries no loss."""

PATCH = 14
CELL = 2 * PATCH
"""Pixels on a side of one merged visual token."""

CUT_SHARE = 0.08
"""How many thoughts are cut short, so that the model has met what `maxThinkingTokens` does."""


@dataclass(frozen=True, slots=True)
class Run:
    """The visual tokens of one picture or of one pair of frames: `rows` × `columns` from `start` on."""

    start: int
    rows: int
    columns: int
    in_clip: bool

    @property
    def end(self) -> int:
        return self.start + self.rows * self.columns


@dataclass(frozen=True, slots=True)
class Patches:
    """
    A medium cut into patches, four that become one token next to each other, as Glm4v wants them.

    `pixels` is (patches, 14 · 14 · 3) for a picture and (patches, 2 · 14 · 14 · 3) for a clip, colours last:
    copied in stretches of 42 bytes, and the forward orders its kernel likewise. `rows` and `columns` count
    the patches of the picture or of each pair of frames. `characters` is (patches / 4, SLOTS).
    """

    pixels: Pixels
    rows: int
    columns: int
    in_clip: bool
    characters: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Where a trained turn stands: its thought from `thought`, its answer from `answer` up to `end`."""

    task: Task
    thought: int
    answer: int
    end: int
    characters: int
    lines: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """
    `ids`, `labels` and `types` are (tokens,), `positions` is (3, tokens): time, row, column as by
    transformers' get_rope_index. `types` is 1 for a picture's token, 2 for a clip's, else 0. `labels` holds
    at each place the id that stands there, not the next one.
    """

    ids: NDArray[np.int16]
    labels: NDArray[np.int16]
    positions: NDArray[np.int16]
    types: NDArray[np.int8]
    runs: tuple[Run, ...]
    media: tuple[Patches, ...]
    spans: tuple[Span, ...]


def encode(conversation: Conversation, tokenizer: Tokenizer, rng: Random | None) -> Encoded:
    """The whole conversation as one sequence. Without `rng` no thought is cut."""
    sequence = _Sequence(tokenizer)
    sequence.say("[gMASK]<sop>")
    if conversation.system is not None:
        sequence.say(f"<|system|>\n{conversation.system}")
    sequence.say("<|user|>")
    last = len(conversation.turns) - 1
    for number, turn in enumerate(conversation.turns):
        sequence.ask(turn, text_first=conversation.text_first and number == 0)
        if conversation.plain_history and number < last:
            sequence.say(f"<|assistant|>\n{answer_only(turn.answer)}")
            sequence.say("<|user|>")
        else:
            sequence.answer(turn, rng)
    return sequence.encoded()


class _Sequence:
    """A sequence that grows."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._labels: list[int] = []
        self._runs: list[Run] = []
        self._media: list[Patches] = []
        self._spans: list[Span] = []

    def say(self, text: str, *, trained: bool = False) -> None:
        self._add(_ids(self._tokenizer, text), trained=trained)

    def ask(self, turn: Turn, *, text_first: bool) -> None:
        """The question and its media; `<|user|>` stands there already, as the end of what came before."""
        if text_first or not turn.media:
            self.say(f"\n{turn.question}")
            self._show(turn.media)
        else:
            self.say("\n")
            self._show(turn.media)
            self.say(turn.question)

    def answer(self, turn: Turn, rng: Random | None) -> None:
        self.say("<|assistant|>\n")
        thought_start = len(self._ids)
        thought = _ids(self._tokenizer, turn.thought)
        cut = _cut(len(thought), rng)
        self.say("<think>", trained=cut is None)
        self._add(thought[:cut], trained=cut is None)
        self.say("</think><answer>", trained=cut is None)
        answer_start = len(self._ids)
        self.say(turn.answer, trained=True)
        self.say("</answer><|user|>", trained=True)
        breaks = turn.answer.count("\n")
        characters = len(turn.answer) - breaks
        self._spans.append(
            Span(turn.task, thought_start, answer_start, len(self._ids), characters, breaks + 1)
        )

    def encoded(self) -> Encoded:
        types = np.zeros(len(self._ids), np.int8)
        for run in self._runs:
            types[run.start : run.end] = 2 if run.in_clip else 1
        return Encoded(
            ids=np.array(self._ids, np.int16),
            labels=np.array(self._labels, np.int16),
            positions=_positions(len(self._ids), self._runs),
            types=types,
            runs=tuple(self._runs),
            media=tuple(self._media),
            spans=tuple(self._spans),
        )

    def _add(self, ids: tuple[int, ...], *, trained: bool) -> None:
        self._ids.extend(ids)
        self._labels.extend(ids if trained else [UNTRAINED] * len(ids))

    def _show(self, media: tuple[Medium, ...]) -> None:
        for medium in media:
            match medium:
                case Picture():
                    self._run(medium.pixels, in_clip=False)
                    self._media.append(_picture_patches(medium))
                case Clip():
                    self.say("<|begin_of_video|>")
                    for second in medium.seconds:
                        self._run(medium.pixels[0], in_clip=True)
                        self.say(str(second))
                    self.say("<|end_of_video|>")
                    self._media.append(_clip_patches(medium))

    def _run(self, pixels: Pixels, *, in_clip: bool) -> None:
        rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
        self.say("<|begin_of_image|>")
        self._runs.append(Run(len(self._ids), rows, columns, in_clip))
        self._add(_ids(self._tokenizer, "<|image|>") * (rows * columns), trained=False)
        self.say("<|end_of_image|>")


@lru_cache(maxsize=50_000)
def _ids(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Questions, thoughts and many answers come again and again."""
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)


def _cut(length: int, rng: Random | None) -> int | None:
    """How many tokens of a thought are shown; None for a thought that is whole."""
    if rng is None or rng.random() >= CUT_SHARE:
        return None
    if length < 2 or rng.random() < 0.5:
        return 0
    return rng.randrange(1, length)


def _positions(length: int, runs: list[Run]) -> NDArray[np.int16]:
    """(3, length). A run takes as much of the positions as the longer side of its grid."""
    positions = np.empty((3, length), np.int16)
    done = position = 0
    for run in runs:
        text = run.start - done
        positions[:, done : run.start] = np.arange(position, position + text)
        position += text
        positions[:, run.start : run.end] = position
        positions[1:, run.start : run.end] += _grid(run.rows, run.columns)
        position += max(run.rows, run.columns)
        done = run.end
    positions[:, done:] = np.arange(position, position + length - done)
    return positions


@lru_cache(maxsize=4096)
def _grid(rows: int, columns: int) -> NDArray[Any]:
    """(2, rows · columns): row and column of every cell."""
    return np.indices((rows, columns), np.int16).reshape(2, -1)


def _picture_patches(picture: Picture) -> Patches:
    rows, columns = picture.pixels.shape[0] // CELL, picture.pixels.shape[1] // CELL
    blocks = picture.pixels.reshape(rows, 2, PATCH, columns, 2, PATCH, 3)
    pixels = blocks.transpose(0, 3, 1, 4, 2, 5, 6).reshape(-1, PATCH * PATCH * 3)
    characters = picture.characters
    if characters is not None and characters.shape != (rows * columns, SLOTS):
        raise ValueError(
            f"a picture of {rows} x {columns} cells has characters of shape {characters.shape};"
            f" expected {(rows * columns, SLOTS)}"
        )
    return Patches(pixels, 2 * rows, 2 * columns, in_clip=False, characters=characters)


def _clip_patches(clip: Clip) -> Patches:
    frames, height, width = clip.pixels.shape[:3]
    if frames != 2 * len(clip.seconds):
        raise ValueError(
            f"a clip of {frames} frames names {len(clip.seconds)} seconds; expected one per pair"
        )
    rows, columns = height // CELL, width // CELL
    blocks = clip.pixels.reshape(frames // 2, 2, rows, 2, PATCH, columns, 2, PATCH, 3)
    pixels = blocks.transpose(0, 2, 5, 3, 6, 1, 4, 7, 8).reshape(-1, 2 * PATCH * PATCH * 3)
    return Patches(pixels, 2 * rows, 2 * columns, in_clip=True)
