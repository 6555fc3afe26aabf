"""Names for what a medium shows: equal keys mean equal features, from equally large pictures."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b

from .media import MediaKind
from .protocol import Frame


def media_keys(
    kind: MediaKind, frames: Sequence[Frame], size: tuple[int, int], temporal_patch_size: int
) -> tuple[bytes, ...]:
    """
    A key of 16 bytes for each temporal patch of a medium: one for a picture, and the same for equal frames
    of different videos. `size` is that of `header_size`.

    Nothing is decoded for them: the encoded bytes, which hold the orientation too, and that size leave only
    one way to resize. They are good within one process, whose preprocessing numbers do not change.
    """
    step = 1 if kind == "image" else temporal_patch_size
    return tuple(
        _key(kind, frames[start : start + step], size, step) for start in range(0, len(frames), step)
    )


def _key(kind: str, frames: Sequence[Frame], size: tuple[int, int], count: int) -> bytes:
    digest = blake2b(digest_size=16, person=kind.encode())
    digest.update(struct.pack("<qq", *size))
    # As in the pixels: the last frame of a video is repeated to fill its temporal patch.
    for frame in [*frames, *[frames[-1]] * (count - len(frames))]:
        digest.update(struct.pack("<q", len(frame)))
        digest.update(frame)
    return digest.digest()


def file_digest(data: Frame) -> bytes:
    """Of a whole file, for `extracted_key`."""
    return blake2b(data, digest_size=32, person=b"file").digest()


def extracted_key(kind: MediaKind, digest: bytes, size: tuple[int, int], parts: Sequence[int]) -> bytes:
    """
    Of what the numbers `parts` take out of the file with that digest: the indices of the frames of a temporal
    patch, or the page and how large it is drawn. `size` is that to which it is resized.
    """
    key = blake2b(digest, digest_size=16, person=f"{kind} of file".encode())
    key.update(struct.pack(f"<qq{len(parts)}q", *size, *parts))
    return key.digest()
