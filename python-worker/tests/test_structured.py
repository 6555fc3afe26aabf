"""Answers that a schema describes, from both engines."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from boards import CIRCLE, HELLO, SQUARE, SUM, UNENDING, Board, board, expected, open_board
from embedded import Answer, caller, user
from oracle import oracle
from torch import Tensor

from glimpse_worker.engine.paged.runner import Forward, Launched
from glimpse_worker.grammar import Grammars
from glimpse_worker.protocol import ThinkingPart

RECEIPT = (Path(__file__).parents[2] / "examples/pictures/receipt.png").read_bytes()
READ = user(0, "Extract the receipt as JSON with the keys shop, items and total.")


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


TEXT = {"type": "string", "maxLength": 30}
ITEM = closed(name=TEXT, price={"type": "number"})
BILL = json.dumps(closed(shop=TEXT, items={"type": "array", "items": ITEM}, total={"type": "number"}))
SHAPE = json.dumps(
    closed(
        colour={"enum": ["red", "green", "blue"]},
        corners={"type": "integer", "minimum": 0, "maximum": 99},
        words={"type": "array", "items": {"type": "string", "maxLength": 8}, "minItems": 1, "maxItems": 3},
        sure={"type": ["boolean", "null"]},
    )
)


@pytest.fixture(params=[0, 1], ids=["read at once", "one step ahead"])
def own(request: pytest.FixtureRequest) -> Iterator[Board]:
    board = open_board(request.param)
    # Or a batch that fails would go one by one, and nobody would notice.
    with patch.object(board.engine, "_failed", _raise):
        yield board
    board.check_all_free()


def _raise(_: Any, error: Exception, __: int) -> None:
    raise error


LOOKAHEADS = pytest.mark.parametrize("lookahead", [0, 1], ids=["read at once", "one step ahead"])


def read(own: Board, **options: Any) -> Answer:
    return own.submit([READ], [RECEIPT], **options).wait()


def thoughts(answer: Answer) -> str:
    return "".join(part.text for part in answer.parts if isinstance(part, ThinkingPart))


def colour(answer: Answer) -> str:
    """That of an answer in SHAPE, which it has to be."""
    shape = json.loads(answer.text)
    assert [*shape] == ["colour", "corners", "words", "sure"]
    assert 0 <= shape["corners"] <= 99
    assert 1 <= len(shape["words"]) <= 3
    assert shape["sure"] in (True, False, None)
    return str(shape["colour"])


def test_an_answer_that_follows_its_schema_anyway_is_the_same(own: Board) -> None:
    held, free = read(own, schema=BILL), read(own)
    assert (held.ids, held.raw) == (free.ids, free.raw)
    assert json.loads(held.text)["shop"] == "Harbour Cafe"
    assert held.done.finish_reason == "stop"
    assert held.done.usage.thinking_tokens == free.done.usage.thinking_tokens


def test_an_answer_that_would_not_follow_its_schema_does(own: Board) -> None:
    answer = own.ask_about(CIRCLE, schema=SHAPE).wait()
    assert colour(answer) == "red"
    assert answer.raw == f"<think>{thoughts(answer)}</think><answer>{answer.text}</answer><|user|>"
    # Before the answer there is no difference.
    assert answer.ids[: answer.done.usage.thinking_tokens] == expected(
        CIRCLE, answer.done.usage.thinking_tokens
    )


@pytest.mark.parametrize("question", [CIRCLE, SUM], ids=["a picture", "text"])
@pytest.mark.parametrize("schema", [SHAPE, "{}", '{"type":"integer"}'], ids=["shape", "any", "integer"])
def test_both_engines_give_the_same_answer(question: Any, schema: str, own: Board) -> None:
    options: dict[str, Any] = {"schema": schema, "max_new_tokens": 80, "repetition_penalty": 1.1}
    paged = own.ask_about(question, **options).wait()
    assert paged.ids == caller().ask(question.messages, question.media(), **options).ids


def test_the_reference_engine_draws_answers_of_the_schema() -> None:
    answers = [
        caller().ask(CIRCLE.messages, CIRCLE.media(), schema=SHAPE, temperature=2.0, seed=seed)
        for seed in range(4)
    ]
    for answer in answers:
        colour(answer)
    assert len({answer.text for answer in answers}) > 1


def test_drawn_answers_follow_the_schema_and_their_seeds(own: Board) -> None:
    hot: dict[str, Any] = {"schema": SHAPE, "temperature": 3.0, "top_p": 0.95, "top_k": 100}
    answers = [own.ask_about(CIRCLE, seed=seed, **hot) for seed in range(8)]
    for answer in answers:
        colour(answer.wait())
        assert answer.done.finish_reason == "stop"
    assert len({answer.text for answer in answers}) > 4
    assert own.ask_about(CIRCLE, seed=3, **hot).wait().ids == answers[3].ids


@pytest.mark.parametrize("question", [CIRCLE, HELLO], ids=["a picture", "text"])
def test_the_thinking_is_never_constrained(question: Any, own: Board) -> None:
    lengths = []
    for seed in range(6):
        options: dict[str, Any] = {"temperature": 1.5, "seed": seed, "max_new_tokens": 60}
        held = own.ask_about(question, schema=SHAPE, **options)
        free = own.ask_about(question, **options).wait()
        lengths.append(held.wait().done.usage.thinking_tokens)
        assert held.ids[: lengths[-1]] == free.ids[: lengths[-1]]
    assert sum(lengths) > 30


def test_requests_with_and_without_a_schema_share_a_batch(own: Board) -> None:
    alone = {schema: own.ask_about(CIRCLE, schema=schema).wait().ids for schema in (SHAPE, BILL, "{}")}
    together = [own.ask_about(SUM), own.ask_about(HELLO, **UNENDING, max_new_tokens=40)]
    held = [own.ask_about(CIRCLE, schema=schema) for schema in alone]
    together.append(own.ask_about(CIRCLE))
    assert [answer.wait().ids for answer in held] == [*alone.values()]
    assert together[0].wait().ids == expected(SUM)
    assert together[2].wait().ids == expected(CIRCLE)
    assert len(together[1].wait().ids) == 40


@pytest.mark.parametrize("limit", [None, 2])
def test_it_goes_on_after_any_of_its_tokens_as_if_nothing_had_happened(limit: int | None, own: Board) -> None:
    options: dict[str, Any] = {"schema": SHAPE, "temperature": 1.0, "seed": 5, "max_thinking_tokens": limit}
    whole = own.ask_about(CIRCLE, **options).wait()
    answer_from = whole.done.usage.thinking_tokens
    sizes = [1, *range(answer_from - 2, answer_from + 4), *range(answer_from + 9, len(whole.ids), 9)]
    sizes.append(len(whole.ids) - 1)
    resumed = {size: own.ask_about(CIRCLE, generated=whole.ids[:size], **options) for size in sizes}
    for size, answer in resumed.items():
        assert whole.ids[:size] + answer.wait().ids == whole.ids
        for name in ("thinking_tokens", "completion_tokens", "prompt_tokens"):
            assert getattr(answer.done.usage, name) == getattr(whole.done.usage, name)


def test_tokens_of_another_answer_are_no_beginning_of_this_one(own: Board) -> None:
    other = own.ask_about(CIRCLE).wait().ids
    answer = own.ask_about(CIRCLE, schema=SHAPE, generated=other[:-3]).wait()
    assert answer.error.code == "INVALID_REQUEST"
    assert "generated: the id" in answer.error.message


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_answer_follows_a_thinking_that_was_closed(limit: int, own: Board) -> None:
    answer = own.ask_about(CIRCLE, schema=SHAPE, max_thinking_tokens=limit).wait()
    colour(answer)
    assert answer.done.usage.thinking_tokens == limit + 2
    thinking = oracle().ids("<think>") + expected(CIRCLE, 1 + limit)[1:]
    assert answer.ids[: limit + 3] == [*thinking, *oracle().ids("</think>", "<answer>")]


def test_what_the_token_limit_cuts_is_the_beginning_of_the_same_answer(own: Board) -> None:
    whole = own.ask_about(CIRCLE, schema=SHAPE).wait()
    for size in (1, whole.done.usage.thinking_tokens, whole.done.usage.thinking_tokens + 4):
        cut = own.ask_about(CIRCLE, schema=SHAPE, max_new_tokens=size).wait()
        assert (cut.ids, cut.done.finish_reason) == (whole.ids[:size], "length")


def test_a_cancelled_answer_leaves_nothing(own: Board) -> None:
    def cancel(answer: Answer) -> None:
        if len(answer.ids) > 20:
            own.cancel(answer)

    answer = own.ask_about(HELLO, schema='{"type":"array","minItems":99}', on_token=cancel).wait()
    assert answer.done.finish_reason == "cancelled"


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        ({"schema": '{"uniqueItems":true}'}, "SCHEMA_UNSUPPORTED", "uniqueItems"),
        ({"schema": "nothing"}, "SCHEMA_UNSUPPORTED", "no JSON"),
        ({"schema": "{}", "stop": ["\n"]}, "INVALID_REQUEST", "stop"),
    ],
)
def test_what_cannot_be_enforced_is_refused_before_anything_is_computed(
    options: dict[str, Any], code: str, named: str, own: Board
) -> None:
    for engine in (own, caller()):
        # The picture is none: it would be refused if anybody looked at it.
        answer = engine.submit([READ], [b"no picture"], **options).wait()
        assert answer.error.code == code
        assert named in answer.error.message
        assert answer.prepared == []


def test_schemas_are_compiled_beside_the_engine(monkeypatch: pytest.MonkeyPatch, own: Board) -> None:
    threads: list[str] = []
    of = Grammars.of

    def watched(self: Grammars, options: Any) -> Any:
        threads.append(threading.current_thread().name)
        return of(self, options)

    monkeypatch.setattr(Grammars, "of", watched)
    own.ask_about(HELLO, schema='{"const":1}').wait()
    assert [name.split("_")[0] for name in threads] == ["intake"]


@LOOKAHEADS
def test_an_answer_goes_on_in_every_step_whoever_else_is_there(lookahead: int) -> None:
    with board(lookahead=lookahead) as own:
        own.gather(2)
        held = own.ask_about(CIRCLE, schema=SHAPE)
        own.ask_about(HELLO, **UNENDING, max_new_tokens=100)
        assert colour(held.wait()) == "red"
        steps = [launch.names for launch in own.launches if launch.kind == "decode"]
        own_steps = [index for index, names in enumerate(steps) if held.name in names]
        assert own_steps == [*range(own_steps[0], own_steps[-1] + 1)]
        # The first token comes from the prompt. What follows the last is computed before that is read.
        assert len(own_steps) == len(held.ids) - 1 + lookahead


@LOOKAHEADS
def test_an_answer_that_gave_way_to_others_comes_back_unbroken(lookahead: int) -> None:
    endless: dict[str, Any] = {"schema": '{"type":"array","minItems":99}', "max_thinking_tokens": 2}
    options: dict[str, Any] = {**endless, "max_new_tokens": 70, "temperature": 2.0, "seed": 3}
    with board(cache_tokens=256, lookahead=lookahead) as own:
        alone = [own.ask_about(question, **options).wait().ids for question in (CIRCLE, SQUARE)]
        own.gather(3)
        together = [own.ask_about(SUM, **UNENDING, max_new_tokens=70)]
        together += [own.ask_about(question, **options) for question in (CIRCLE, SQUARE)]
        assert [answer.wait().ids for answer in together[1:]] == alone
        assert own.watch.preempted


@LOOKAHEADS
@pytest.mark.parametrize("launch", [2, 9, 30])
def test_an_answer_is_the_same_after_its_batch_has_failed(
    launch: int, lookahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the very end of a launch, when its masks were made."""
    options: dict[str, Any] = {"schema": SHAPE, "temperature": 3.0, "repetition_penalty": 1.3}
    with board(lookahead=lookahead) as own:
        alone = [own.ask_about(CIRCLE, seed=seed, **options).wait().ids for seed in (1, 2)]
        original, count = own.engine._runner._launched, itertools.count(1)

        def launched(forward: Forward, tokens: Tensor) -> Launched:
            if len(forward.sequences) == 2 and next(count) == launch:
                raise RuntimeError("no room")
            return original(forward, tokens)

        monkeypatch.setattr(own.engine._runner, "_launched", launched)
        own.gather(2)
        answers = [own.ask_about(CIRCLE, seed=seed, **options) for seed in (1, 2)]
        assert [answer.wait().ids for answer in answers] == alone
        assert next(count) > launch
