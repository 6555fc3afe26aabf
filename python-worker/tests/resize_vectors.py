"""
How many tokens pictures and videos of many sizes become, by the worker's own code.

protocol/resize-vectors.json holds the answers, for the tests of both languages. To write it anew, in
python-worker:

    PYTHONPATH=. python tests/resize_vectors.py
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glimpse_worker.media import MediaKind
from glimpse_worker.media_tokens import count_tokens, header_size
from glimpse_worker.preprocessing import Preprocessing
from glimpse_worker.prompt import ImageTokens, MediumTokens
from glimpse_worker.protocol import ImageMedia, VideoMedia

FILE = Path(__file__).parents[2] / "protocol" / "resize-vectors.json"

Vector = dict[str, Any]

_NAMES = ("patchSize", "mergeSize", "temporalPatchSize", "minPixels", "maxPixels")
LIMITS: dict[str, tuple[int, int, int, int, int]] = {
    "published image": (14, 2, 2, 12_544, 9_633_792),
    "published video": (14, 2, 2, 12_544, 47_040_000),
    "embedded image": (14, 2, 2, 12_544, 150_528),
    "embedded video": (14, 2, 2, 12_544, 125_440),
    "three frames a patch": (16, 2, 3, 50_000, 400_000),
}
_SIZES = [
    *[(1, 1), (1, 2), (3, 5), (14, 14), (27, 27), (28, 28), (29, 55), (42, 42), (42, 70), (70, 98)],
    *[(112, 112), (224, 224), (333, 500), (640, 480), (641, 479), (672, 672), (1024, 768)],
    *[(1999, 1501), (3840, 2160)],
    # At 200:1, at its border, and beyond, where the worker pads.
    *[(1, 200), (1, 201), (200, 1), (201, 1), (2, 401), (5600, 28), (5601, 28), (28, 5628), (3, 65_535)],
    *[(30_000, 100), (65_535, 1), (1, 1_000_000), (100_000_000, 1)],
    *[(9_999, 10_000), (10_000, 10_000), (16_384, 16_384), (65_535, 65_535)],
]
_FRAMES = [1, 2, 3, 4, 5, 6, 7, 9, 16, 63, 64, 300, 1201]
_RANDOM = 60


def make_vectors() -> list[Vector]:
    return [_vector(*case) for case in _cases()]


def limits_of(name: str) -> dict[str, int]:
    return dict(zip(_NAMES, LIMITS[name], strict=True))


def _cases() -> Iterator[tuple[MediaKind, str, int, int, int]]:
    """Kind, limits, width, height, number of frames."""
    choice = random.Random(5)
    for name in LIMITS:
        kind: MediaKind = "video" if name.endswith("video") else "image"
        for number, (width, height) in enumerate(_SIZES):
            yield kind, name, width, height, _FRAMES[number % len(_FRAMES)]
        for _ in range(_RANDOM):
            width, height = (int(2 ** (choice.random() * 14)) for _ in "wh")
            yield kind, name, width, height, int(2 ** (choice.random() * 9))
    for frames in _FRAMES:
        yield "video", "published video", 640, 360, frames
        yield "video", "embedded video", 42, 70, frames
        yield "video", "three frames a patch", 320, 240, frames


def _vector(kind: MediaKind, limits: str, width: int, height: int, frames: int) -> Vector:
    vector = {"kind": kind, "width": width, "height": height}
    if kind == "video":
        vector["frames"] = frames
    tokens = worker_tokens(kind, width, height, frames if kind == "video" else 1, LIMITS[limits])
    return {**vector, "limits": limits, "tokens": tokens}


def worker_tokens(
    kind: MediaKind, width: int, height: int, frames: int, limits: tuple[int, int, int, int, int]
) -> int:
    numbers = Preprocessing(*limits, image_mean=(0, 0, 0), image_std=(1, 1, 1))
    header = _png_header(width, height)
    size = header_size(kind, [header] * frames, 0, numbers)
    medium = ImageMedia(bytes=1) if kind == "image" else VideoMedia(bytes=[1] * frames, fps=2.0)
    return _in_prompt(count_tokens(medium, size, numbers))


def _in_prompt(tokens: MediumTokens) -> int:
    return tokens.count if isinstance(tokens, ImageTokens) else tokens.per_patch * len(tokens.seconds)


def _png_header(width: int, height: int) -> bytes:
    """All that is read of a PNG to know its size: pictures of any size cost nothing here."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def as_json(vectors: list[Vector]) -> str:
    """One vector a line, so that a change shows as what it is."""
    limits = json.dumps({name: limits_of(name) for name in LIMITS}, indent=2).replace("\n", "\n  ")
    lines = ",\n".join(f"    {{ {json.dumps(vector)[1:-1]} }}" for vector in vectors)
    return f'{{\n  "limits": {limits},\n  "vectors": [\n{lines}\n  ]\n}}\n'


if __name__ == "__main__":
    FILE.write_text(as_json(make_vectors()))
