"""What the scripted engine plays: a toy vocabulary, and scripts named by the user's text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from string import ascii_lowercase
from typing import Literal, get_args

from ..failure import WorkerFailure
from ..protocol import Generate, TextContent
from ..tags import TAGS

STOP_TOKEN_ID = 256
_special = {STOP_TOKEN_ID: "<|user|>", **dict(enumerate(sorted(TAGS), start=STOP_TOKEN_ID + 1))}
_special_ids = {text: token for token, text in _special.items()}
_any_special = re.compile(f"({'|'.join(map(re.escape, _special_ids))})")

ScriptedFault = Literal[
    "crash", "exit", "allocate", "hang", "gil", "stop", "children", "oom", "babble", "poison"
]
FAULTS: dict[str, ScriptedFault] = {fault: fault for fault in get_args(ScriptedFault)}
SURVIVED = frozenset[ScriptedFault]({"stop", "children"})
"""After these the answer goes on to its end."""
PAUSES_S = {"normal": (0.001,), "slow": (0.02,), "stutter": (0.0, 0.05, 0.001, 0.0, 0.12, 0.02)}
"""The pauses before each token, over and over."""
_command = re.compile(r"(?P<name>[a-z]+) (?P<count>\d{1,6})|say (?P<text>.+)", re.DOTALL)


@dataclass(frozen=True)
class Script:
    """Ids to play, with pauses in seconds before each; `fault` comes after the first `fault_at` of them."""

    ids: tuple[int, ...]
    pauses_s: tuple[float, ...] = PAUSES_S["normal"]
    fault: ScriptedFault | None = None
    fault_at: int | None = None


def encode(text: str) -> list[int]:
    """One id per tag or stop token, else one per byte of UTF-8."""
    ids: list[int] = []
    for piece in _any_special.split(text):
        ids.extend([_special_ids[piece]] if piece in _special_ids else piece.encode())
    return ids


def decode(ids: Sequence[int]) -> str:
    """As a byte-level tokenizer does: the bytes joined, what is no UTF-8 replaced by U+FFFD."""
    return b"".join(
        _special[token].encode() if token in _special else bytes([token]) for token in ids
    ).decode(errors="replace")


def read_script(request: Generate) -> Script:
    """The script that the text of the last user message names. Raises WorkerFailure INVALID_REQUEST.

    What is played depends on the request alone, so another worker goes on with it, and breaks at the same
    place. `say TEXT` answers TEXT; the others answer with N letters, one token each:

    - `normal N`, `slow N` (20 ms a token), `stutter N` (irregular pauses) end well.
    - `crash N` is then ended by SIGSEGV, `exit N` leaves with EXIT_SCRIPTED, and `allocate N` takes memory up
      to a limit of the process, which ends it by SIGABRT.
    - `hang N` hangs with the interpreter's lock free, `gil N` holds it, so that heartbeats stop too.
    - `stop N` stops the whole process by SIGSTOP, and ends well when somebody sends SIGCONT.
    - `children N` starts a process that sleeps, and ends well.
    - `oom N` fails as GPU_OUT_OF_MEMORY, alone; `poison N` fails, and the engine breaks with it.
    - `babble N` sends on the data channel what is no message.
    """
    text = _last_user_text(request)
    command = _command.fullmatch(text)
    if command is None:
        raise _unknown(text)
    if command["text"] is not None:
        return Script(tuple(encode(_framed(command["text"]))))
    name, letters = command["name"], "".join(islice(cycle(ascii_lowercase), int(command["count"])))
    if name in PAUSES_S:
        return Script(tuple(encode(_framed(letters))), PAUSES_S[name])
    if name in FAULTS:
        fault, before = FAULTS[name], encode(_opened(letters))
        ids = encode(_framed(letters)) if fault in SURVIVED else before
        return Script(tuple(ids), fault=fault, fault_at=len(before))
    raise _unknown(text)


def _opened(answer: str) -> str:
    return f"<think>I play a script.</think><answer>{answer}"


def _framed(answer: str) -> str:
    return f"{_opened(answer)}</answer>{_special[STOP_TOKEN_ID]}"


def _last_user_text(request: Generate) -> str:
    for message in reversed(request.messages):
        if message.role == "user":
            return "".join(content.text for content in message.content if isinstance(content, TextContent))
    return ""


def _unknown(text: str) -> WorkerFailure:
    names = ", ".join((*PAUSES_S, *FAULTS))
    return WorkerFailure(
        "INVALID_REQUEST",
        f"the scripted engine plays {names} with a number, or say with a text; it was asked {text[:80]!r}",
        'Send a user message such as "normal 20" or "say hello".',
    )
