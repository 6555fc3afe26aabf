"""The paged engine on the embedded model: many requests at once, cancels, what is reused and what let go."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import pytest
from boards import (
    CIRCLE,
    COLOUR,
    HELLO,
    SQUARE,
    SUM,
    UNENDING,
    Board,
    Launch,
    board,
    expected,
    long_text,
    open_board,
)
from drawing import moving_circle, noise, red_circle, shapes
from embedded import PATIENCE_S, Answer, user
from oracle import Question, oracle
from torch import Tensor

from glimpse_worker.engine.paged.vision import VisionTower
from glimpse_worker.media import Picture, read_picture
from glimpse_worker.prepare import Prepared, prepare
from glimpse_worker.protocol import Done, RequestKey, Usage

LOOKAHEADS = pytest.mark.parametrize("lookahead", [0, 1], ids=["read at once", "one step ahead"])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures and frames that are decoded."""
    names: list[str] = []

    def read(*arguments: Any) -> Picture:
        names.append(arguments[-1])
        return read_picture(*arguments)

    monkeypatch.setattr("glimpse_worker.decoding.read_picture", read)
    return names


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures, or pairs of frames, each call of the vision tower has."""
    counts: list[int] = []
    original = VisionTower.encode

    def encode(tower: VisionTower, items: Sequence[Tensor]) -> list[Tensor]:
        counts.append(len(items))
        return original(tower, items)

    monkeypatch.setattr(VisionTower, "encode", encode)
    return counts


def cached(usage: Usage) -> tuple[int, int]:
    return usage.cached_tokens, usage.cached_image_tokens


def test_ready_says_how_much_the_engine_can_take() -> None:
    ready = open_board().engine.ready
    assert (ready.engine, ready.dtype, ready.device.kind) == ("paged", "float32", "cpu")
    assert (ready.slots, ready.kv_cache_tokens, ready.context_length) == (24, 4096, 2048)
    assert ready.stop_token_ids == [490, 497, 499]


@LOOKAHEADS
def test_many_requests_at_once_get_what_each_gets_alone(lookahead: int) -> None:
    wishes: list[dict[str, Any]] = [
        {"max_new_tokens": 12},
        {"max_new_tokens": 20, "repetition_penalty": 3.0},
        {"max_new_tokens": 10, **UNENDING},
        {"max_new_tokens": 15, "max_thinking_tokens": 2},
    ]
    asked = [(question, wish) for question in (CIRCLE, HELLO, SQUARE, SUM) for wish in wishes]
    with board(lookahead=lookahead, max_running=6) as own:
        own.gather(len(asked))
        together = [own.ask_about(question, **wish) for question, wish in asked]
        ids = [answer.wait().ids for answer in together]
        assert own.watch.largest_batch == 6
        assert ids == [own.ask_about(question, **wish).wait().ids for question, wish in asked]


def test_a_long_prompt_is_computed_in_chunks_and_its_answer_is_the_same() -> None:
    shown = [red_circle(), red_circle((168, 112))]
    question = Question([user("word " * 60, 0, "word " * 60, 1, "Describe each image.")], shown)
    with board(token_budget=48) as own:
        answer = own.ask_about(question, max_new_tokens=8).wait()
        assert answer.ids == expected(question, 8)
        chunks = own.of(answer, "prefill")
        assert max(chunks) <= 48
        assert sum(chunks) == answer.done.usage.prompt_tokens


def test_a_short_text_behind_a_huge_prompt_gets_its_first_token_early() -> None:
    first: list[str] = []

    def note(answer: Answer) -> None:
        if answer.name not in first:
            first.append(answer.name)

    with board(token_budget=64) as own:

        def submit_another(_: Launch) -> None:
            if len(own.launches) == 1:
                own.wait_until_prepared(own.ask_about(HELLO, max_new_tokens=2, on_token=note))

        own.before = submit_another
        huge = own.ask_about(long_text(300), max_new_tokens=1, on_token=note).wait()
        short = own.answers["r1"].wait()
        assert first == [short.name, huge.name]
        # The first chunk was on its way; the second leaves room for the other's prompt.
        prompt = short.done.usage.prompt_tokens
        assert own.of(short, "prefill") == [prompt]
        assert own.of(huge, "prefill")[:2] == [64, 64 - prompt]


@LOOKAHEADS
def test_an_answer_goes_on_while_a_long_prompt_is_computed(lookahead: int) -> None:
    meanwhile: list[int] = []

    with board(token_budget=64, lookahead=lookahead) as own:

        def submit_another(running: Answer) -> None:
            if len(running.ids) == 2:
                huge = own.ask_about(
                    long_text(300),
                    max_new_tokens=1,
                    on_token=lambda _: meanwhile.append(len(running.ids) - 2),
                )
                own.wait_until_prepared(huge)

        own.ask_about(HELLO, max_new_tokens=30, on_token=submit_another, **UNENDING).wait()
        chunks = own.of(own.answers["r1"].wait(), "prefill")
        assert len(chunks) >= 5
        assert meanwhile[0] >= len(chunks) - 1


def cancel_first_at(own: Board, kind: Literal["prefill", "decode"], launch: int) -> Callable[[Launch], None]:
    """Cancels the first request when so many launches of it have been made."""

    def cancel(_: Launch) -> None:
        first = own.answers["r0"]
        if not first.ended.is_set() and len(own.of(first, kind)) == launch:
            own.cancel(first)

    return cancel


def test_cancelling_ends_a_request_while_its_pictures_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, ended = threading.Event(), threading.Event()
    names: list[str] = []

    def read(*arguments: Any) -> Picture:
        names.append(arguments[-1])
        reading.set()
        assert ended.wait(PATIENCE_S)
        return read_picture(*arguments)

    monkeypatch.setattr("glimpse_worker.decoding.read_picture", read)
    with board() as own:
        answer = own.ask_about(Question([user(0, 1, "Describe.")], [noise(112, 112), noise(56, 112)]))
        assert reading.wait(PATIENCE_S)
        own.cancel(answer)
        usage = answer.wait().done.usage
        ended.set()
        own.wait_until_prepared(answer)
        assert (answer.done.finish_reason, len(answer.messages), names) == ("cancelled", 1, ["picture 1"])
        assert usage.prompt_tokens == usage.image_tokens == usage.completion_tokens == 0
        assert own.ask_about(HELLO, max_new_tokens=2).wait().done


@LOOKAHEADS
def test_cancelling_ends_a_request_that_waits_for_its_turn(lookahead: int) -> None:
    with board(max_running=1, lookahead=lookahead) as own:
        waiting: list[Answer] = []
        ended: list[bool] = []

        def submit_and_cancel_another(running: Answer) -> None:
            if len(running.ids) == 1:
                waiting.append(own.ask_about(CIRCLE))
                own.wait_until_prepared(waiting[0])
            elif len(running.ids) == 3:
                own.cancel(waiting[0])
            elif len(running.ids) == 4:
                ended.append(waiting[0].ended.is_set())

        running = own.ask_about(HELLO, max_new_tokens=6, on_token=submit_and_cancel_another, **UNENDING)
        assert running.wait().done.finish_reason == "length"
        assert ended == [True]
        assert (waiting[0].done.finish_reason, len(waiting[0].messages)) == ("cancelled", 1)
        usage = waiting[0].done.usage
        assert (usage.prompt_tokens, usage.image_tokens, usage.completion_tokens) == (76, 64, 0)
        assert own.of(waiting[0], "prefill") == []


def test_a_request_that_was_cancelled_before_it_ran_has_found_nothing_in_the_caches() -> None:
    with board(max_running=1) as own:

        def submit_and_cancel_another(running: Answer) -> None:
            if len(running.ids) == 1:
                waiting = own.ask_about(CIRCLE)
                own.wait_until_prepared(waiting)
                own.cancel(waiting)

        own.ask_about(HELLO, max_new_tokens=3, on_token=submit_and_cancel_another).wait()
        usage = own.answers["r1"].wait().done.usage
        assert usage.image_tokens == 64
        assert cached(usage) == (0, 0)


@LOOKAHEADS
def test_cancelling_ends_a_request_amid_its_prompt(lookahead: int) -> None:
    with board(token_budget=32, lookahead=lookahead) as own:
        own.before = cancel_first_at(own, "prefill", 2)
        answer = own.ask_about(CIRCLE).wait()
        assert (answer.done.finish_reason, len(answer.messages)) == ("cancelled", 1)
        assert own.of(answer, "prefill") == [32, 32]
        assert (answer.done.usage.prompt_tokens, answer.done.usage.completion_tokens) == (76, 0)


def test_a_picture_that_was_not_reached_before_a_cancel_has_not_been_found_in_the_caches() -> None:
    with board(token_budget=32) as own:
        own.before = cancel_first_at(own, "prefill", 2)
        shown = [red_circle(), noise(112, 112)]
        usage = own.ask_about(Question([user(0, 1, "Describe.")], shown)).wait().done.usage
        assert usage.image_tokens == 80
        assert cached(usage) == (0, 0)


@LOOKAHEADS
def test_cancelling_ends_a_request_amid_its_answer_and_none_of_the_others(lookahead: int) -> None:
    with board(lookahead=lookahead) as own:
        own.before = cancel_first_at(own, "decode", 3)
        answer = own.ask_about(CIRCLE)
        others = [own.ask_about(question) for question in (CIRCLE, SUM)]
        answer.wait()
        whole = [other.wait().ids for other in others]
        assert answer.done.finish_reason == "cancelled"
        # The step that was being launched is the last one, and what is read after the cancel is not sent.
        assert len(own.of(answer, "decode")) == 3
        assert answer.ids == whole[0][: 4 - lookahead]
        assert answer.done.usage.completion_tokens == 4 - lookahead
        assert whole == [expected(question) for question in (CIRCLE, SUM)]


@LOOKAHEADS
def test_cancelling_twice_ends_a_request_once(lookahead: int) -> None:
    with board(lookahead=lookahead) as own:

        def cancel_twice(answer: Answer) -> None:
            own.cancel(answer)
            own.cancel(answer)

        answer = own.ask_about(CIRCLE, on_token=cancel_twice).wait()
        assert own.ask_about(HELLO, max_new_tokens=2).wait().done
        assert [message for message in answer.messages if isinstance(message, Done)] == [answer.done]
        assert (answer.done.finish_reason, len(answer.ids)) == ("cancelled", 1)


def test_text_that_was_held_back_is_sent_when_a_request_is_cancelled() -> None:
    with board() as own:

        def cancel_when_held_back(answer: Answer) -> None:
            if oracle().text(answer.ids).endswith("circle") and answer.text == "A red":
                own.cancel(answer)

        answer = own.ask_about(CIRCLE, stop=[" circle is"], on_token=cancel_when_held_back).wait()
        assert answer.done.finish_reason == "cancelled"
        assert answer.raw == oracle().text(answer.ids)
        assert answer.text == "A red circle"


def test_cancelling_an_unknown_request_is_ignored() -> None:
    with board() as own:
        own.engine.cancel(RequestKey("nobody", 0))
        answer = own.ask_about(HELLO, max_new_tokens=3)
        own.engine.cancel(RequestKey(answer.name, 1))
        assert answer.wait().done.finish_reason == "length"


def test_a_second_question_about_a_picture_does_not_read_it_again(
    decoded: list[str], encoded: list[int]
) -> None:
    with board() as own:
        first = own.ask_about(CIRCLE).wait()
        assert cached(first.done.usage) == (0, 0)
        assert (decoded, encoded) == (["picture 1"], [1])
        second = own.ask_about(COLOUR).wait()
        assert (decoded, encoded) == (["picture 1"], [1])
        # The pages that both prompts fill with the same: a few tokens before the picture, and most of it.
        assert cached(second.done.usage) == (64, 64)
        assert sum(own.of(second, "prefill")) == second.done.usage.prompt_tokens - 64
        assert second.text == "red"


def test_a_picture_elsewhere_in_a_prompt_is_not_encoded_again(decoded: list[str], encoded: list[int]) -> None:
    with board() as own:
        own.ask_about(CIRCLE).wait()
        question = Question([user(0, 1, "How many shapes are there?")], [noise(112, 112), red_circle()])
        answer = own.ask_about(question, max_new_tokens=10).wait()
        assert (len(decoded), encoded) == (2, [1, 1])
        assert cached(answer.done.usage) == (0, 64)
        assert answer.done.usage.image_tokens == 80
        assert answer.ids == expected(question, 10)


def test_a_picture_that_a_prompt_shows_twice_is_encoded_once(encoded: list[int]) -> None:
    with board() as own:
        question = Question([user(0, 1, "Describe each image.")], [red_circle(), red_circle()])
        answer = own.ask_about(question, max_new_tokens=10).wait()
        assert encoded == [1]
        assert answer.done.usage.image_tokens == 128
        assert cached(answer.done.usage) == (0, 64)
        assert answer.ids == expected(question, 10)


def test_a_picture_that_two_requests_show_at_once_is_encoded_once(encoded: list[int]) -> None:
    with board() as own:
        own.gather(2)
        answers = [own.ask_about(question) for question in (CIRCLE, COLOUR)]
        assert [answer.wait().done.usage.cached_image_tokens for answer in answers] == [0, 64]
        assert encoded == [1]


def test_frames_that_two_videos_share_are_encoded_once(encoded: list[int]) -> None:
    frames = moving_circle()
    other = [*frames[:4], *(frame.rotate(90) for frame in frames[4:])]
    with board() as own:
        first, second = (Question([user(0, "What happens?")], frames=f, fps=2) for f in (frames, other))
        assert cached(own.ask_about(first, max_new_tokens=10).wait().done.usage) == (0, 0)
        answer = own.ask_about(second, max_new_tokens=10).wait()
        assert encoded == [4, 2]
        assert answer.done.usage.image_tokens == 64
        assert answer.done.usage.cached_image_tokens == 32
        assert answer.ids == expected(second, 10)


def test_a_picture_that_there_is_no_room_to_keep_is_read_again(
    decoded: list[str], encoded: list[int]
) -> None:
    with board(feature_tokens=32) as own:
        for _ in range(2):
            answer = own.ask_about(CIRCLE).wait()
            assert answer.text == "A red circle on a white background."
        assert (len(decoded), encoded) == (2, [1, 1])
        # Its last tokens lie on a page with what follows, which was computed again.
        assert cached(answer.done.usage) == (64, 0)


def test_the_next_turn_of_a_conversation_goes_on_in_the_cache() -> None:
    with board() as own:
        first = own.ask_about(long_text(40), max_new_tokens=4).wait()
        longer = [*long_text(40).messages, *HELLO.messages]
        second = own.ask_about(Question(longer), max_new_tokens=4).wait()
        shared = first.done.usage.prompt_tokens // 16 * 16
        assert 16 < shared - 16 <= second.done.usage.cached_tokens <= shared
        assert second.ids == expected(Question(longer), 4)


@pytest.mark.parametrize("feature_tokens", [4096, 0], ids=["picture kept", "picture read again"])
@LOOKAHEADS
def test_a_request_that_makes_room_for_an_older_one_goes_on_as_if_nothing_had_been(
    lookahead: int, feature_tokens: int, decoded: list[str]
) -> None:
    options = {**UNENDING, "max_new_tokens": 70}
    with board(cache_tokens=256, feature_tokens=feature_tokens, lookahead=lookahead) as own:
        own.gather(2)
        together = [own.ask_about(question, **options) for question in (SQUARE, CIRCLE)]
        ids = [answer.wait().ids for answer in together]
        assert 1 in own.watch.preempted
        assert len(decoded) == (2 if feature_tokens else 3)
        assert [cached(answer.done.usage) for answer in together] == [(0, 0), (0, 0)]
        assert ids == [own.ask_about(question, **options).wait().ids for question in (SQUARE, CIRCLE)]


def test_a_request_that_made_room_tells_what_it_found_when_it_began() -> None:
    with board(cache_tokens=256) as own:
        own.ask_about(CIRCLE, max_new_tokens=1).wait()
        own.gather(2)
        old = own.ask_about(HELLO, **UNENDING, max_new_tokens=140)
        young = own.ask_about(CIRCLE, **UNENDING, max_new_tokens=100)
        old.wait()
        assert cached(young.wait().done.usage) == (64, 64)
        assert own.watch.preempted == [2]


@LOOKAHEADS
def test_a_request_that_made_room_can_be_cancelled_while_it_is_prepared_again(
    lookahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with board(cache_tokens=256, feature_tokens=0, lookahead=lookahead) as own:
        reading, ended = threading.Event(), threading.Event()

        def read(*arguments: Any) -> Picture:
            if own.watch.preempted:
                reading.set()
                assert ended.wait(PATIENCE_S)
            return read_picture(*arguments)

        monkeypatch.setattr("glimpse_worker.decoding.read_picture", read)
        own.gather(2)
        old, young = (own.ask_about(q, **UNENDING, max_new_tokens=70) for q in (SQUARE, CIRCLE))
        assert reading.wait(PATIENCE_S)
        own.cancel(young)
        young.wait()
        ended.set()
        assert young.done.finish_reason == "cancelled"
        assert young.done.usage.completion_tokens == len(young.ids) > 0
        assert old.wait().done.finish_reason == "length"


@LOOKAHEADS
def test_nothing_follows_a_stop_string_and_the_next_request_begins_anew(lookahead: int) -> None:
    with board(max_running=1, lookahead=lookahead) as own:
        stopped, after = own.ask_about(CIRCLE, stop=[" on a"]), own.ask_about(HELLO)
        assert stopped.wait().text == "A red circle"
        assert stopped.done.finish_reason == "stop"
        assert stopped.ids == expected(CIRCLE)[: len(stopped.ids)]
        assert oracle().text(stopped.ids[:-1]).endswith("circle on")
        assert after.wait().ids == expected(HELLO)


@pytest.mark.parametrize("penalty", [0.01, 1.3, 100.0])
def test_a_penalty_weighs_as_in_transformers(penalty: float) -> None:
    questions = (HELLO, SQUARE)
    answers = [
        open_board().ask_about(question, max_new_tokens=24, repetition_penalty=penalty)
        for question in questions
    ]
    ids = [answer.wait().ids for answer in answers]
    assert ids == [expected(question, 24, penalty) for question in questions]
    assert ids != [expected(question, 24) for question in questions]


def test_the_hottest_draw_gives_tokens_of_the_vocabulary_until_the_length_that_was_asked() -> None:
    answer = open_board().ask_about(HELLO, max_new_tokens=40, **UNENDING).wait()
    assert (answer.done.finish_reason, len(answer.ids)) == ("length", 40)
    assert len(set(answer.ids)) > 30
    assert 0 <= min(answer.ids) <= max(answer.ids) < 512
    assert answer.raw == oracle().text(answer.ids)


Pixels = list[weakref.ref[Tensor]]


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pixels]:
    """Those of every picture that the engine prepares, as long as somebody holds them."""
    seen: Pixels = []

    def watched(*arguments: Any) -> Prepared:
        prepared = prepare(*arguments)
        seen.extend(weakref.ref(medium.pixels.frames) for medium in prepared.media if medium.pixels)
        return prepared

    monkeypatch.setattr("glimpse_worker.engine.paged.intake.prepare", watched)
    yield seen
    assert held(seen) == []


def held(pixels: Pixels) -> list[int]:
    return [index for index, pixel in enumerate(pixels) if pixel() is not None]


@LOOKAHEADS
def test_pictures_are_let_go_of_as_soon_as_they_are_computed(lookahead: int, pixels: Pixels) -> None:
    with board(lookahead=lookahead, feature_tokens=0) as own:
        counts: list[int] = []

        def count(answer: Answer) -> None:
            own.wait_until_prepared(answer)
            counts.append(len(held(pixels)))

        own.ask_about(CIRCLE, max_new_tokens=5, on_token=count).wait()
        assert len(pixels) == 1
        assert set(counts) == {0}


def test_a_cancelled_request_lets_go_of_its_pictures_while_another_generates(pixels: Pixels) -> None:
    with board(max_running=1) as own:
        waiting: list[Answer] = []
        counts: list[list[int]] = []

        def cancel_others(running: Answer) -> None:
            if len(running.ids) == 1:
                waiting.extend(own.ask_about(Question(CIRCLE.messages, [noise(112, n)])) for n in (56, 84))
                for answer in waiting:
                    own.wait_until_prepared(answer)
            counts.append(held(pixels))
            if len(running.ids) == 2:
                for answer in waiting:
                    own.cancel(answer)

        own.ask_about(HELLO, max_new_tokens=4, on_token=cancel_others, **UNENDING).wait()
        assert counts[:3] == [[0, 1], [0, 1], []]


def test_what_the_vision_tower_made_of_a_picture_is_not_kept_beyond_its_bound() -> None:
    with board(feature_tokens=150) as own:
        for side in (56, 84, 112, 140):
            picture = shapes((224, side), ("circle", "red", (4, 4, 40, 40)))
            own.ask_about(Question(CIRCLE.messages, [picture]), max_new_tokens=1).wait()
        assert 0 < own.engine._encoder._cache.used_bytes <= 150 * 1024
