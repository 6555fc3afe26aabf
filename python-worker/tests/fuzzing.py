"""Messages and frames that no orchestrator of ours would send, by a seed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

ODD_VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**32, 2**63, 0.5, -0.0, 1e300, float("nan"), float("inf"), "", "r1",
    "x" * 65, "\ud7ff\U0001f642", "猫", "<|image|>", b"", b"\xff", [], [[]], [0], [511, 0], [512], {},
    {"type": "text"}, {"kind": "image", "bytes": 3},
]  # fmt: skip


def mutated_frame(original: bytes, random: Random) -> bytes:
    """`original` with some bytes changed, lost, repeated, or followed by others."""
    frame = bytearray(original)
    for _ in range(random.randint(1, 4)):
        at, length = random.randrange(len(frame) + 1), random.randint(1, 12)
        match random.randrange(5):
            case 0:
                frame[at : at + length] = random.randbytes(length)
            case 1:
                del frame[at : at + length]
            case 2:
                frame[at:at] = frame[at : at + length]
            case 3:
                del frame[at:]
            case _:
                frame += random.randbytes(length)
    return bytes(frame)


def mutated_message(message: dict[str, Any], random: Random) -> dict[str, Any]:
    """`message` with something in it replaced, left out, repeated, or added."""
    message = copy.deepcopy(message)
    for _ in range(random.randint(1, 2)):
        holder, key = random.choice(list(_places(message)))
        match random.randrange(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case 2 if isinstance(holder, dict):
                holder["surprise"] = random.choice(ODD_VALUES)
            case _:
                holder[key] = copy.deepcopy(random.choice(ODD_VALUES))
        if not message:
            break
    return message


def packed(message: dict[str, Any]) -> bytes:
    return msgspec.msgpack.encode(message)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a value where something stands: what holds it, and the key or index there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])
