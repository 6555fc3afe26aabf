"""Which tokens come out of a launch, and that the rows of a batch know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from boards import CIRCLE, HELLO, SUM, UNENDING, Board, board, expected
from embedded import start_line
from oracle import Question, oracle

from glimpse_worker.checkpoint import load_model, load_tokenizer, open_checkpoint
from glimpse_worker.engine.paged.decoder import Decoder
from glimpse_worker.engine.paged.inbox import Arrived
from glimpse_worker.engine.paged.memory import allocate_caches
from glimpse_worker.engine.paged.request import Generation
from glimpse_worker.engine.paged.runner import Launched, Runner
from glimpse_worker.engine.paged.sampler import TorchSampler
from glimpse_worker.engine.paged.sequence import AllowedTokens, Chunk, Sequence
from glimpse_worker.engine.paged.torch_ops import TorchOps
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.sampling import Sampling

PAGE = 16
GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, seed=0)
PENALISED = Sampling(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=3.0, seed=0)
HOT = Sampling(temperature=100.0, top_p=1.0, top_k=0, repetition_penalty=1.0, seed=3)
LOOKAHEADS = pytest.mark.parametrize("lookahead", [0, 1], ids=["read at once", "one step ahead"])


@cache
def decoder() -> Decoder:
    checkpoint = open_checkpoint(start_line(), lambda *_: None)
    return Decoder(load_model(checkpoint, torch.device("cpu"), "float32", lambda *_: None), TorchOps())


@cache
def prompt(text: str) -> list[int]:
    tokenizer = load_tokenizer(open_checkpoint(start_line(), lambda *_: None))
    ids: list[int] = tokenizer.encode(f"<|user|>\n{text}<|assistant|>\n")
    return ids


def mask(*ids: int) -> npt.NDArray[np.int32]:
    bits = np.zeros(512, dtype=np.uint8)
    bits[list(ids)] = 1
    return np.packbits(bits, bitorder="little").view(np.int32)


@dataclass
class Bench:
    """A runner without a scheduler: each sequence gets eight pages and the slot that it asks for."""

    runner: Runner = field(
        default_factory=lambda: Runner(
            decoder(),
            TorchOps(),
            TorchSampler(),
            allocate_caches(decoder(), 32, PAGE),
            page_size=PAGE,
            max_running=4,
        )
    )

    def sequence(
        self, text: str, slot: int, sampling: Sampling = GREEDY, allowed: AllowedTokens | None = None
    ) -> Sequence:
        ids = prompt(text)
        made = Sequence(
            slot,
            ids,
            [],
            merge_size=2,
            page_size=PAGE,
            max_new_tokens=100,
            sampling=sampling,
            allowed=allowed,
        )
        made.slot, made.pages = slot, list(range(8 * slot, 8 * slot + 8))
        return made

    def begin(self, *sequences: Sequence) -> None:
        """Computes all that is known of them, and the next token of each."""
        chunks = [Chunk(one, one.computed, len(one.ids) - one.computed) for one in sequences]
        self._read(sequences, self.runner.prefill(chunks, []))

    def go_on(self, *sequences: Sequence, tokens: int = 1) -> None:
        for _ in range(tokens):
            self._read(sequences, self.runner.sample(self.runner.decode(sequences)))

    def _read(self, sequences: List[Sequence], launched: Launched | None) -> None:
        assert launched is not None
        for sequence in sequences:
            sequence.computed, sequence.sampled = sequence.length, True
            sequence.unread += 1
        for sequence, token in launched.read():
            sequence.read(token)


def answer(sequence: Sequence) -> list[int]:
    return sequence.ids[sequence.prompt_length :]


@cache
def alone(text: str, sampling: Sampling, tokens: int) -> list[int]:
    bench = Bench()
    sequence = bench.sequence(text, 0, sampling)
    bench.begin(sequence)
    bench.go_on(sequence, tokens=tokens - 1)
    return answer(sequence)


@pytest.fixture(autouse=True)
def _inference() -> Any:
    with torch.inference_mode():
        yield


def test_rows_of_a_batch_are_sampled_each_in_its_own_way() -> None:
    bench = Bench()
    wishes = [("Hello", GREEDY), ("Hello", HOT), ("Hello", PENALISED), ("What is 7 + 8?", GREEDY)]
    sequences = [bench.sequence(text, slot, how) for slot, (text, how) in enumerate(wishes)]
    bench.begin(*sequences)
    bench.go_on(*sequences, tokens=14)
    assert [answer(one) for one in sequences] == [alone(text, how, 15) for text, how in wishes]
    assert len({tuple(answer(one)) for one in sequences}) == 4


def test_a_chunk_that_does_not_reach_the_end_of_its_prompt_gives_no_token() -> None:
    bench = Bench()
    sequence, other = bench.sequence("Hello", 0), bench.sequence("What is 7 + 8?", 1)
    assert bench.runner.prefill([Chunk(sequence, 0, 3)], []) is None
    sequence.computed = 3
    launched = bench.runner.prefill([Chunk(other, 0, 4), Chunk(sequence, 3, len(sequence.ids) - 3)], [])
    assert launched is not None
    assert launched.read() == [(sequence, alone("Hello", GREEDY, 1)[0])]


def test_a_token_that_does_not_count_any_more_is_not_read() -> None:
    bench = Bench()
    sequence, other = bench.sequence("Hello", 0), bench.sequence("What is 7 + 8?", 1)
    chunks = [Chunk(one, 0, len(one.ids)) for one in (sequence, other)]
    launched = bench.runner.prefill(chunks, [])
    assert launched is not None
    sequence.append([1, 2])
    assert [one for one, _ in launched.read()] == [other]


def test_ids_that_follow_without_having_been_sampled_count_for_the_penalty() -> None:
    sevens = [22, 22]
    bench = Bench()
    sequence = bench.sequence("Hello", 0, PENALISED)
    bench.begin(sequence)
    first = answer(sequence)
    bench.go_on(sequence)
    # The second token is dropped, as if it had been sampled ahead, and others take its place.
    sequence.ids.pop()
    sequence.computed = len(sequence.ids) - 1
    sequence.append(sevens)
    bench.begin(sequence)
    bench.go_on(sequence, tokens=6)
    anew = Bench()
    same = anew.sequence("Hello", 1, PENALISED)
    same.append([*first, *sevens])
    anew.begin(same)
    anew.go_on(same, tokens=6)
    assert answer(sequence) == answer(same)


def test_a_penalty_does_not_count_what_others_said_in_the_same_slot_meanwhile() -> None:
    undisturbed = alone("Hello", PENALISED, 12)
    bench = Bench()
    first = bench.sequence("Hello", 0, PENALISED)
    bench.begin(first)
    bench.go_on(first, tokens=2)
    # It makes room. Somebody without a penalty takes its slot, beside somebody with one; then it comes back.
    visitor, neighbour = bench.sequence("Hello", 0), bench.sequence("Hello", 1, PENALISED)
    bench.begin(visitor, neighbour)
    bench.go_on(visitor, neighbour, tokens=11)
    first.computed, first.sampled = 0, False
    bench.begin(first)
    bench.go_on(first, tokens=8)
    assert answer(first) == undisturbed


def test_a_penalty_counts_what_a_request_said_in_another_slot_meanwhile() -> None:
    bench = Bench()
    sequence = bench.sequence("Hello", 0, PENALISED)
    for slot in (0, 1, 0):
        sequence.slot, sequence.computed, sequence.sampled = slot, 0, False
        bench.begin(sequence)
        bench.go_on(sequence, tokens=7)
    assert answer(sequence) == alone("Hello", PENALISED, 24)


@pytest.mark.parametrize("sampling", [GREEDY, HOT, PENALISED], ids=["greedy", "sampled", "penalised"])
def test_only_allowed_tokens_come_out_of_a_row_and_its_neighbours_do_not_notice(sampling: Sampling) -> None:
    bench = Bench()
    digits = [*range(15, 25), 511]
    bounded = bench.sequence("What is 7 + 8?", 0, sampling, lambda _: mask(*digits))
    free, hot = bench.sequence("Hello", 1), bench.sequence("Hello", 2, HOT)
    bench.begin(free, bounded, hot)
    bench.go_on(hot, bounded, free, tokens=11)
    assert set(answer(bounded)) <= set(digits)
    assert answer(free) == alone("Hello", GREEDY, 12)
    assert answer(hot) == alone("Hello", HOT, 12)
    if sampling is HOT:
        assert len(set(answer(bounded))) > 3


def test_which_tokens_are_allowed_may_depend_on_those_before() -> None:
    bench = Bench()
    sequence = bench.sequence("Hello", 0, HOT, lambda ids: mask((ids[-1] + 1) % 512))
    last = sequence.ids[-1]
    bench.begin(sequence)
    bench.go_on(sequence, tokens=5)
    assert answer(sequence) == [(last + 1 + step) % 512 for step in range(6)]


class Allowing:
    """Lets a request of a board have `ids` only, and notes after which ids it was asked."""

    def __init__(self, own: Board, name: str, ids: List[int], monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[list[int]] = []
        self._name = name
        self._mask = mask(*ids)
        self._admit = own.engine._admission.admit
        monkeypatch.setattr(own.engine._admission, "admit", self._watched_admit)

    def __call__(self, ids: List[int]) -> npt.NDArray[np.int32]:
        self.asked.append([*ids])
        return self._mask

    def _watched_admit(self, arrived: Arrived) -> Generation:
        generation = self._admit(arrived)
        if generation.key.request == self._name:
            generation.sequence.allowed = self
        return generation


def constrained(question: Question, ids: List[int], length: int) -> list[int]:
    """What transformers' `generate` gives when it may choose among `ids` only."""
    inputs = oracle()._inputs(question, ())
    output = oracle().script.model.generate(
        **inputs, do_sample=False, max_new_tokens=length, prefix_allowed_tokens_fn=lambda *_: [*ids]
    )
    told: list[int] = output[0, inputs["input_ids"].shape[1] :].tolist()
    return told


@LOOKAHEADS
@pytest.mark.parametrize("options", [{}, UNENDING], ids=["greedy", "sampled"])
def test_a_request_with_allowed_tokens_is_asked_for_each_and_keeps_nobody_waiting(
    lookahead: int, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [id for id in range(490) if id % 3 == 0]
    with board(lookahead=lookahead) as own:
        allowing = Allowing(own, "r1", ids, monkeypatch)
        others = [own.ask_about(SUM)]
        bounded = own.ask_about(HELLO, max_new_tokens=12, **options)
        others += [own.ask_about(CIRCLE)]
        assert set(bounded.wait().ids) <= set(ids)
        if not options:
            assert bounded.ids == constrained(HELLO, ids, 12)
        # Each time with all the ids before, so never before they were known.
        prompt_length = bounded.done.usage.prompt_tokens
        assert [asked[prompt_length:] for asked in allowing.asked] == [bounded.ids[:n] for n in range(12)]
        assert [other.wait().ids for other in others] == [expected(SUM), expected(CIRCLE)]


@pytest.mark.parametrize("id", [490, 497, 499])
def test_each_stop_token_ends_an_answer(id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with board() as own:
        Allowing(own, "r0", [id], monkeypatch)
        answer = own.ask_about(HELLO, **UNENDING).wait()
        assert (answer.ids, answer.text, answer.done.finish_reason) == ([id], "", "stop")
        assert answer.raw == oracle().text([id])


@LOOKAHEADS
def test_a_request_with_allowed_tokens_goes_on_in_every_step(
    lookahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with board(lookahead=lookahead) as own:
        Allowing(own, "r1", range(490), monkeypatch)
        own.gather(2)
        answers = [own.ask_about(HELLO, max_new_tokens=12, **UNENDING) for _ in range(2)]
        for answer in answers:
            answer.wait()
        decoded = [launch.names for launch in own.launches if launch.kind == "decode"]
        for answer in answers:
            steps = [step for step, names in enumerate(decoded) if answer.name in names]
            # The first token comes from the prompt.
            assert steps == [*range(steps[0], steps[0] + 11)]


@LOOKAHEADS
def test_a_mask_that_cannot_be_made_ends_its_request_only_once_it_was_tried_alone(
    lookahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails as soon as another of its batch has stopped, which may be while the next token is computed."""
    sequences: dict[int, Sequence] = {}

    def stopping(ids: List[int]) -> npt.NDArray[np.int32]:
        return mask(497) if len(ids) - sequences[0].prompt_length == 3 else mask(*range(490))

    def failing(_: List[int]) -> npt.NDArray[np.int32]:
        if 0 in sequences and sequences[0].ids[-1] == 497:
            raise WorkerFailure("SCHEMA_UNSUPPORTED", "output: the schema is too large to follow")
        return mask(*range(490))

    def admit(arrived: Arrived) -> Generation:
        generation = original(arrived)
        sequence = generation.sequence
        sequences[sequence.order] = sequence
        sequence.allowed = {0: stopping, 1: failing}.get(sequence.order)
        return generation

    with board(lookahead=lookahead) as own:
        original = own.engine._admission.admit
        monkeypatch.setattr(own.engine._admission, "admit", admit)
        own.gather(3)
        answers = [own.ask_about(HELLO, **UNENDING) for _ in range(2)]
        other = own.ask_about(SUM)
        assert (answers[0].wait().done.finish_reason, len(answers[0].ids)) == ("stop", 4)
        assert answers[1].wait().error.code == "SCHEMA_UNSUPPORTED"
        assert other.wait().ids == expected(SUM)
        together = ["r0", "r1", "r2"][1 - lookahead :]
        assert [launch.names for launch in own.launches if "r1" in launch.names][-2:] == [together, ["r1"]]
