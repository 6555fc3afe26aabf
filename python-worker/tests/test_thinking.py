"""maxThinkingTokens: the thinking is closed in time, and the answer is the one that the model gives then."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from boards import CIRCLE, COLOUR, HELLO, SUM, UNENDING, Board, expected, open_board
from embedded import Answer
from oracle import Question, oracle

from glimpse_worker.protocol import MarkupPart, ThinkingPart

THINK, END_THINK, ANSWER = "<think>", "</think>", "<answer>"


@pytest.fixture(params=[0, 1], ids=["read at once", "one step ahead"])
def own(request: pytest.FixtureRequest) -> Iterator[Board]:
    board = open_board(request.param)
    yield board
    board.check_all_free()


def close() -> list[int]:
    return oracle().ids(END_THINK, ANSWER)


def skip() -> list[int]:
    return oracle().ids(THINK, END_THINK, ANSWER)


@cache
def bounded(question: Question, limit: int) -> list[int]:
    """What transformers' `generate` gives when its thinking is closed after `limit` tokens."""
    begun = skip() if limit == 0 else [*expected(question, 1 + limit), *close()]
    return begun + oracle().greedy(question, 60, after=begun).ids


def thoughts(answer: Answer) -> str:
    return "".join(part.text for part in answer.parts if isinstance(part, ThinkingPart))


def test_without_thinking_the_answer_begins_at_once_and_is_right(own: Board) -> None:
    answer = own.ask_about(COLOUR, max_thinking_tokens=0).wait()
    assert answer.raw.startswith("<think></think><answer>")
    assert answer.text == "red"
    assert answer.ids == bounded(COLOUR, 0)
    assert answer.done.finish_reason == "stop"


@pytest.mark.parametrize("question", [CIRCLE, SUM], ids=["a picture", "text"])
@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_thinking_is_closed_in_time_and_an_answer_follows(
    question: Question, limit: int, own: Board
) -> None:
    answer = own.ask_about(question, max_thinking_tokens=limit).wait()
    assert answer.ids == bounded(question, limit)
    assert answer.done.finish_reason == "stop"
    assert answer.done.usage.thinking_tokens == limit + 2
    assert answer.done.usage.completion_tokens == len(answer.ids)


@pytest.mark.parametrize("more", [0, 1, 10_000])
def test_a_bound_that_the_thinking_does_not_exceed_changes_nothing(more: int, own: Board) -> None:
    freely = own.ask_about(CIRCLE).wait()
    length = freely.done.usage.thinking_tokens - 2
    # With not one token more, the engine writes the </think> that the model would have chosen.
    answer = own.ask_about(CIRCLE, max_thinking_tokens=length + more).wait()
    assert (answer.ids, answer.raw, answer.text) == (freely.ids, freely.raw, freely.text)
    assert thoughts(answer) == thoughts(freely)
    assert answer.done.usage.thinking_tokens == freely.done.usage.thinking_tokens


def test_tokens_that_the_engine_writes_are_sent_with_the_last_of_the_thinking(own: Board) -> None:
    items = own.ask_about(CIRCLE, max_thinking_tokens=3).wait().items
    assert [item.index for item in items if item.ids] == [0, 1, 2, 3, *range(6, 6 + len(items) - 4)]
    assert items[3].ids[1:] == close()
    assert "".join(part.text for part in items[3].parts if isinstance(part, MarkupPart)).endswith(
        END_THINK + ANSWER
    )


def test_the_tags_of_an_answer_without_thinking_are_sent_with_its_first_token(own: Board) -> None:
    first, second, *_ = own.ask_about(COLOUR, max_thinking_tokens=0).wait().items
    assert (first.index, first.ids) == (0, bounded(COLOUR, 0)[:4])
    assert (second.index, len(second.ids)) == (4, 1)


def test_a_stop_string_sleeps_in_the_thinking_and_wakes_in_the_answer(own: Board) -> None:
    freely = own.ask_about(CIRCLE, max_thinking_tokens=3).wait()
    assert (thoughts(freely), freely.text) == ("I see", "A red circle on a white background.")
    answer = own.ask_about(CIRCLE, max_thinking_tokens=3, stop=["see", " on"]).wait()
    assert (thoughts(answer), answer.text) == ("I see", "A red circle")
    assert answer.done.finish_reason == "stop"
    assert answer.ids == freely.ids[: len(answer.ids)]


@pytest.mark.parametrize(
    ("length", "text"),
    [(2, "<think></think>"), (3, "<think></think><answer>"), (4, "<think></think><answer>re")],
)
def test_what_the_engine_writes_counts_as_new_tokens_and_is_cut_there(
    length: int, text: str, own: Board
) -> None:
    answer = own.ask_about(COLOUR, max_thinking_tokens=0, max_new_tokens=length).wait()
    assert answer.raw == text
    assert (answer.done.finish_reason, len(answer.ids)) == ("length", length)
    assert answer.done.usage.completion_tokens == length
    assert answer.done.usage.thinking_tokens == 2


@pytest.mark.parametrize("length", [3, 4, 5, 6, 7])
def test_the_end_of_the_thinking_is_cut_where_the_new_tokens_end(length: int, own: Board) -> None:
    answer = own.ask_about(CIRCLE, max_thinking_tokens=3, max_new_tokens=length).wait()
    assert answer.ids == bounded(CIRCLE, 3)[:length]
    assert (answer.done.finish_reason, answer.done.usage.completion_tokens) == ("length", length)
    assert answer.done.usage.thinking_tokens == min(length, 5)


@pytest.mark.parametrize(("question", "limit"), [(SUM, 1), (HELLO, 2)])
def test_a_token_that_was_drawn_ahead_of_the_closing_is_dropped_also_for_the_penalty(
    question: Question, limit: int, own: Board
) -> None:
    begun = [*expected(question, 1 + limit, 3.0), *close()]
    whole = begun + oracle().greedy(question, 40 - len(begun), penalty=3.0, after=begun).ids
    answer = own.ask_about(question, max_thinking_tokens=limit, max_new_tokens=40, repetition_penalty=3.0)
    assert answer.wait().ids == whole


def test_bounded_and_free_requests_run_together(own: Board) -> None:
    limits = [None, 0, 1, 2, 3, None]
    answers = [own.ask_about(CIRCLE, max_thinking_tokens=limit) for limit in limits]
    for limit, answer in zip(limits, answers, strict=True):
        freely = expected(CIRCLE)
        assert answer.wait().ids == (freely if limit is None else bounded(CIRCLE, limit))


@pytest.mark.parametrize(
    ("limit", "after"), [(0, 3), (0, 5), (3, 1), (3, 2), (3, 3), (3, 4), (3, 6), (3, 9), (10_000, 4)]
)
def test_a_request_that_comes_back_goes_on_where_it_was(limit: int, after: int, own: Board) -> None:
    whole = expected(CIRCLE) if limit == 10_000 else bounded(CIRCLE, limit)
    answer = own.ask_about(CIRCLE, max_thinking_tokens=limit, generated=whole[:after])
    assert whole[:after] + answer.wait().ids == whole
    assert answer.items[0].index == after
    assert answer.done.usage.completion_tokens == len(whole)
    assert answer.done.usage.thinking_tokens == whole.index(close()[0]) + 1


def test_a_drawn_answer_does_not_depend_on_where_it_was_broken_off(own: Board) -> None:
    options = {**UNENDING, "max_thinking_tokens": 4, "max_new_tokens": 24}
    whole = own.ask_about(SUM, **options).wait().ids
    for after in (1, 8, 9, 20):
        assert whole[:after] + own.ask_about(SUM, generated=whole[:after], **options).wait().ids == whole
