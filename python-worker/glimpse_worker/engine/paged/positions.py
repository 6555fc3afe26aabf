"""M-RoPE positions: where a token stands in time, height and width, as transformers' Glm4v computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .spans import Span

Positions = npt.NDArray[np.int32]
"""(3, tokens): time, height, width."""


def prompt_positions(length: int, spans: Sequence[Span], merge_size: int) -> tuple[Positions, int]:
    """
    The positions of a prompt's tokens, as Glm4vModel.get_rope_index gives them, and what to add to a later
    token's index for its position (the same in all three; transformers' rope_deltas).

    Text counts on in all three. A span's tokens share one time, and count rows and columns from there; the
    text after it goes on behind the longer side.
    """
    pieces: list[Positions] = []
    index = position = 0
    for span in spans:
        pieces.append(_text(position, span.start - index))
        position += span.start - index
        height, width = span.shown.height // merge_size, span.shown.width // merge_size
        pieces.append(_grid(position, height, width))
        position += max(height, width)
        index = span.end
    pieces.append(_text(position, length - index))
    positions = np.concatenate(pieces, axis=1)
    return positions, int(positions.max()) + 1 - length


def _text(start: int, count: int) -> Positions:
    return np.broadcast_to(np.arange(start, start + count, dtype=np.int32), (3, count))


def _grid(start: int, height: int, width: int) -> Positions:
    rows, columns = np.divmod(np.arange(height * width, dtype=np.int32), np.int32(width))
    return np.stack([np.full_like(rows, start), start + rows, start + columns])
