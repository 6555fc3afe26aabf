"""
The paged engine around the scheduler, without a model: requests whose answers are known beforehand, a device
that remembers what lies in every slot of the cache, and a check of every plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Sequence as List
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from glimpse_worker.engine.paged.pages import Pages
from glimpse_worker.engine.paged.scheduler import Scheduler, Step
from glimpse_worker.engine.paged.sequence import Chunk, Sequence
from glimpse_worker.engine.paged.spans import Patchwork, Span
from glimpse_worker.sampling import Sampling

VOCABULARY = 14
STOP = 0
PLACEHOLDER = 13
GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, seed=0)

Position = tuple[int, int, int]
State = int
"""What a slot of the cache holds: a digest of a token, of where it stands and of all tokens before it."""
Launch = Literal["prefill", "decode", "sample"]


@dataclass(frozen=True)
class Picture:
    name: int
    height: int
    width: int

    @property
    def key(self) -> bytes:
        return bytes([self.name, self.height, self.width])


@dataclass(frozen=True)
class Asked:
    """
    A request. Once `force_at` ids were generated, those of `forced` follow; `resumed` ids of the answer are
    known from an earlier attempt. A `masked` one never says the same id twice in a row.
    """

    prompt: tuple[int | Picture, ...]
    max_new_tokens: int
    force_at: int | None = None
    forced: tuple[int, ...] = ()
    resumed: int = 0
    masked: bool = False


def text(*ids: int, max_new_tokens: int = 4) -> Asked:
    return Asked(ids, max_new_tokens)


def follow(state: State, meaning: tuple[int, ...], position: Position) -> State:
    return hash((state, meaning, position))


def _choose(state: State, masked_by: int | None) -> int:
    token = state % (VOCABULARY - 1)
    return token if token != masked_by else (token + 1) % (VOCABULARY - 1)


def _meanings(prompt: Iterable[int | Picture]) -> tuple[list[tuple[tuple[int, ...], Position]], int]:
    """What each token of a prompt stands for, and where; and where the answer begins."""
    tokens: list[tuple[tuple[int, ...], Position]] = []
    at = 0
    for piece in prompt:
        if isinstance(piece, int):
            tokens.append(((piece,), (at, at, at)))
            at += 1
            continue
        for offset in range(piece.height * piece.width):
            row, column = divmod(offset, piece.width)
            tokens.append(((PLACEHOLDER, *piece.key, offset), (at, at + row, at + column)))
        at += max(piece.height, piece.width)
    return tokens, at


@lru_cache(maxsize=4096)
def expected(asked: Asked) -> tuple[tuple[int, ...], tuple[State, ...]]:
    """The answer that a request gets when it is alone, and what the cache holds of prompt and answer."""
    tokens, at = _meanings(asked.prompt)
    states: list[State] = []
    state = 0
    for meaning, position in tokens:
        state = follow(state, meaning, position)
        states.append(state)
    before = tokens[-1][0][0]
    answer: list[int] = []
    forced: list[int] = []
    while len(answer) < asked.max_new_tokens:
        if len(answer) == asked.force_at:
            forced = list(asked.forced)
        token = forced.pop(0) if forced else _choose(state, before if asked.masked else None)
        answer.append(token)
        state = follow(state, (token,), (at, at, at))
        states.append(state)
        at += 1
        before = token
        if token == STOP:
            break
    return tuple(answer), tuple(states)


def make_sequence(asked: Asked, order: int, page_size: int) -> Sequence:
    ids: list[int] = []
    spans: list[Span] = []
    for piece in asked.prompt:
        if isinstance(piece, int):
            ids.append(piece)
        else:
            count = piece.height * piece.width
            spans.append(Span(len(ids), count, Patchwork(piece.key, piece.height, piece.width)))
            ids += [PLACEHOLDER] * count
    return Sequence(
        order,
        ids,
        spans,
        merge_size=1,
        page_size=page_size,
        max_new_tokens=asked.max_new_tokens,
        sampling=GREEDY,
        generated=expected(asked)[0][: asked.resumed],
        allowed=_not_the_last if asked.masked else None,
    )


def _not_the_last(ids: List[int]) -> npt.NDArray[np.int32]:
    return np.array([~(1 << ids[-1])], dtype=np.int32)


@dataclass(frozen=True)
class Computed:
    """A sequence as it was when its newest token was computed, and what that gave."""

    sequence: Sequence
    epoch: int
    slot: int
    state: State

    @property
    def counts(self) -> bool:
        return self.sequence.epoch == self.epoch


@dataclass(frozen=True)
class Sampled:
    computed: Computed
    token: int


class Device:
    """Computes tokens as the model does: from what the slots of the sequence hold, whoever wrote it."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._cache: dict[tuple[int, int], State] = {}
        self._last: dict[int, int] = {}

    def state(self, sequence: Sequence, index: int) -> State | None:
        page, offset = divmod(index, self._page_size)
        return self._cache.get((sequence.pages[page], offset))

    def prefill(self, chunks: List[Chunk]) -> list[Sampled]:
        sampled = []
        for chunk in chunks:
            sequence = chunk.sequence
            positions = sequence.positions(chunk.start, chunk.end).T.tolist()
            for index, (time, row, column) in zip(range(chunk.start, chunk.end), positions, strict=True):
                self._compute(sequence, index, _embedding(sequence, index), (time, row, column))
            if chunk.samples:
                sampled.append(self._computed(sequence, chunk.end - 1))
        return self.sample(sampled)

    def decode(self, sequences: List[Sequence]) -> list[Computed]:
        computed = []
        for sequence in sequences:
            assert sequence.slot is not None
            index = sequence.length - 1
            at = sequence.position(index)
            self._compute(sequence, index, (self._last[sequence.slot],), (at, at, at))
            computed.append(self._computed(sequence, index))
        return computed

    def sample(self, computed: List[Computed]) -> list[Sampled]:
        return [Sampled(one, self._sample(one)) for one in computed]

    def _compute(self, sequence: Sequence, index: int, meaning: tuple[int, ...], position: Position) -> None:
        before = self.state(sequence, index - 1) if index else 0
        page, offset = divmod(index, self._page_size)
        self._cache[sequence.pages[page], offset] = follow(before or 0, meaning, position)

    def _computed(self, sequence: Sequence, index: int) -> Computed:
        state = self.state(sequence, index)
        assert sequence.slot is not None
        assert state is not None
        return Computed(sequence, sequence.epoch, sequence.slot, state)

    def _sample(self, computed: Computed) -> int:
        sequence, token = computed.sequence, _choose(computed.state, None)
        if computed.counts and sequence.allowed is not None:
            assert sequence.unread == 0, "masked before its last token was known"
            if not int(sequence.allowed(sequence.ids)[0]) >> token & 1:
                token = _choose(computed.state, token)
        self._last[computed.slot] = token
        return token


def _embedding(sequence: Sequence, index: int) -> tuple[int, ...]:
    for span in sequence.spans:
        if span.start <= index < span.end:
            return (PLACEHOLDER, *span.shown.key, index - span.start)
    return (sequence.ids[index],)


class Play:
    """What the engine's thread does, with a check of every plan and of every page after every step."""

    def __init__(
        self, *, pages: int, page_size: int, max_running: int, token_budget: int, lookahead: int = 0
    ) -> None:
        self.pages = Pages(pages)
        self.page_size = page_size
        self.max_running = max_running
        self.token_budget = token_budget
        self.lookahead = lookahead
        self.scheduler = Scheduler(
            self.pages, page_size=page_size, max_running=max_running, token_budget=token_budget
        )
        self.device = Device(page_size)
        self.asked: dict[Sequence, Asked] = {}
        """The requests on board."""
        self.away: list[Sequence] = []
        """Those of them that are being prepared, for the first time or again."""
        self.launched: list[Sampled] | None = None
        self.suspects: set[Sequence] = set()
        self.ended: list[Sequence] = []
        self._orders = 0

    @property
    def running(self) -> list[Sequence]:
        return sorted((s for s in self.asked if s.running), key=lambda s: s.order)

    @property
    def waiting(self) -> list[Sequence]:
        return sorted((s for s in self.asked if not s.running and s not in self.away), key=lambda s: s.order)

    def submit(self, asked: Asked, *, prepared: bool = True) -> Sequence:
        sequence = make_sequence(asked, self._orders, self.page_size)
        self._orders += 1
        self.asked[sequence] = asked
        self.away.append(sequence)
        if prepared:
            self.arrive(sequence)
        return sequence

    def arrive(self, sequence: Sequence) -> None:
        self.away.remove(sequence)
        self._go_on(sequence)
        if sequence in self.asked:
            self.scheduler.add(sequence)

    def cancel(self, sequence: Sequence) -> None:
        self._end(sequence)
        self.check_pages()

    def step(self, *, fails: Launch | None = None, prepare_again: bool = False) -> Step:
        """As the engine: when `lookahead` is 1 the step before is read once this one is computed."""
        running, waiting = self.running, self.waiting
        step = self.scheduler.plan()
        self._check_plan(step, running, waiting)
        if prepare_again:
            for sequence in step.preempted:
                self.scheduler.withdraw(sequence)
                self.suspects.discard(sequence)
                self.away.append(sequence)
        prefilled = self._prefill(step.prefill, fails)
        computed = self._decode(step.decode, fails)
        self._read()
        if step.prefill or step.decode:
            self.launched = [*prefilled, *self._sample(computed, fails)]
        self._check_cache()
        if not self.lookahead:
            self._read()
        self.check_pages()
        return step

    def finish(self) -> None:
        """Every request ends, after not many more plans than it has tokens."""
        most = 20 + 3 * sum(s.prompt_length + s.max_new_tokens for s in self.asked)
        plans = 0
        while self.asked:
            while self.away:
                self.arrive(self.away[0])
            self.step()
            plans += 1
            assert plans <= most, "the requests do not come to their ends"
        assert not self.scheduler.busy
        assert self.pages.available == self.pages.count, "pages were lost"

    def _prefill(self, chunks: List[Chunk], fails: Launch | None) -> list[Sampled]:
        if fails == "prefill" and chunks:
            self._failed([chunk.sequence for chunk in chunks], chunks[0].count)
            return []
        sampled = self.device.prefill(chunks)
        self.scheduler.launched_prefill(chunks)
        return sampled

    def _decode(self, sequences: List[Sequence], fails: Launch | None) -> list[Computed]:
        if fails == "decode" and sequences:
            self._failed(sequences, 1)
            return []
        return self.device.decode(sequences)

    def _sample(self, computed: List[Computed], fails: Launch | None) -> list[Sampled]:
        current = [one.sequence for one in computed if one.counts]
        if fails == "sample" and current:
            self._failed([one.sequence for one in computed], 1)
            return []
        sampled = self.device.sample(computed)
        self.scheduler.launched_decode(current)
        return sampled

    def _failed(self, sequences: List[Sequence], count: int) -> None:
        if len(sequences) == 1 and count == 1:
            self._end(sequences[0])
            return
        if len(sequences) == 1:
            sequences[0].chunk_limit = count // 2
        on_board = [sequence for sequence in sequences if sequence in self.asked]
        self.scheduler.isolate(on_board)
        self.suspects.update(on_board)

    def _read(self) -> None:
        launched, self.launched = self.launched or [], None
        for one in [one for one in launched if one.computed.counts]:
            one.computed.sequence.read(one.token)
            self._go_on(one.computed.sequence)

    def _go_on(self, sequence: Sequence) -> None:
        """What follows from the ids that are known: an ending, or ids that were not sampled."""
        asked = self.asked[sequence]
        answer = sequence.ids[sequence.prompt_length :]
        assert answer == list(expected(asked)[0][: len(answer)]), "it got another answer than alone"
        if not self._is_over(sequence) and len(answer) == asked.force_at and asked.forced:
            sequence.append(asked.forced[: asked.max_new_tokens - len(answer)])
        if self._is_over(sequence):
            self._end(sequence)

    def _is_over(self, sequence: Sequence) -> bool:
        answer = sequence.ids[sequence.prompt_length :]
        return len(answer) >= sequence.max_new_tokens or STOP in answer

    def _end(self, sequence: Sequence) -> None:
        del self.asked[sequence]
        self.suspects.discard(sequence)
        if sequence in self.away:
            self.away.remove(sequence)
        self.scheduler.withdraw(sequence)
        sequence.forget()
        self.ended.append(sequence)

    def check_pages(self) -> None:
        held = [page for sequence in self.running for page in sequence.pages]
        assert self.pages.available == self.pages.count - len(set(held)), (
            "pages were lost, or freed too early"
        )
        for sequence in self.running:
            assert len(set(sequence.pages)) == len(sequence.pages)

    def _check_cache(self) -> None:
        """Every computed token reads back as itself, with all that was before it, where it should stand."""
        for sequence in self.running:
            _, states = expected(self.asked[sequence])
            held = [self.device.state(sequence, index) for index in range(sequence.computed)]
            assert held == list(states[: sequence.computed]), "the cache does not hold its tokens"

    def _check_plan(self, step: Step, running: List[Sequence], waiting: List[Sequence]) -> None:
        planned = [*(chunk.sequence for chunk in step.prefill), *step.decode]
        assert len(set(planned)) == len(planned), "a sequence twice in one step"
        assert not set(planned) & set(step.preempted), "computed, and asked to give way"
        assert len(set(step.preempted)) == len(step.preempted)
        assert not any(sequence.running for sequence in step.preempted)
        slots = [sequence.slot for sequence in self.running]
        assert len(set(slots)) == len(slots)
        assert set(slots) <= set(range(self.max_running))
        assert sum(chunk.count for chunk in step.prefill) + len(step.decode) <= self.token_budget
        for chunk in step.prefill:
            self._check_chunk(chunk)
        for sequence in step.decode:
            self._check_decode(sequence)
        unread = self.launched is not None
        assert planned or step.preempted or unread or not self.scheduler.busy, "nobody gets on"
        if self.suspects:
            self._check_suspects(planned, running)
        else:
            self._check_order(step, planned, waiting)
            self._check_budget_is_used(step)

    def _check_chunk(self, chunk: Chunk) -> None:
        sequence = chunk.sequence
        assert sequence.running
        assert sequence.unread == 0
        assert chunk.count >= 1
        assert chunk.start == sequence.computed
        assert chunk.end <= min(len(sequence.ids), len(sequence.pages) * self.page_size)
        assert chunk.samples == (chunk.end == sequence.length)
        assert sequence.chunk_limit is None or chunk.count <= sequence.chunk_limit

    def _check_decode(self, sequence: Sequence) -> None:
        assert sequence.running
        assert sequence.computed == sequence.length - 1
        assert sequence.length <= len(sequence.pages) * self.page_size
        assert sequence.unread <= self.lookahead
        assert sequence.length < sequence.prompt_length + sequence.max_new_tokens

    def _check_suspects(self, planned: List[Sequence], running: List[Sequence]) -> None:
        """A suspect that had a place to run in goes alone; others wait for one as anybody does."""
        for sequence in self.suspects & set(planned):
            assert len(planned) == 1 or sequence not in running, "a suspect in company"
        self.suspects -= set(planned)

    def _check_order(self, step: Step, planned: List[Sequence], waiting: List[Sequence]) -> None:
        admitted = [sequence for sequence in waiting if sequence.running]
        still_waiting = self.waiting
        for sequence in admitted:
            assert all(sequence.order < other.order for other in still_waiting), "overtaken while waiting"
        for sequence in step.preempted:
            assert all(sequence.order > other.order for other in self.running), "not the youngest gave way"
        began = [sequence for sequence in self.running if sequence not in admitted]
        able = [sequence for sequence in began if sequence.can_decode or sequence.to_prefill > 0]
        assert not able or able[0] in planned, "the oldest stands still"

    def _check_budget_is_used(self, step: Step) -> None:
        """Tokens of the budget are left over only when nobody could compute a page's worth of them."""
        if step.preempted:
            return
        unused = self.token_budget - len(step.decode) - sum(chunk.count for chunk in step.prefill)
        for chunk in step.prefill:
            assert unused == 0 or chunk.count == _wanted(chunk.sequence)
        if unused < 2 * self.page_size:
            return
        in_prefill = {chunk.sequence for chunk in step.prefill}
        for sequence in self.running:
            assert sequence in in_prefill or sequence.to_prefill == 0, "a prompt stands still"
            assert sequence in step.decode or not sequence.can_decode, "an answer stands still"
        if self.waiting and self.waiting[0].unread == 0 and len(self.running) < self.max_running:
            needed = -(-self.waiting[0].length // self.page_size)
            assert needed + len(self.running) > self.pages.available, "kept waiting though there is room"


def _wanted(sequence: Sequence) -> int:
    limit = sequence.chunk_limit
    return sequence.to_prefill if limit is None else min(sequence.to_prefill, limit)


def shares_of(play: Play, step: Step) -> list[tuple[int, int, int]]:
    """For each chunk: its tokens, how many its sequence could use, and how many of the budget were left."""
    left = play.token_budget - len(step.decode)
    shares = []
    for chunk in step.prefill:
        shares.append((chunk.count, _wanted(chunk.sequence), left))
        left -= chunk.count
    return shares


def steps_until(play: Play, reached: Callable[[], bool]) -> list[Step]:
    steps: list[Step] = []
    while not reached():
        steps.append(play.step())
        assert len(steps) < 200, "it never came to that"
    return steps
