"""
A request that goes on after its worker has died is the request that was never disturbed: whatever of it had
arrived, and however it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec
import pytest
from boards import CIRCLE, HELLO, SQUARE, UNENDING, Board, board
from drawing import red_circle, shapes
from embedded import Answer, user
from oracle import Question
from worker_process import WorkerProcess

from glimpse_worker.protocol import (
    BoxPart,
    DataFromWorker,
    Done,
    Part,
    RequestKey,
    RequestWarning,
    Tokens,
    TokensItem,
    Usage,
)

TWO_PICTURES = Question(
    [user(0, 1, "Where is the blue square?")],
    [red_circle((112, 112)), shapes((224, 168), ("square", "blue", (120, 90, 180, 150)))],
)
NUMBER = Question([user("Name a random number.")])
WARM: dict[str, Any] = {"temperature": 8.0, "top_p": 0.95, "top_k": 40, "seed": 7, "max_new_tokens": 40}
"""Options that draw something else than the likeliest answer."""


@dataclass(frozen=True)
class Case:
    question: Question
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "text": Case(HELLO),
    "picture": Case(CIRCLE),
    "picture, drawn": Case(CIRCLE, WARM),
    "text, drawn, with a penalty": Case(NUMBER, {**WARM, "repetition_penalty": 1.3}),
    "box": Case(SQUARE),
    "box of the last picture": Case(TWO_PICTURES),
    "broken bytes": Case(HELLO, {**UNENDING, "seed": 249, "max_new_tokens": 48}),
    "thinking cut": Case(CIRCLE, {"max_thinking_tokens": 3}),
    "thinking cut, drawn": Case(NUMBER, {**WARM, "max_thinking_tokens": 2}),
    "no thinking": Case(CIRCLE, {"max_thinking_tokens": 0}),
    "stop string": Case(CIRCLE, {"stop": [" on a"]}),
    "stop string that does not come": Case(CIRCLE, {"stop": [" circle is", "whites"]}),
    "length": Case(CIRCLE, {"max_new_tokens": 13}),
    "length amid what may be a stop string": Case(CIRCLE, {"stop": [" on a"], "max_new_tokens": 13}),
    "length beyond the context": Case(HELLO, {"max_new_tokens": 10**6}),
}


@dataclass(frozen=True)
class Told:
    """What a caller has of a request, joined over its attempts."""

    ids: list[int]
    parts: list[Part]
    warnings: list[RequestWarning]
    reason: str
    usage: Usage


def joined(attempts: Sequence[Sequence[DataFromWorker]]) -> Told:
    messages = [message for attempt in attempts for message in attempt]
    ids: list[int] = []
    parts: list[Part] = []
    for item in items(messages):
        assert item.index == len(ids), "an id is missing or repeated"
        ids += item.ids
        for part in item.parts:
            if parts and type(part) is type(parts[-1]) and not isinstance(part, BoxPart):
                parts[-1] = replace_text(parts[-1], part)
            else:
                parts.append(part)
    [done] = [message for message in messages if isinstance(message, Done)]
    assert min(msgspec.to_builtins(done.timing).values()) >= 0
    warnings = [
        msgspec.structs.replace(message, request="r", attempt=0)
        for message in messages
        if isinstance(message, RequestWarning)
    ]
    return Told(ids, parts, warnings, done.finish_reason, done.usage)


def said_of(answer: Answer) -> list[DataFromWorker]:
    """What was said about a request; a step's message holds the tokens of others too."""
    return [
        Tokens(items=[item for item in message.items if item.request == answer.name])
        if isinstance(message, Tokens)
        else message
        for message in answer.wait().messages
    ]


def replace_text(first: Any, second: Any) -> Any:
    return msgspec.structs.replace(first, text=first.text + second.text)


def items(messages: Sequence[DataFromWorker]) -> Iterator[TokensItem]:
    for message in messages:
        if isinstance(message, Tokens):
            yield from message.items


def beginnings(messages: Sequence[DataFromWorker]) -> Iterator[list[DataFromWorker]]:
    """What may have arrived when a worker dies: all up to some message with tokens."""
    for count, message in enumerate(messages, start=1):
        if isinstance(message, Tokens) and any(item.ids for item in message.items):
            yield list(messages[:count])


@pytest.fixture(scope="module")
def first() -> Iterator[Board]:
    with board() as own:
        yield own


@pytest.fixture(scope="module")
def other() -> Iterator[Board]:
    """The engine of the worker that takes over."""
    with board() as own:
        yield own


def uncached(told: Told) -> Told:
    """Without what depends on the engine's caches, which other requests fill."""
    return replace(told, usage=msgspec.structs.replace(told.usage, cached_tokens=0, cached_image_tokens=0))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_wherever_an_answer_is_cut_it_goes_on_as_if_nothing_had_been(
    case: Case, first: Board, other: Board
) -> None:
    whole = said_of(first.ask_about(case.question, **case.options))
    undisturbed = joined([whole])
    cuts = list(beginnings(whole))
    rests = [
        other.ask_about(case.question, generated=joined_ids(beginning), **case.options) for beginning in cuts
    ]
    for beginning, rest in zip(cuts, rests, strict=True):
        told = joined([beginning, said_of(rest)])
        assert uncached(told) == uncached(undisturbed), f"cut after {joined_ids(beginning)}"
    assert len(cuts) >= 7


def joined_ids(messages: Sequence[DataFromWorker]) -> list[int]:
    return [token for item in items(messages) for token in item.ids]


@pytest.mark.parametrize("case", [CASES["picture"], CASES["thinking cut, drawn"]], ids=["greedy", "drawn"])
def test_on_an_engine_that_has_seen_nothing_usage_is_the_same_to_the_last_number(case: Case) -> None:
    with board() as own:
        whole = said_of(own.ask_about(case.question, **case.options))
    beginning = list(beginnings(whole))[4]
    with board() as own:
        rest = said_of(own.ask_about(case.question, generated=joined_ids(beginning), **case.options))
    assert joined([beginning, rest]) == joined([whole])


def test_an_answer_may_be_cut_again_and_again(first: Board, other: Board) -> None:
    case = CASES["picture, drawn"]
    undisturbed = joined([said_of(first.ask_about(case.question, **case.options))])
    attempts: list[list[DataFromWorker]] = []
    while not any(isinstance(message, Done) for attempt in attempts for message in attempt):
        sent = [token for attempt in attempts for token in joined_ids(attempt)]
        rest = said_of(other.ask_about(case.question, generated=sent or None, **case.options))
        attempts.append(next(islice(beginnings(rest), 5, None), rest))
    assert len(attempts) >= 3
    assert uncached(joined(attempts)) == uncached(undisturbed)


def test_the_drawn_and_the_broken_are_what_their_names_say(first: Board) -> None:
    plain, drawn = (first.ask_about(CIRCLE, **options).wait().ids for options in ({}, WARM))
    assert plain != drawn
    raw = first.ask_about(HELLO, **CASES["broken bytes"].options).wait().raw
    assert "\ufffd" in raw
    assert any(character > "\x7f" and character != "\ufffd" for character in raw)


SCRIPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "letters": ("normal 12", {}),
    "characters of several bytes": ("say A cat – 猫 🙂 \ufffd!", {}),
    "box": ("say there: <|begin_of_box|>[0,0,500,999]<|end_of_box|>.", {}),
    "stop string": ("say one two three", {"stop": ["three", "o!"]}),
    "length amid what may be a stop string": ("normal 12", {"stop": ["fgh!"], "maxNewTokens": 26}),
    "length amid a character": ("say 🙂🙂", {"maxNewTokens": 24}),
    "length beyond the context": ("normal 2", {"maxNewTokens": 65_536}),
}


@pytest.mark.parametrize(("text", "options"), SCRIPTS.values(), ids=SCRIPTS)
def test_wherever_a_script_is_cut_it_goes_on_as_if_nothing_had_been(
    worker: WorkerProcess, text: str, options: dict[str, Any]
) -> None:
    pictures = [{"kind": "image", "bytes": 0}] * 2

    def play(attempt: int, generated: list[int]) -> list[DataFromWorker]:
        frame = msgspec.msgpack.decode(worker.generate_frame(text, media=pictures, options=options))
        changes = {"attempt": attempt, **({"generated": generated} if generated else {})}
        worker.send("data", msgspec.msgpack.encode(frame | changes), b"", b"")
        messages, ending = worker.until_end(RequestKey("r1", attempt))
        return [*messages, ending]

    whole = play(0, [])
    for attempt, beginning in enumerate(beginnings(whole), start=1):
        rest = play(attempt, joined_ids(beginning))
        assert joined([beginning, rest]) == joined([whole]), f"cut after {joined_ids(beginning)}"
