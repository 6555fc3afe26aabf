"""Packed batches: many sequences one after another, every batch of the same shape, in one flat buffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .conversation import SLOTS, UNKNOWN
from .encoding import PATCH, UNTRAINED, Encoded, Patches, Span

LONGEST = 512
"""Tokens of the longest sequence."""

MOST_PATCHES = 384
"""Patches of the largest picture, or pair of frames: what one piece of attention in the vision part has."""

LONGEST_SIDE = 200
"""Patches in a row, at most: the processor refuses pictures more than 200 times as long as wide."""

_MISFITS = 4
"""A batch is full when so many samples have not fitted."""

_PADDING = 256
"""What is left of a batch is divided into pieces of at most so many tokens or patches."""

_ALIGNMENT = 64
_TORCH_TYPES = {
    np.dtype(np.uint8): torch.uint8,
    np.dtype(np.int16): torch.int16,
    np.dtype(np.int32): torch.int32,
}

Arrays = Mapping[str, NDArray[Any]]
Tensors = Mapping[str, torch.Tensor]


class TooLong(ValueError):
    """A sample that no batch can hold: the generator has to draw smaller ones."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize


@dataclass(frozen=True)
class Layout:
    """
    What a batch can hold: tokens, patches of pictures, patches of clips, sequences, and pieces of attention
    in the vision part (a picture or a pair of frames each).

    Fields of a batch, `features` being a quarter of all patches, those of the pictures first:
    - `pictures` (pictures, 588), `clips` (clips, 1176): pixels of the patches
    - `characters` (pictures / 4, SLOTS): what the auxiliary loss asks for
    - `coordinates` (pictures + clips, 4): row, column of a patch, rows and columns of its picture
    - `piece_bounds`, `sequence_bounds`: where attention begins and ends, the last one repeated
    - `destinations` (features,): the token that a merged visual token stands for; `tokens` for none
    - `ids`, `labels` (tokens,): `labels` is the id that comes next, or UNTRAINED
    - `positions` (3, tokens)
    """

    tokens: int
    pictures: int
    clips: int
    sequences: int
    pieces: int

    @cached_property
    def fields(self) -> tuple[_Field, ...]:
        patches = self.pictures + self.clips
        shapes: list[tuple[str, type[np.generic], tuple[int, ...]]] = [
            ("pictures", np.uint8, (self.pictures, PATCH * PATCH * 3)),
            ("clips", np.uint8, (self.clips, 2 * PATCH * PATCH * 3)),
            ("characters", np.uint8, (self.pictures // 4, SLOTS)),
            ("coordinates", np.uint8, (patches, 4)),
            ("piece_bounds", np.int32, (self.pieces + 1,)),
            ("sequence_bounds", np.int32, (self.sequences + 1,)),
            ("destinations", np.int32, (patches // 4,)),
            ("ids", np.int16, (self.tokens,)),
            ("labels", np.int16, (self.tokens,)),
            ("positions", np.int16, (3, self.tokens)),
        ]
        fields: list[_Field] = []
        offset = 0
        for name, dtype, shape in shapes:
            fields.append(_Field(name, np.dtype(dtype), shape, offset))
            offset += -(-fields[-1].bytes // _ALIGNMENT) * _ALIGNMENT
        return tuple(fields)

    @cached_property
    def size(self) -> int:
        """Bytes of one batch."""
        last = self.fields[-1]
        return -(-(last.offset + last.bytes) // _ALIGNMENT) * _ALIGNMENT

    def arrays(self, buffer: bytearray | memoryview) -> Arrays:
        """The fields of a batch that lies in `buffer`, which they share."""
        return {
            field.name: np.frombuffer(buffer, np.uint8, field.bytes, field.offset)
            .view(field.dtype)
            .reshape(field.shape)
            for field in self.fields
        }

    def tensors(self, flat: torch.Tensor) -> Tensors:
        """The same of a batch in a tensor of `size` bytes, on any device."""
        return {
            field.name: flat[field.offset : field.offset + field.bytes]
            .view(_TORCH_TYPES[field.dtype])
            .view(field.shape)
            for field in self.fields
        }


@dataclass(frozen=True, slots=True)
class Placed:
    """A span and the token of the batch at which its sequence begins."""

    span: Span
    offset: int


def fill(layout: Layout, arrays: Arrays, next_sample: Callable[[], Encoded]) -> tuple[Placed, ...]:
    """Writes one batch, of samples until some have not fitted: those are dropped. Returns the spans in it."""
    packer = _Packer(layout, arrays)
    misfits = 0
    while misfits < _MISFITS:
        sample = next_sample()
        if packer.fits(sample):
            packer.add(sample)
        else:
            misfits += 1
    packer.pad()
    return tuple(packer.placed)


class _Packer:
    """One batch while it is filled."""

    def __init__(self, layout: Layout, arrays: Arrays) -> None:
        self._layout = layout
        self._arrays = arrays
        self._tokens = 0
        self._pictures = 0
        self._clips = 0
        self._picture_ends: list[int] = []
        self._clip_ends: list[int] = []
        self._sequence_ends: list[int] = []
        self.placed: list[Placed] = []
        arrays["characters"][:] = UNKNOWN
        arrays["destinations"][:] = layout.tokens
        arrays["labels"][:] = UNTRAINED
        arrays["coordinates"][:] = (0, 0, 1, 1)

    def fits(self, sample: Encoded) -> bool:
        """Whether there is room left. Raises TooLong for what an empty batch has no room for either."""
        pictures = sum(len(patches.pixels) for patches in sample.media if not patches.in_clip)
        clips = sum(len(patches.pixels) for patches in sample.media if patches.in_clip)
        self._refuse_too_long(sample, pictures, clips)
        layout = self._layout
        pieces = len(self._picture_ends) + len(self._clip_ends) + len(sample.runs)
        return (
            self._tokens + len(sample.ids) <= layout.tokens
            and self._pictures + pictures <= layout.pictures
            and self._clips + clips <= layout.clips
            and len(self._sequence_ends) + 1 <= layout.sequences - _paddings(layout.tokens)
            and pieces <= layout.pieces - _paddings(layout.pictures) - _paddings(layout.clips)
        )

    def _refuse_too_long(self, sample: Encoded, pictures: int, clips: int) -> None:
        tasks = ", ".join(span.task for span in sample.spans)
        if len(sample.ids) > min(LONGEST, self._layout.tokens):
            limit = min(LONGEST, self._layout.tokens)
            raise TooLong(f"a conversation ({tasks}) has {len(sample.ids)} tokens; expected {limit} at most")
        if pictures > self._layout.pictures or clips > self._layout.clips:
            raise TooLong(
                f"a conversation ({tasks}) has {pictures} patches of pictures and {clips} of clips; a batch"
                f" has room for {self._layout.pictures} and {self._layout.clips}"
            )
        for patches in sample.media:
            if (
                patches.rows * patches.columns > MOST_PATCHES
                or max(patches.rows, patches.columns) > LONGEST_SIDE
            ):
                raise TooLong(
                    f"a medium ({tasks}) has {patches.rows} x {patches.columns} patches; expected"
                    f" {MOST_PATCHES} at most, and {LONGEST_SIDE} at most on a side"
                )

    def add(self, sample: Encoded) -> None:
        start, end = self._tokens, self._tokens + len(sample.ids)
        self._arrays["ids"][start:end] = sample.ids
        self._arrays["labels"][start : end - 1] = sample.labels[1:]
        self._arrays["positions"][:, start:end] = sample.positions
        runs = iter(sample.runs)
        for patches in sample.media:
            for feature in self._add_patches(patches):
                run = next(runs)
                cells = run.rows * run.columns
                self._arrays["destinations"][feature : feature + cells] = np.arange(
                    start + run.start, start + run.end
                )
        self.placed.extend(Placed(span, start) for span in sample.spans)
        self._tokens = end
        self._sequence_ends.append(end)

    def _add_patches(self, patches: Patches) -> list[int]:
        """Returns the first merged feature of the picture, or of every pair of frames."""
        count, piece = len(patches.pixels), patches.rows * patches.columns
        if patches.in_clip:
            start, first = self._clips, self._layout.pictures + self._clips
            self._arrays["clips"][start : start + count] = patches.pixels
            self._clips += count
            self._clip_ends.extend(range(start + piece, start + count + 1, piece))
        else:
            start = first = self._pictures
            self._arrays["pictures"][start : start + count] = patches.pixels
            self._pictures += count
            self._picture_ends.append(self._pictures)
            if patches.characters is not None:
                self._arrays["characters"][start // 4 : self._pictures // 4] = patches.characters
        for offset in range(first, first + count, piece):
            self._arrays["coordinates"][offset : offset + piece] = _coordinates(patches.rows, patches.columns)
        return [offset // 4 for offset in range(first, first + count, piece)]

    def pad(self) -> None:
        """What is left becomes zeros: a buffer that is used again holds the same bytes as a fresh one."""
        layout, arrays = self._layout, self._arrays
        arrays["pictures"][self._pictures :] = 0
        arrays["clips"][self._clips :] = 0
        arrays["ids"][self._tokens :] = 0
        arrays["positions"][:, self._tokens :] = 0
        pictures = _padded(self._picture_ends, layout.pictures)
        clips = _padded(self._clip_ends, layout.clips)
        _set_bounds(arrays["piece_bounds"], pictures + [layout.pictures + end for end in clips])
        _set_bounds(arrays["sequence_bounds"], _padded(self._sequence_ends, layout.tokens))


def _paddings(room: int) -> int:
    """The most pieces that padding takes."""
    return -(-room // _PADDING)


def _padded(ends: list[int], room: int) -> list[int]:
    used = ends[-1] if ends else 0
    return [*ends, *range(used + _PADDING, room, _PADDING), *([room] if used < room else [])]


def _set_bounds(bounds: NDArray[np.int32], ends: list[int]) -> None:
    bounds[0] = 0
    bounds[1 : len(ends) + 1] = ends
    bounds[len(ends) + 1 :] = ends[-1]


@lru_cache(maxsize=4096)
def _coordinates(rows: int, columns: int) -> NDArray[np.uint8]:
    """(rows · columns, 4) of a picture, four patches of one token next to each other."""
    coordinates = np.empty((rows, columns, 4), np.uint8)
    coordinates[..., 0] = np.arange(rows)[:, None]
    coordinates[..., 1] = np.arange(columns)
    coordinates[..., 2:] = rows, columns
    blocks = coordinates.reshape(rows // 2, 2, columns // 2, 2, 4)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(-1, 4)
