"""What goes wrong in the paged engine ends the request at fault, by name, and none of the others."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import pytest
import torch
from boards import CIRCLE, HELLO, SQUARE, SUM, UNENDING, Board, Launch, board, expected, long_text
from drawing import noise
from embedded import PATIENCE_S, Answer, user
from oracle import Question
from torch import Tensor

from glimpse_worker.engine.paged.runner import Forward, Launched
from glimpse_worker.engine.paged.vision import VisionTower
from glimpse_worker.media import Picture, read_picture
from glimpse_worker.prompt import PromptBuilder

LOOKAHEADS = pytest.mark.parametrize("lookahead", [0, 1], ids=["read at once", "one step ahead"])
FULL = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a capacity of 79 GiB"
)


@pytest.fixture(autouse=True)
def _quick_collection() -> Iterator[None]:
    """The engine collects garbage after each failure; it need not look through all of torch every time."""
    gc.freeze()
    yield
    gc.unfreeze()


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_arguments: object, **_options: object) -> NoReturn:
        raise error

    return fail


def failing(error: Exception, when: Callable[[Launch], bool]) -> Callable[[Launch], None]:
    """Fails the launches of a board that `when` picks."""

    def before(launch: Launch) -> None:
        if when(launch):
            raise error

    return before


def poisoned(own: Board, name: str, launches: int) -> Callable[[Launch], bool]:
    """Every launch with that request, after so many."""

    def when(launch: Launch) -> bool:
        before = sum(name in launch.names for launch in own.launches[:-1])
        return name in launch.names and before >= launches

    return when


@LOOKAHEADS
def test_prompts_that_do_not_fit_into_memory_together_are_computed_one_by_one_in_smaller_chunks(
    lookahead: int,
) -> None:
    with board(lookahead=lookahead) as own:
        own.before = failing(FULL, lambda launch: launch.tokens > 100)
        questions = [long_text(200), CIRCLE, SUM, SQUARE]
        own.gather(4)
        answers = [own.ask_about(question, max_new_tokens=10) for question in questions]
        for question, answer in zip(questions, answers, strict=True):
            assert answer.wait().ids == expected(question, 10)
        assert max(own.of(answers[0], "prefill")) > 100
        assert 50 < max(own.of(answers[0], "prefill")[-2:]) <= 100


@LOOKAHEADS
def test_a_prompt_that_does_not_fit_into_memory_in_small_chunks_either_ends_by_name(lookahead: int) -> None:
    with board(lookahead=lookahead) as own:
        own.before = failing(FULL, lambda launch: launch.kind == "prefill" and "r1" in launch.names)
        own.gather(3)
        others = [own.ask_about(SUM)]
        guilty = own.ask_about(long_text(60))
        others += [own.ask_about(CIRCLE)]
        failure = guilty.wait().error
        assert failure.code == "GPU_OUT_OF_MEMORY"
        assert failure.message == (
            f"the request did not fit into the memory of {own.engine.ready.device.name}: CUDA out of memory"
        )
        assert failure.hint is not None
        assert [other.wait().ids for other in others] == [expected(SUM), expected(CIRCLE)]
        alone = [launch.tokens for launch in own.launches if launch.names == [guilty.name]]
        assert [count / alone[0] for count in alone] == pytest.approx(
            [1, 1 / 2, 1 / 4][: len(alone)], abs=0.01
        )
        assert alone[-1] <= 64 < alone[-2]


@LOOKAHEADS
def test_an_answer_that_does_not_fit_into_memory_any_more_ends_by_name(lookahead: int) -> None:
    with board(lookahead=lookahead) as own:
        own.before = failing(FULL, poisoned(own, "r1", 3))
        own.gather(3)
        answers = [own.ask_about(question) for question in (SUM, HELLO, CIRCLE)]
        assert answers[1].wait().error.code == "GPU_OUT_OF_MEMORY"
        assert answers[1].ids == expected(HELLO)[:3]
        assert answers[0].wait().ids == expected(SUM)
        assert answers[2].wait().ids == expected(CIRCLE)


def test_a_picture_that_does_not_fit_into_memory_ends_its_request_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = VisionTower.encode

    def encode(tower: VisionTower, items: Sequence[Tensor]) -> list[Tensor]:
        if any(item.shape[-1] == 252 for item in items):
            raise FULL
        return original(tower, items)

    monkeypatch.setattr(VisionTower, "encode", encode)
    with board() as own:
        large = Question([user(0, "Describe this image.")], [noise(252, 252)])
        own.gather(3)
        answers = [own.ask_about(question) for question in (CIRCLE, large, SQUARE)]
        assert answers[1].wait().error.code == "GPU_OUT_OF_MEMORY"
        assert answers[0].wait().ids == expected(CIRCLE)
        assert answers[2].wait().ids == expected(SQUARE)


@LOOKAHEADS
@pytest.mark.parametrize("launches", [0, 1, 4])
def test_a_request_that_breaks_its_batch_ends_with_the_traceback_and_the_others_go_on(
    launches: int, lookahead: int
) -> None:
    with board(lookahead=lookahead) as own:
        own.before = failing(ValueError("poison"), poisoned(own, "r1", launches))
        questions = [SUM, HELLO, CIRCLE, SQUARE]
        own.gather(4)
        answers = [own.ask_about(question) for question in questions]
        failure = answers[1].wait().error
        assert failure.code == "GENERATION_FAILED"
        assert "poison" in failure.message
        assert "poison" in (failure.traceback or "")
        for question, answer in zip(questions, answers, strict=True):
            if answer is not answers[1]:
                assert answer.wait().ids == expected(question)


@LOOKAHEADS
def test_drawn_tokens_and_penalties_are_the_same_after_a_batch_has_failed(lookahead: int) -> None:
    options: dict[str, Any] = {"max_new_tokens": 12, "repetition_penalty": 3.0}
    with board(lookahead=lookahead) as own:
        undisturbed = [own.ask_about(HELLO, **options, **wish).wait().ids for wish in ({}, UNENDING)]
        flaky = iter([True, False, False] * 20)
        own.before = failing(ValueError("flaky"), lambda launch: len(launch.names) > 1 and next(flaky))
        own.gather(2)
        answers = [own.ask_about(HELLO, **options, **wish) for wish in ({}, UNENDING)]
        assert [answer.wait().ids for answer in answers] == undisturbed


@LOOKAHEADS
@pytest.mark.parametrize("launch", [1, 2, 5])
def test_a_launch_that_fails_at_its_very_end_is_repeated_as_if_nothing_had_been(
    launch: int, lookahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU there may be no memory left for the tokens' way back to the host."""
    options: dict[str, Any] = {"max_new_tokens": 12, "repetition_penalty": 30.0}
    answers: list[Answer] = []
    with board(lookahead=lookahead) as own:
        original, count = own.engine._runner._launched, itertools.count(1)

        def launched(forward: Forward, tokens: Tensor) -> Launched:
            if len(forward.sequences) == 2 and next(count) == launch:
                raise FULL
            return original(forward, tokens)

        def submit_both(_: Answer) -> None:
            """Both prompts are there before the next step, so they are its batch, and launch 1."""
            answers.extend([own.ask_about(HELLO, **options), own.ask_about(SUM)])
            for answer in answers:
                own.wait_until_prepared(answer)

        monkeypatch.setattr(own.engine._runner, "_launched", launched)
        own.ask_about(CIRCLE, max_new_tokens=1, on_token=submit_both).wait()
        assert answers[0].wait().ids == expected(HELLO, 12, 30.0)
        assert answers[1].wait().ids == expected(SUM)


@LOOKAHEADS
def test_a_request_can_be_cancelled_while_its_batch_is_taken_apart(lookahead: int) -> None:
    with board(lookahead=lookahead) as own:

        def before(launch: Launch) -> None:
            if launch.kind == "decode" and "r0" in launch.names:
                own.cancel(own.answers["r2"])
                own.cancel(own.answers["r1"])
                raise ValueError("poison")

        own.before = before
        own.gather(3)
        answers = [own.ask_about(question) for question in (SUM, HELLO, CIRCLE)]
        assert answers[0].wait().error.code == "GENERATION_FAILED"
        for answer in answers[1:]:
            assert answer.wait().done.finish_reason == "cancelled"
            assert answer.done.usage.completion_tokens == len(answer.ids)
        assert own.ask_about(CIRCLE).wait().ids == expected(CIRCLE)


@LOOKAHEADS
def test_a_request_can_come_to_its_end_while_its_batch_is_taken_apart(lookahead: int) -> None:
    with board(lookahead=lookahead) as own:
        own.before = failing(
            ValueError("crowded"), lambda launch: launch.kind == "decode" and len(launch.names) > 1
        )
        own.gather(5)
        answers = [own.ask_about(CIRCLE, max_new_tokens=length) for length in (1, 2, 3, 4, 60)]
        for length, answer in zip((1, 2, 3, 4, 60), answers, strict=True):
            assert answer.wait().ids == expected(CIRCLE)[:length]


@LOOKAHEADS
def test_a_broken_batch_is_taken_apart_also_when_there_is_no_room_for_all_of_it(lookahead: int) -> None:
    options = {**UNENDING, "max_new_tokens": 60}
    with board(cache_tokens=256, lookahead=lookahead) as own:
        flaky = iter([True, False, False, False, False] * 100)
        own.before = failing(ValueError("flaky"), lambda launch: len(launch.names) > 1 and next(flaky))
        own.gather(3)
        answers = [own.ask_about(question, **options) for question in (CIRCLE, SUM, SQUARE)]
        ids = [answer.wait().ids for answer in answers]
        assert own.watch.preempted
        own.before = lambda _: None
        assert ids == [own.ask_about(question, **options).wait().ids for question in (CIRCLE, SUM, SQUARE)]


def test_an_error_while_a_prompt_is_built_ends_its_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with board() as own:
        with monkeypatch.context() as patch:
            patch.setattr(PromptBuilder, "build", raising(ValueError("surprise")))
            failure = own.ask_about(CIRCLE).wait().error
        assert failure.code == "GENERATION_FAILED"
        assert "surprise" in failure.message
        assert own.ask_about(CIRCLE).wait().ids == expected(CIRCLE)


def test_ids_that_the_model_does_not_have_are_no_earlier_attempt() -> None:
    with board() as own:
        failure = own.ask_about(HELLO, generated=[506, 512]).wait().error
        assert failure.code == "INVALID_REQUEST"
        assert failure.message == "generated: expected ids below 512, got 512"
        assert failure.hint is not None


def test_an_earlier_attempt_that_came_to_its_end_is_not_gone_on_with() -> None:
    with board() as own:
        whole = own.ask_about(HELLO).wait()
        ended = own.ask_about(HELLO, generated=whole.ids).wait()
        assert (ended.done.finish_reason, ended.ids) == ("stop", [])
        assert ended.done.usage.completion_tokens == len(whole.ids)
        cut = own.ask_about(HELLO, generated=whole.ids[:5], max_new_tokens=5).wait()
        assert (cut.done.finish_reason, cut.ids) == ("length", [])
        assert own.of(ended, "prefill") == own.of(cut, "prefill") == []


def test_a_prompt_beyond_the_kv_cache_is_refused_with_the_numbers() -> None:
    with board(cache_tokens=256) as own:
        assert own.engine.ready.context_length == 256
        failure = own.ask_about(long_text(300)).wait().error
        assert failure.code == "CONTEXT_TOO_LONG"
        assert "256" in failure.message
        answer = own.ask_about(HELLO, max_new_tokens=1000).wait()
        assert [warning.code for warning in answer.warnings] == ["MAX_NEW_TOKENS_CUT"]


def broken_device(own: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel's assertion does: the launch fails, and so does everything after it."""
    gone = torch.AcceleratorError("CUDA error: device-side assert triggered", 710)
    own.before = failing(gone, lambda launch: launch.kind == "decode")
    monkeypatch.setattr("glimpse_worker.engine.paged.engine.settle", raising(gone))


def test_a_device_that_takes_no_more_work_ends_the_engine_and_no_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Board(cache_tokens=256, feature_tokens=0)
    broken_device(own, monkeypatch)
    answers = [own.ask_about(HELLO), own.ask_about(SUM)]
    assert own.broken.wait(PATIENCE_S)
    assert own.fault is not None
    assert own.fault.reason == "engine broken"
    assert "device-side assert" in own.fault.message
    assert len(own.launches) <= 3
    for answer in answers:
        assert answer.ids == expected(HELLO if answer is answers[0] else SUM)[: len(answer.ids)]
        assert len(answer.messages) == len(answer.ids)
    own.close()


@LOOKAHEADS
def test_an_engine_that_is_closed_with_requests_on_board_ends_none_of_them(
    lookahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One runs, one waits for its turn, and the picture of one is being decoded."""
    own = Board(cache_tokens=256, feature_tokens=0, max_running=1, lookahead=lookahead)
    reading, closed = threading.Event(), threading.Event()

    def read(*arguments: Any) -> Picture:
        reading.set()
        assert closed.wait(PATIENCE_S)
        return read_picture(*arguments)

    def submit_others_and_close(running: Answer) -> None:
        if len(running.ids) == 2:
            own.wait_until_prepared(own.ask_about(SUM))
            own.ask_about(CIRCLE)
            assert reading.wait(PATIENCE_S)
            own.engine.close()

    monkeypatch.setattr("glimpse_worker.decoding.read_picture", read)
    own.ask_about(HELLO, on_token=submit_others_and_close)
    assert reading.wait(PATIENCE_S)
    own.close()
    closed.set()
    own.wait_until_prepared(own.answers["r2"])
    assert [len(answer.messages) for answer in own.answers.values()] == [2, 0, 0]
    assert own.fault is None


def test_an_engine_that_is_closed_while_a_request_makes_room_does_not_break() -> None:
    own = Board(cache_tokens=256, feature_tokens=0)

    def close(*_: object) -> None:
        if own.watch.preempted:
            own.engine.close()

    own.watch.on_phase = close
    own.gather(2)
    for question in (SQUARE, CIRCLE):
        own.ask_about(question, **UNENDING, max_new_tokens=70)
    own.wait_until_closed()
    assert own.watch.preempted == [1]
    assert own.fault is None


def test_a_request_that_comes_after_the_end_is_let_go() -> None:
    own = Board(cache_tokens=256, feature_tokens=0)
    own.close()
    assert own.ask_about(CIRCLE).messages == []
    assert own.fault is None
