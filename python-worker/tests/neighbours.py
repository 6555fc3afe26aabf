"""Parts without the way in which they came."""

from __future__ import annotations

from collections.abc import Sequence

from glimpse_worker.protocol import BoxPart, Part


def merged(parts: Sequence[Part]) -> list[Part]:
    """The same with neighbours of a kind as one."""
    out: list[Part] = []
    for part in parts:
        last = out[-1] if out else None
        if not isinstance(part, BoxPart) and last is not None and isinstance(last, type(part)):
            out[-1] = type(part)(last.text + part.text)
        else:
            out.append(part)
    return out
