"""Requests get the answer they would get alone, in a fair order, whatever else is on board."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from scheduling import STOP, Asked, Launch, Picture, Play, expected, shares_of, steps_until, text

BEGIN = (1, 2, 1, Picture(1, 2, 2), 1, 1, 2, 1, 2, Picture(2, 3, 1), 1, 1, 1, 2, 2)
OTHER = (1, 2, 1, Picture(2, 2, 2), 1, 1, 2, 1, 2, Picture(1, 3, 1), 1, 1, 1, 2, 2)

_ids = st.integers(1, 2)
_pictures = st.builds(Picture, st.integers(1, 2), st.integers(1, 2), st.integers(1, 3))


@st.composite
def _prompts(draw: st.DrawFn) -> tuple[int | Picture, ...]:
    """Often with a beginning in common; pictures have text on both sides, as in the chat template."""
    begin = draw(st.sampled_from([BEGIN, OTHER]))[: draw(st.sampled_from([0, 3, 7, 15, 15]))]
    tail = draw(st.lists(st.one_of(_ids, _pictures), max_size=4))
    pieces = [part for piece in tail for part in ((piece,) if isinstance(piece, int) else (3, piece, 4))]
    return (5, *begin, 6, *pieces)


@st.composite
def _requests(draw: st.DrawFn) -> Asked:
    force_at = draw(st.none() | st.integers(0, 4))
    forced = tuple(draw(st.lists(_ids, min_size=1, max_size=10))) if force_at is not None else ()
    resumed = draw(st.sampled_from([0, 0, 0, 1, 3, 6]))
    if force_at is not None and force_at < resumed < force_at + len(forced):
        resumed = force_at  # What is forced is sent as one.
    return Asked(
        prompt=draw(_prompts()),
        max_new_tokens=draw(st.integers(1, 20)),
        force_at=force_at,
        forced=forced,
        resumed=resumed,
        masked=draw(st.sampled_from([False, False, True])),
    )


class Engine(RuleBasedStateMachine):
    """Anything that can happen to requests, in any order; `Play` checks every step."""

    @initialize(
        tokens=st.integers(44, 90),
        page_size=st.integers(1, 4),
        max_running=st.integers(1, 5),
        more_budget=st.integers(0, 8),
        lookahead=st.integers(0, 1),
    )
    def start(self, tokens: int, page_size: int, max_running: int, more_budget: int, lookahead: int) -> None:
        self.play = Play(
            pages=tokens // page_size,
            page_size=page_size,
            max_running=max_running,
            token_budget=max_running + 2 * page_size + more_budget,
            lookahead=lookahead,
        )

    @rule(asked=_requests(), copies=st.sampled_from([1, 1, 2]), prepared=st.sampled_from([True, True, False]))
    def submit(self, asked: Asked, copies: int, prepared: bool) -> None:
        length = sum(1 if isinstance(piece, int) else piece.height * piece.width for piece in asked.prompt)
        if length + asked.max_new_tokens <= self.play.pages.count * self.play.page_size:
            for _ in range(copies):
                self.play.submit(asked, prepared=prepared)

    @precondition(lambda self: self.play.away)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        self.play.arrive(data.draw(st.sampled_from(self.play.away)))

    @precondition(lambda self: self.play.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.play.cancel(data.draw(st.sampled_from(list(self.play.asked))))

    @rule(count=st.sampled_from([1, 1, 2, 3, 8]), prepare_again=st.booleans())
    def steps(self, count: int, prepare_again: bool) -> None:
        for _ in range(count):
            self.play.step(prepare_again=prepare_again)

    @rule(fails=st.sampled_from(["prefill", "decode", "sample"]))
    def step_that_fails(self, fails: Launch) -> None:
        self.play.step(fails=fails)

    def teardown(self) -> None:
        if hasattr(self, "play"):
            self.play.finish()


Engine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
test_every_request_gets_the_answer_it_would_get_alone = Engine.TestCase


def _play(**changes: int) -> Play:
    return Play(**({"pages": 16, "page_size": 4, "max_running": 4, "token_budget": 16} | changes))


def _answer(asked: Asked) -> list[int]:
    return list(expected(asked)[0])


def _long(
    first: int,
    length: int,
    new_tokens: int,
    force_at: int | None = None,
    forced: tuple[int, ...] = (),
    *,
    masked: bool = False,
) -> Asked:
    """A prompt of `length` ids whose answer is as long as it may be."""
    for rest in product(range(1, 5), repeat=length - 1):
        asked = Asked((first, *rest), new_tokens, force_at, forced, masked=masked)
        if STOP not in _answer(asked):
            return asked
    raise AssertionError("no such prompt")


def test_a_short_prompt_behind_a_huge_one_is_answered_in_the_same_step() -> None:
    play = _play(pages=64, token_budget=64)
    play.submit(text(*[1] * 200))
    short = play.submit(text(*[2] * 10))
    step = play.step()
    assert [chunk.count for chunk in step.prefill] == [54, 10]
    assert len(short.ids) == 11


def test_two_long_prompts_halve_what_a_step_computes() -> None:
    play = _play(pages=64, token_budget=64)
    play.submit(text(*[1] * 100))
    play.submit(text(*[2] * 100))
    assert [chunk.count for chunk in play.step().prefill] == [32, 32]


def test_a_prompt_that_fits_into_the_step_is_not_held_up_by_a_longer_one_before_it() -> None:
    play = _play(pages=64, token_budget=64)
    play.submit(text(*[1] * 100))
    second = play.submit(text(*[2] * 24))
    play.step()
    assert second.computed == 24


@settings(max_examples=100)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5), token_budget=st.integers(16, 64))
def test_no_prompt_takes_more_than_half_while_another_could_use_the_rest(
    lengths: list[int], token_budget: int
) -> None:
    play = _play(pages=100, max_running=5, token_budget=token_budget)
    for first, length in enumerate(lengths, start=1):
        play.submit(text(*[first] * length))
    for _ in range(8):
        shares = shares_of(play, play.scheduler.plan())
        play.step()
        for index, (count, _, left) in enumerate(shares):
            if count > left - left // 2:
                assert all(got == wanted for got, wanted, _ in shares[index + 1 :])


@pytest.mark.parametrize("token_budget", [5, 8, 15])
def test_a_prompt_gets_on_however_few_tokens_a_step_may_compute(token_budget: int) -> None:
    play = _play(page_size=16, max_running=4, token_budget=token_budget)
    asked = text(*[1] * 40)
    sequence = play.submit(asked)
    play.finish()
    assert sequence.ids[40:] == _answer(asked)


def test_answers_go_on_while_a_long_prompt_is_computed() -> None:
    play = _play(pages=64)
    talking = play.submit(_long(1, 4, 12))
    play.step()
    play.submit(text(*[2] * 60))
    for known in range(2, 6):
        step = play.step()
        assert step.decode == [talking]
        assert [chunk.count for chunk in step.prefill] == [15]
        assert talking.generated == known


def test_a_second_turn_computes_only_what_is_new() -> None:
    play = _play()
    first = _long(1, 9, 4)
    play.submit(first)
    play.finish()
    ids = (*first.prompt, *_answer(first))
    second = play.submit(Asked((*ids, 2, 2), 2))
    [chunk] = play.step().prefill
    # 13 tokens: the last that was sampled was never computed, so 12 lie in three full pages.
    assert (chunk.start, chunk.count) == (12, 3)
    assert second.reused == 12


def test_a_prompt_that_is_known_to_its_end_computes_its_last_page_again() -> None:
    """The next token follows from the output of the last one, which is not kept."""
    play = _play()
    play.submit(text(*[1] * 8))
    play.finish()
    play.submit(text(*[1] * 8))
    [chunk] = play.step().prefill
    assert (chunk.start, chunk.count) == (4, 4)


def test_what_a_cancelled_request_has_not_computed_is_not_taken_for_known() -> None:
    play = _play(token_budget=10)
    asked = _long(1, 18, 4)
    cancelled = play.submit(asked)
    play.step()
    assert cancelled.computed == 10
    play.cancel(cancelled)
    again = play.submit(asked)
    play.step()
    assert again.reused == 8
    play.finish()


def test_another_picture_under_the_same_words_is_computed() -> None:
    play = _play(page_size=2)
    play.submit(Asked((*BEGIN[:8], 1), 2))
    play.finish()
    other = play.submit(Asked((*OTHER[:8], 1), 2))
    same = play.submit(Asked((*BEGIN[:8], 2), 2))
    play.step()
    # The first three ids fill one page before the picture begins.
    assert (other.reused, same.reused) == (2, 10)


def test_pages_are_shared_with_a_request_that_is_still_running() -> None:
    play = _play()
    play.submit(_long(1, 12, 12))
    play.step()
    prompt = play.running[0].ids[:12]
    second = play.submit(text(*prompt, 2))
    play.step()
    assert second.reused == 12
    assert second.pages[:3] == play.running[0].pages[:3]


def test_a_cancelled_request_frees_its_pages_while_its_token_is_still_unread() -> None:
    play = _play(lookahead=1)
    sequence = play.submit(_long(1, 8, 8))
    play.step()
    play.step()
    assert sequence.unread == 1
    play.cancel(sequence)
    assert play.pages.available == play.pages.count
    play.finish()


def test_a_request_that_was_never_started_can_be_cancelled() -> None:
    play = _play(max_running=1)
    play.submit(_long(1, 8, 8))
    waiting = play.submit(text(2, 2))
    play.step()
    play.cancel(waiting)
    play.finish()
    assert waiting.generated == 0


def test_the_youngest_gives_way_and_comes_back_with_its_answer_unbroken() -> None:
    play = _play(pages=8, max_running=3)
    requests = [_long(first, 5, 20) for first in (1, 2, 3)]
    sequences = [play.submit(asked) for asked in requests]
    steps = steps_until(play, lambda: not play.asked)
    gave_way = [sequence.order for step in steps for sequence in step.preempted]
    assert gave_way[:2] == [2, 1]
    assert 0 not in gave_way
    assert [sequence.order for sequence in play.ended] == [0, 1, 2]
    for sequence, asked in zip(sequences, requests, strict=True):
        assert sequence.ids[5:] == _answer(asked)


@pytest.mark.parametrize("lookahead", [0, 1])
def test_one_request_can_fill_the_whole_cache(lookahead: int) -> None:
    play = _play(pages=4, lookahead=lookahead)
    asked = _long(1, 6, 10)
    full = play.submit(asked)
    play.submit(_long(2, 6, 10))
    play.finish()
    assert full.ids[6:] == _answer(asked)


def test_a_request_that_gives_way_does_not_come_back_in_the_same_step() -> None:
    """It could, as it finds the pages of its twin; but its pictures may have to be prepared again first."""
    play = _play(pages=7, max_running=2, token_budget=32)
    asked = _long(1, 12, 6)
    older, younger = play.submit(asked), play.submit(asked)
    assert len(play.step().prefill) == 2
    step = play.step(prepare_again=True)
    assert (step.prefill, step.decode, step.preempted) == ([], [older], [younger])
    play.finish()
    assert [sequence.ids[12:] for sequence in play.ended] == [_answer(asked)] * 2


def test_an_answer_that_gives_way_to_the_forced_ids_of_an_older_one_is_not_computed() -> None:
    play = _play(pages=4, max_running=2, token_budget=32)
    forcing = Asked(_long(1, 4, 2).prompt, 12, force_at=1, forced=(1,) * 8)
    older, younger = play.submit(forcing), play.submit(_long(2, 7, 6))
    play.step()
    step = play.step()
    assert [chunk.sequence for chunk in step.prefill] == [older]
    assert (step.decode, step.preempted) == ([], [younger])
    play.finish()


def test_a_request_is_not_let_in_only_to_give_way_at_once() -> None:
    play = _play(pages=4, max_running=2)
    play.submit(_long(1, 5, 8))
    play.step()
    play.submit(_long(2, 8, 4))
    steps = steps_until(play, lambda: not play.asked)
    assert not any(step.preempted for step in steps)


def test_who_came_first_but_was_prepared_late_is_first_of_those_that_wait() -> None:
    play = _play(max_running=1)
    late = play.submit(text(1, 1), prepared=False)
    running = play.submit(_long(2, 4, 3))
    behind = play.submit(text(3, 3))
    play.step()
    play.arrive(late)
    play.finish()
    assert play.ended == [running, late, behind]


def test_a_waiting_request_is_not_overtaken_by_a_smaller_one() -> None:
    play = _play(pages=6)
    play.submit(_long(1, 12, 6))
    play.step()
    large, small = play.submit(text(*[2] * 16)), play.submit(text(3))
    play.step()
    assert not large.running
    assert not small.running
    play.finish()


def test_no_more_requests_run_than_there_are_slots() -> None:
    play = _play(max_running=2)
    for first in (1, 2, 3):
        play.submit(_long(first, 2, 4))
    play.step()
    assert [sequence.slot is not None for sequence in play.asked] == [True, True, False]
    play.finish()


@pytest.mark.parametrize("lookahead", [0, 1])
def test_forced_ids_take_the_place_of_a_token_that_is_still_unread(lookahead: int) -> None:
    play = _play(lookahead=lookahead)
    plain = _long(1, 5, 12)
    asked = Asked(plain.prompt, 12, force_at=3, forced=(1, 2, 1))
    sequence = play.submit(asked)
    play.finish()
    assert sequence.ids[8:11] == [1, 2, 1]
    assert sequence.ids[5:] == _answer(asked)


def test_a_resumed_answer_goes_on_where_it_stopped() -> None:
    play = _play()
    whole = _long(1, 5, 8)
    sequence = play.submit(Asked(whole.prompt, 8, resumed=5))
    play.finish()
    assert sequence.ids[5:] == _answer(whole)


def test_a_masked_request_takes_part_in_every_step() -> None:
    play = _play(lookahead=1)
    masked = _long(2, 4, 8, masked=True)
    free, sequence = play.submit(_long(1, 4, 8)), play.submit(masked)
    decoded = [play.step().decode for _ in range(8)]
    assert decoded == [[], *[[free, sequence]] * 7]
    play.finish()
    assert sequence.ids[4:] == _answer(masked)


def test_a_request_that_ends_while_its_next_token_is_computed_gets_no_more() -> None:
    play = _play(lookahead=1)
    stopping = next(
        asked for rest in range(2, 10**4) if STOP in _answer(asked := text(1, rest, max_new_tokens=6))[1:4]
    )
    other, sequence = play.submit(_long(3, 4, 12)), play.submit(stopping)
    steps = steps_until(play, lambda: sequence not in play.asked)
    assert steps[-1].decode == [other, sequence]
    assert play.step().decode == [other]
    assert sequence.ids[2:] == _answer(stopping)
    play.finish()


def test_a_batch_that_fails_when_it_is_sampled_is_computed_again_one_by_one() -> None:
    play = _play(lookahead=1)
    asked = [_long(first, 4, 6) for first in (1, 2)]
    together = [play.submit(one) for one in asked]
    play.step()
    assert play.step(fails="sample").decode == together
    assert [play.step().decode for _ in together] == [[sequence] for sequence in together]
    play.finish()
    assert [sequence.ids[4:] for sequence in together] == [_answer(one) for one in asked]


def test_after_a_step_that_failed_each_of_its_requests_goes_alone() -> None:
    play = _play()
    together = [play.submit(_long(first, 4, 4)) for first in (1, 2)]
    play.step(fails="prefill")
    alone = [[chunk.sequence for chunk in play.step().prefill] for _ in together]
    assert alone == [[sequence] for sequence in together]
    assert play.step().decode == together


def test_a_prompt_too_large_for_the_memory_is_tried_in_smaller_pieces() -> None:
    play = _play()
    sequence = play.submit(text(*[1] * 14))
    play.step(fails="prefill")
    assert sequence.chunk_limit == 7
    assert [chunk.count for chunk in play.step().prefill] == [7]
    play.finish()


def test_a_suspect_that_had_to_give_way_waits_for_room_as_anybody_does() -> None:
    play = _play(pages=6, max_running=2)
    # Its forced ids are more than its share of the step that fails; alone it computes all, in one more page.
    older = play.submit(_long(1, 4, 18, force_at=1, forced=(1,) * 12))
    play.step()
    younger = play.submit(_long(2, 6, 6))
    play.step(fails="prefill")
    assert [chunk.sequence for chunk in play.step().prefill] == [older]
    assert not younger.running
    assert play.step().decode == [older]
    play.finish()
    assert play.ended == [older, younger]


def test_what_a_request_finds_again_of_its_own_is_no_hit_in_its_usage() -> None:
    play = _play(pages=6, max_running=2)
    play.submit(_long(1, 7, 8))
    younger = play.submit(_long(2, 9, 8))
    steps_until(play, lambda: younger.running)
    steps_until(play, lambda: not younger.running)
    steps = steps_until(play, lambda: younger.running)
    assert steps[-1].prefill[0].start > 0
    assert younger.reused == 0
    play.finish()


def test_a_request_that_gave_way_waits_until_its_unread_token_is_known() -> None:
    play = _play(pages=5, max_running=2, lookahead=1)
    requests = [_long(1, 7, 8), _long(2, 7, 8)]
    sequences = [play.submit(asked) for asked in requests]
    steps = steps_until(play, lambda: not play.asked)
    assert any(sequences[1] in step.preempted for step in steps)
    assert [s.ids[7:] for s in sequences] == [_answer(asked) for asked in requests]
