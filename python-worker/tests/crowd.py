"""Many callers at once: each with a question, with what the answer has to be, and some without patience."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any, Literal

from embedded import Answer
from mixed import about_a_video, about_nothing, about_pictures, questions
from oracle import Question, Told, oracle
from paged import PagedCaller, Phase

from glimpse_worker.protocol import Done, Error

MAX_NEW_TOKENS = (1, 2, 6, 12, 24, 24, 40, 64)
LONG = 300
"""Characters of a prompt that is not computed in one step."""

Leaves = Literal["preparing"] | Phase


@dataclass(frozen=True, eq=False)
class Asked:
    """`expected` is what transformers gives; `leaves` says when the request is cancelled."""

    question: Question
    options: dict[str, Any]
    expected: Callable[[], Told]
    leaves: Leaves | None = None


def crowd(random: Random) -> list[Asked]:
    """
    200 that want greedy decoding and nothing else, 24 that want more, and 40 like one of these who leave
    early. In random order, but of two questions that begin alike the second follows soon.
    """
    groups = [[_plain(random, question) for question in group] for group in questions(random)]
    for make in (_penalised, _with_stop_string, _with_bounded_thinking):
        groups += [[make(random, about_nothing(random))] for _ in range(2)]
        groups += [[make(random, about_pictures(random, 1 + index % 2))] for index in range(4)]
        groups += [[make(random, about_a_video(random))] for _ in range(2)]
    everybody = [asked for group in groups for asked in group]
    long = [asked for asked in everybody if len(str(asked.question.messages)) > LONG]
    for leaves in ("preparing", "waiting", "prefilling", "decoding"):
        like = long if leaves == "prefilling" else everybody
        groups += [[replace(random.choice(like), leaves=leaves)] for _ in range(10)]
    random.shuffle(groups)
    return _in_order(random, groups)


def _in_order(random: Random, groups: Sequence[Sequence[Asked]]) -> list[Asked]:
    ordered: list[Asked] = []
    later: list[Asked] = []
    for first, *second in groups:
        ordered.append(first)
        later += second
        if later and random.random() < 0.5:
            ordered.append(later.pop(0))
    return ordered + later


def _plain(random: Random, question: Question) -> Asked:
    length = random.choice(MAX_NEW_TOKENS)
    return Asked(question, {"max_new_tokens": length}, cache(lambda: oracle().greedy(question, length)))


def _penalised(random: Random, question: Question) -> Asked:
    length, penalty = random.choice((24, 40)), random.choice((0.8, 1.1, 1.5))
    return Asked(
        question,
        {"max_new_tokens": length, "repetition_penalty": penalty},
        cache(lambda: oracle().greedy(question, length, penalty=penalty)),
    )


def _with_stop_string(random: Random, question: Question) -> Asked:
    """Ends with the token that completes the string in the answer; what the thinking says does not count."""
    stop = random.choice(("e", "to", " ", "1"))

    def expected() -> Told:
        told = oracle().greedy(question, 40)
        for count in range(len(told.ids)):
            if stop in answer_text(told.ids[: count + 1]):
                return replace(told, ids=told.ids[: count + 1], stopped=True)
        return told

    return Asked(question, {"max_new_tokens": 40, "stop": [stop]}, cache(expected))


def _with_bounded_thinking(random: Random, question: Question) -> Asked:
    """After so many tokens of thinking, `generate` goes on after the tokens that close it."""
    limit = random.choice((0, 1, 3, 6))

    def expected() -> Told:
        told = oracle().greedy(question, 40)
        think, end_think, answer = oracle().ids("<think>", "</think>", "<answer>")
        if limit > 0 and (told.ids[0] != think or end_think in told.ids[: limit + 1]):
            return told
        begun = [think, *told.ids[1 : limit + 1], end_think, answer]
        rest = oracle().greedy(question, 40 - len(begun), after=begun)
        sure = [*told.margins[: limit + 1], *[float("inf")] * 2]
        return replace(rest, ids=begun + rest.ids, margins=sure + rest.margins)

    return Asked(question, {"max_new_tokens": 40, "max_thinking_tokens": limit}, cache(expected))


def answer_text(ids: Sequence[int]) -> str:
    """What is neither thinking nor a tag."""
    text = oracle().text(ids)
    return re.sub(r"<[^<>]*>", "", re.sub(r"<think>.*?(</think>|$)", "", text, flags=re.DOTALL))


class Visit:
    """
    Submits `asked`: a few at once, the others at random moments while those get on. Its `answers`, in the
    order of `asked`, have all ended.
    """

    def __init__(self, caller: PagedCaller, asked: Sequence[Asked], random: Random) -> None:
        self._caller = caller
        self._random = random
        self._leaving: dict[int, Phase] = {}
        self.answers: list[Answer] = []
        on_board = 0
        caller.watch.on_phase = self._leave
        for number, one in enumerate(asked):
            pause = 0 if number < 6 else random.randrange(6)
            while on_board and pause:
                on_board -= isinstance(caller.hear(), Done | Error)
                pause -= 1
            self._submit(one)
            on_board += 1
        while on_board:
            on_board -= isinstance(caller.hear(), Done | Error)

    def _submit(self, asked: Asked) -> None:
        caller = self._caller
        if asked.leaves is not None and asked.leaves != "preparing":
            self._leaving[len(self.answers)] = asked.leaves
        answer = caller.ask_about(asked.question, **asked.options)
        self.answers.append(answer)
        if asked.leaves == "preparing":
            caller.cancel(answer)

    def _leave(self, number: int, phase: Phase) -> None:
        """On the engine's thread, before a step. Some go on for a few tokens before they leave."""
        stays = phase == "decoding" and self._random.random() < 0.8
        if self._leaving.get(number) == phase and not stays:
            del self._leaving[number]
            self._caller.cancel(self._caller.answers[f"r{number}"])
