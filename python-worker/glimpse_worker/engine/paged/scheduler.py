"""Who takes part in the next step, and whose pages make room for it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from .pages import Pages
from .sequence import Chunk, Sequence

_by_order = attrgetter("order")


@dataclass(frozen=True, slots=True)
class Step:
    """
    Two batches to launch: chunks of known tokens, and sequences that go on by one token. `preempted` lost
    their pages to others and wait again.
    """

    prefill: list[Chunk] = field(default_factory=list)
    decode: list[Sequence] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)


class Scheduler:
    """
    Continuous batching. Every running sequence that can go on by one token does so in every step; what is
    left of `token_budget` goes to prompts, first come, first served, except that no prompt takes more than
    half of what is left while another could use the rest. When no page is left, the youngest running sequence
    gives up its own, so the oldest always gets on; `pages` must be enough for any one sequence alone, and
    `token_budget` greater than `max_running`.
    """

    def __init__(self, pages: Pages, *, page_size: int, max_running: int, token_budget: int) -> None:
        self._pages = pages
        self._page_size = page_size
        self._token_budget = token_budget
        self._free_slots = list(reversed(range(max_running)))
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._suspects: list[Sequence] = []
        self._preempted: list[Sequence] = []

    @property
    def busy(self) -> bool:
        """Whether there is anybody to plan for."""
        return bool(self._waiting or self._running)

    @property
    def running(self) -> int:
        """How many have a slot; may be asked from any thread."""
        return len(self._running)

    def add(self, sequence: Sequence) -> None:
        """Takes in a sequence that is new, or that was withdrawn."""
        insort(self._waiting, sequence, key=_by_order)

    def withdraw(self, sequence: Sequence) -> None:
        """Forgets a sequence, which has ended or cannot go on for now, and frees what it has."""
        if sequence in self._suspects:
            self._suspects.remove(sequence)
        if sequence.running:
            self._publish(sequence)
            self._running.remove(sequence)
            self._free(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)

    def isolate(self, sequences: Iterable[Sequence]) -> None:
        """Puts each of `sequences` through its next step alone: a step with all of them failed."""
        self._suspects += [sequence for sequence in sequences if sequence not in self._suspects]

    def plan(self) -> Step:
        """The next step; nothing to launch when every sequence waits for a token to be read, or for pages."""
        if self._suspects:
            return self._plan_suspect()
        decode = [sequence for sequence in list(self._running) if self._has_place_to_decode(sequence)]
        prefill = self._plan_prefill(self._token_budget - len(decode))
        # A prompt that goes on may have preempted a younger sequence that was to decode.
        decode = [sequence for sequence in decode if sequence.running]
        return Step(prefill, decode, self._take_preempted())

    def launched_prefill(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            self._advance(chunk.sequence, chunk.end, chunk.samples)

    def launched_decode(self, sequences: Iterable[Sequence]) -> None:
        for sequence in sequences:
            self._advance(sequence, sequence.length, samples=True)

    def _advance(self, sequence: Sequence, computed: int, samples: bool) -> None:
        if sequence.reused is None:
            sequence.reused = sequence.computed
        sequence.computed = computed
        sequence.sampled = samples
        sequence.unread += samples
        if sequence in self._suspects:
            self._suspects.remove(sequence)
        self._publish(sequence)

    def _publish(self, sequence: Sequence) -> None:
        full = min(sequence.computed, len(sequence.ids)) // self._page_size
        if full > sequence.published:
            keys = sequence.keys.up_to(sequence.ids)
            for index in range(sequence.published, full):
                self._pages.publish(sequence.pages[index], keys[index])
            sequence.published = full

    def _has_place_to_decode(self, sequence: Sequence) -> bool:
        """False for a sequence that an older one has preempted, too."""
        return sequence.running and sequence.can_decode and self._grow(sequence, sequence.length)

    def _plan_prefill(self, budget: int) -> list[Chunk]:
        shares: dict[Sequence, int] = {}
        left = budget
        for sequence in self._to_prefill():
            share = min(_wanted(sequence), left - left // 2)
            # A last crumb of the budget is not worth a prompt's launch.
            if shares and share < min(_wanted(sequence), self._page_size):
                break
            shares[sequence] = share
            left -= share
        for sequence, share in reversed(shares.items()):
            more = min(_wanted(sequence) - share, left)
            shares[sequence] = share + more
            left -= more
        for sequence, share in shares.items():
            if sequence.running:
                self._grow(sequence, sequence.computed + share)
        # Growing may have preempted some of them.
        return [
            Chunk(sequence, sequence.computed, share)
            for sequence, share in shares.items()
            if sequence.running
        ]

    def _to_prefill(self) -> Iterator[Sequence]:
        """Those that have begun, then those that wait, as far as there is room for them."""
        yield from [sequence for sequence in self._running if sequence.to_prefill > 0]
        for sequence in list(self._waiting):
            # Who has just given way does not come back in the same step.
            if sequence in self._preempted or not self._admit(sequence):
                return
            yield sequence

    def _admit(self, sequence: Sequence) -> bool:
        """
        Gives a waiting sequence a slot and the pages of all its tokens. A page for each that runs is left, or
        the newcomer would be preempted at once.
        """
        if not self._free_slots or sequence.unread > 0:
            return False
        # One token at least has to be computed: the next one follows from its output.
        reusable = (len(sequence.ids) - 1) // self._page_size
        found = self._pages.find(sequence.keys.up_to(sequence.ids)[:reusable])
        needed = self._pages_for(len(sequence.ids)) - len(found)
        if needed + len(self._running) > self._pages.available - self._pages.idle_among(found):
            return False
        self._pages.share(found)
        taken = self._pages.take(needed)
        assert taken is not None
        sequence.pages = found + taken
        sequence.computed = len(found) * self._page_size
        sequence.published = len(found)
        sequence.slot = self._free_slots.pop()
        self._waiting.remove(sequence)
        insort(self._running, sequence, key=_by_order)
        return True

    def _grow(self, sequence: Sequence, length: int) -> bool:
        """Sees to it that `length` tokens have pages; False when `sequence` itself had to give up its own."""
        missing = self._pages_for(length) - len(sequence.pages)
        if missing <= 0:
            return True
        while (taken := self._pages.take(missing)) is None:
            youngest = self._running[-1]
            self._preempt(youngest)
            if youngest is sequence:
                return False
        sequence.pages += taken
        return True

    def _preempt(self, sequence: Sequence) -> None:
        if sequence in self._suspects:
            # It begins again, so it is not what it was in the step that failed.
            self._suspects.remove(sequence)
        self._running.remove(sequence)
        self._free(sequence)
        insort(self._waiting, sequence, key=_by_order)
        self._preempted.append(sequence)

    def _free(self, sequence: Sequence) -> None:
        """What is launched already may still use the pages: whoever gets them is computed after it."""
        self._pages.release(sequence.pages)
        assert sequence.slot is not None
        self._free_slots.append(sequence.slot)
        sequence.slot = None
        sequence.pages = []
        sequence.computed = sequence.published = 0
        sequence.sampled = False

    def _plan_suspect(self) -> Step:
        suspect = self._suspects[0]
        if suspect.to_prefill > 0:
            count = min(_wanted(suspect), self._token_budget)
            if self._grow(suspect, suspect.computed + count):
                return Step([Chunk(suspect, suspect.computed, count)], [], self._take_preempted())
        elif self._has_place_to_decode(suspect):
            return Step([], [suspect], self._take_preempted())
        return Step([], [], self._take_preempted())

    def _take_preempted(self) -> list[Sequence]:
        preempted, self._preempted = self._preempted, []
        return preempted

    def _pages_for(self, tokens: int) -> int:
        return -(-tokens // self._page_size)


def _wanted(sequence: Sequence) -> int:
    limit = sequence.chunk_limit
    return sequence.to_prefill if limit is None else min(sequence.to_prefill, limit)
