"""What the host tells the device of a batch: a few small tensors, copied in as few pieces as possible."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...device import to_device
from .ops import Chunk as PackedChunk
from .sampler import Rows, uniforms
from .sequence import Chunk, Sequence

Integers = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sampled:
    """
    How the next token of each of n sequences is sampled: slots and turns in which it is kept, top-k, int32
    (3, n); temperatures, top-p, penalties, random numbers, float32 (4, n).
    """

    integers: Integers
    floats: Floats
    penalised: bool

    @classmethod
    def of(cls, sequences: List[Sequence]) -> Sampled:
        settings = [sequence.sampling for sequence in sequences]
        uniform = uniforms(
            np.array([setting.seed for setting in settings], dtype=np.uint64),
            np.array([sequence.generated for sequence in sequences], dtype=np.uint64),
        )
        penalties = [setting.repetition_penalty for setting in settings]
        floats = [
            [setting.temperature for setting in settings],
            [setting.top_p for setting in settings],
            penalties,
            uniform,
        ]
        integers = [
            [sequence.slot for sequence in sequences],
            [(sequence.length + 1) % 2 for sequence in sequences],
            [setting.top_k for setting in settings],
        ]
        return cls(
            np.array(integers, dtype=np.int32),
            np.array(floats, dtype=np.float32),
            any(penalty != 1 for penalty in penalties),
        )


@dataclass(frozen=True, slots=True)
class Prompts:
    """
    The n tokens of some chunks, one after another: ids (n,), positions (3, n), KV slots (n,), pages of each
    chunk's sequence int32 (chunks, m).
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    slots: Integers
    table: Integers
    chunks: List[PackedChunk]

    @classmethod
    def of(cls, chunks: List[Chunk], page_size: int) -> Prompts:
        parts = [(chunk.sequence, chunk.start, chunk.end) for chunk in chunks]
        firsts = accumulate((chunk.count for chunk in chunks), initial=0)
        return cls(
            ids=np.concatenate([sequence.ids[start:end] for sequence, start, end in parts]),
            positions=np.concatenate(
                [sequence.positions(start, end) for sequence, start, end in parts], axis=1
            ),
            slots=np.concatenate(
                [kv_slots(sequence, start, end, page_size) for sequence, start, end in parts]
            ),
            table=page_table([chunk.sequence for chunk in chunks]),
            chunks=[
                PackedChunk(first=first, count=chunk.count, start=chunk.start)
                for first, chunk in zip(firsts, chunks, strict=False)
            ],
        )


@dataclass(frozen=True, slots=True)
class Decoded:
    """
    The last token of each of n sequences: positions, KV slots, lengths, slots in which it is kept, int32
    (4, n); pages int32 (n, m).
    """

    integers: Integers
    table: Integers

    @classmethod
    def of(cls, sequences: List[Sequence], page_size: int) -> Decoded:
        indices = [sequence.length - 1 for sequence in sequences]
        pairs = list(zip(sequences, indices, strict=True))
        integers = [
            [sequence.position(index) for sequence, index in pairs],
            [sequence.pages[index // page_size] * page_size + index % page_size for sequence, index in pairs],
            [index + 1 for index in indices],
            [sequence.slot for sequence in sequences],
        ]
        return cls(np.array(integers, dtype=np.int32), page_table(sequences))


@dataclass(frozen=True, slots=True)
class Inputs:
    """Decoded on the device; the same tensors are filled again and again for a captured graph."""

    integers: Tensor
    table: Tensor

    @classmethod
    def upload(cls, decoded: Decoded, device: torch.device) -> Inputs:
        return cls(to_device(decoded.integers, device), to_device(decoded.table, device))


def rows(top_k: Tensor, floats: Tensor) -> Rows:
    """The sampler's view of what `Sampled` holds, on the device."""
    temperature, top_p, penalty, uniform = floats
    return Rows(temperature=temperature, top_p=top_p, top_k=top_k, penalty=penalty, uniform=uniform)


def page_table(sequences: List[Sequence]) -> Integers:
    """A row per sequence, padded with page 0, at which nobody looks beyond a sequence's length."""
    table = np.zeros((len(sequences), max(len(s.pages) for s in sequences)), dtype=np.int32)
    for row, sequence in zip(table, sequences, strict=True):
        row[: len(sequence.pages)] = sequence.pages
    return table


def kv_slots(sequence: Sequence, start: int, end: int, page_size: int) -> Integers:
    """Where the keys and values of tokens `start` to `end` go."""
    index = np.arange(start, end, dtype=np.int32)
    pages = np.array(sequence.pages, dtype=np.int32)
    return pages[index // page_size] * page_size + index % page_size
