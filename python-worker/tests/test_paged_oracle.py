"""
The paged engine gives what transformers gives for one request at a time, whatever else it computes, whatever
it finds in its caches, and however often a request is interrupted.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from boards import Board, Launch, board
from crowd import Asked, Visit, crowd
from embedded import PATIENCE_S, Answer
from mixed import about_a_video, about_nothing, about_pictures, second_turn
from oracle import Drawn, Question, Told, oracle
from verdict import Verdict

from glimpse_worker.engine.paged.sampler import uniforms
from glimpse_worker.protocol import BoxPart, Part

SEED = 20260730
LENGTH = 32
NEAR = 1e-4
"""Two scores, when one could be taken for the other."""
NEAR_DRAW = 1e-5
"""The same of a random number and the border between two ids."""
DRAWN = (Drawn(1.0, 0.6, 1.1), Drawn(1.0, 0.6, 1.0), Drawn(1.6, 0.95, 1.2), Drawn(0.7, 0.9, 1.0, top_k=7))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The model is so small that threads do nothing but wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def everybody() -> list[Asked]:
    return crowd(Random(SEED))


@pytest.mark.parametrize(("lookahead", "page_size"), [(0, 4), (1, 8)], ids=["read at once", "one step ahead"])
def test_a_crowd_without_enough_memory_gets_what_transformers_gives_one_by_one(
    everybody: list[Asked], lookahead: int, page_size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with board(
        cache_tokens=304,
        feature_tokens=200,
        page_size=page_size,
        max_running=12,
        token_budget=96,
        lookahead=lookahead,
    ) as own:
        answers = Visit(own, everybody, Random(SEED + lookahead)).answers
    verdict = Verdict(NEAR)
    left: Counter[str] = Counter()
    for number, (asked, answer) in enumerate(zip(everybody, answers, strict=True)):
        told, done = asked.expected(), answer.done
        verdict.compare(f"request {number}", answer.ids, told, cut=done.finish_reason == "cancelled")
        assert done.usage.completion_tokens == len(answer.ids)
        if done.finish_reason == "cancelled":
            left[str(asked.leaves)] += 1
        else:
            assert done.usage.prompt_tokens == told.prompt_tokens
            if answer.ids == told.ids:
                assert done.finish_reason == ("stop" if told.stopped else "length")
    preempted = len(own.watch.preempted)
    with capsys.disabled():
        print(f"\nseed {SEED}: {verdict}; {preempted} preempted")  # noqa: T201
    verdict.check()
    assert preempted > 0
    check_that_all_of_it_happened(everybody, answers, left)


def check_that_all_of_it_happened(
    everybody: Sequence[Asked], answers: Sequence[Answer], left: Counter[str]
) -> None:
    """Or the crowd proves less than it says."""
    # Nobody could tell one's answer from another's if all were alike.
    assert len({tuple(asked.expected().ids) for asked in everybody}) > len(everybody) / 2
    assert set(left) == {"preparing", "waiting", "prefilling", "decoding"}
    usages = [answer.done.usage for answer in answers]
    # More than that are the pictures and what stands around them.
    assert sum(usage.cached_tokens > usage.image_tokens > 0 for usage in usages) > 3
    assert sum(usage.cached_image_tokens > usage.cached_tokens for usage in usages) > 3


def samples(random: Random) -> list[Question]:
    """Of each kind one, and a second turn about pictures."""
    pictures = about_pictures(random, 3)
    return [
        about_nothing(random),
        about_pictures(random, 1),
        pictures,
        second_turn(random, pictures),
        about_a_video(random),
    ]


def told_of(question: Question, how: Drawn | None, answer: Answer, seed: int) -> Told:
    """What transformers' `generate` gives, or what its scores give for the random numbers of the seed."""
    if how is None:
        return oracle().greedy(question, LENGTH)
    positions = np.arange(len(answer.ids), dtype=np.uint64)
    numbers = uniforms(np.full_like(positions, seed), positions)
    return oracle().draws(question, answer.ids, numbers.tolist(), how)


def options_of(how: Drawn | None, seed: int) -> dict[str, Any]:
    chosen: dict[str, Any] = {"temperature": 0.0} if how is None else asdict(how)
    return {"max_new_tokens": LENGTH, "seed": seed} | chosen


def joined(parts: Iterable[Part]) -> list[tuple[str, object]]:
    """Neighbours of a kind as one, however they were cut."""
    gathered: list[tuple[str, object]] = []
    for part in parts:
        kind = type(part).__name__
        if isinstance(part, BoxPart):
            gathered.append((kind, (part.image, part.box)))
        elif gathered and gathered[-1][0] == kind:
            gathered[-1] = (kind, f"{gathered[-1][1]}{part.text}")
        else:
            gathered.append((kind, part.text))
    return gathered


@pytest.mark.parametrize("how", [None, DRAWN[0]], ids=["greedy", "drawn"])
@pytest.mark.parametrize("lookahead", [0, 1], ids=["read at once", "one step ahead"])
def test_an_answer_that_broke_off_anywhere_goes_on_as_if_it_had_not(
    how: Drawn | None, lookahead: int
) -> None:
    random = Random(SEED)
    verdict = Verdict(NEAR if how is None else NEAR_DRAW)
    reused = 0
    with board(page_size=8, token_budget=96, lookahead=lookahead) as own:
        for seed, question in enumerate(samples(random)):
            options = options_of(how, seed)
            whole = own.ask_about(question, **options).wait()
            told = told_of(question, how, whole, seed)
            verdict.compare(f"{seed}", whole.ids, told)
            cuts = random.sample(range(1, len(whole.ids)), min(8, len(whole.ids) - 1))
            rests = [own.ask_about(question, generated=whole.ids[:cut], **options) for cut in cuts]
            for cut, rest in zip(cuts, rests, strict=True):
                usage = rest.wait().done.usage
                reused += usage.cached_tokens > usage.image_tokens > 0
                after = replace(told, ids=told.ids[cut:], margins=told.margins[cut:])
                verdict.compare(f"{seed} from {cut} on", rest.ids, after)
                if rest.ids == whole.ids[cut:]:
                    before = [part for item in whole.items if item.index < cut for part in item.parts]
                    assert joined([*before, *rest.parts]) == joined(whole.parts)
                    assert rest.items[0].index == cut
                    assert rest.done.finish_reason == whole.done.finish_reason
                    assert usage.completion_tokens == len(whole.ids)
    verdict.check()
    assert reused > 10


@pytest.mark.parametrize("index", range(5), ids=["text", "picture", "pictures", "second turn", "video"])
def test_an_answer_goes_on_in_another_worker_that_has_nothing_in_its_caches(index: int) -> None:
    question = samples(Random(SEED))[index]
    told = oracle().greedy(question, LENGTH)
    cut = len(told.ids) // 2
    with board(token_budget=48) as own:
        rest = own.ask_about(question, generated=told.ids[:cut], **options_of(None, 0)).wait()
    assert (rest.done.usage.cached_tokens, rest.done.usage.cached_image_tokens) == (0, 0)
    verdict = Verdict(NEAR)
    verdict.compare("the rest", rest.ids, replace(told, ids=told.ids[cut:], margins=told.margins[cut:]))
    verdict.check()


def test_draws_are_the_same_alone_among_fifteen_others_and_with_interruptions() -> None:
    asked = [(question, DRAWN[n % len(DRAWN)]) for n, question in enumerate(sixteen(Random(SEED)))]
    verdict = Verdict(NEAR_DRAW)
    with board(max_running=1) as own:
        alone = ask_all(own, asked)
    told = [told_of(*one, answer, seed) for seed, (one, answer) in enumerate(zip(asked, alone, strict=True))]
    with board(max_running=16, token_budget=4096) as own:
        together = ask_all(own, asked)
        assert own.watch.largest_batch == 16
    answers = {"alone": alone, "together": together}
    for lookahead in (0, 1):
        with board(page_size=4, cache_tokens=304, lookahead=lookahead) as own:
            answers[f"interrupted, {lookahead} ahead"] = ask_all(own, asked)
            assert own.watch.preempted
    for name, several in answers.items():
        for number, (answer, expected) in enumerate(zip(several, told, strict=True)):
            verdict.compare(f"request {number} {name}", answer.ids, expected)
    verdict.check()


def sixteen(random: Random) -> list[Question]:
    return [
        *[about_nothing(random) for _ in range(4)],
        *[about_pictures(random, 1 + n % 3) for n in range(9)],
        *[about_a_video(random) for _ in range(3)],
    ]


def ask_all(own: Board, asked: Sequence[tuple[Question, Drawn]]) -> list[Answer]:
    """All at once: the first step waits until all are prepared."""
    submitted = threading.Event()

    def hold(_: Launch) -> None:
        submitted.wait(PATIENCE_S)
        for answer in own.answers.values():
            own.wait_until_prepared(answer)

    own.before = hold
    for seed, (question, how) in enumerate(asked):
        own.ask_about(question, **options_of(how, seed))
    submitted.set()
    return [answer.wait() for answer in own.answers.values()]
