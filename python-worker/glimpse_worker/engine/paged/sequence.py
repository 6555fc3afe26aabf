"""What the scheduler knows of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Sequence as List
from dataclasses import dataclass

import numpy as np

from ...bitmask import Bitmask
from ...sampling import Sampling
from .positions import Positions, prompt_positions
from .prefix import PrefixKeys
from .spans import Span

AllowedTokens = Callable[[List[int]], Bitmask]
"""A request's ids → which may come next."""


class Sequence:
    """
    The ids of a request, prompt first, and how much of them is in the KV cache.

    It waits (no slot), or runs: then it has a slot, which is its row in the tensors of the running requests,
    and pages. The token that a launched step samples is `unread` until its id is known.
    """

    def __init__(
        self,
        order: int,
        prompt: Iterable[int],
        spans: List[Span],
        *,
        merge_size: int,
        page_size: int,
        max_new_tokens: int,
        sampling: Sampling,
        generated: Iterable[int] = (),
        allowed: AllowedTokens | None = None,
    ) -> None:
        self.order = order
        """When it came; the lower goes first."""
        self.ids = [*prompt]
        """All ids that are known."""
        self.prompt_length = len(self.ids)
        self.ids += generated
        self.spans = spans
        self.max_new_tokens = max_new_tokens
        self.sampling = sampling
        self.allowed = allowed
        self._positions, self._delta = prompt_positions(self.prompt_length, spans, merge_size)
        self.keys = PrefixKeys(spans, page_size)
        self.slot: int | None = None
        self.pages: list[int] = []
        self.computed = 0
        """How many tokens have their keys and values in the cache, or will have by what is launched."""
        self.reused: int | None = None
        """How many tokens were in the cache already at its first launch; None before."""
        self.published = 0
        """How many of `pages` others can share."""
        self.unread = 0
        self.sampled = False
        """Whether the newest token is the last that was sampled in the slot, and so lies on the device."""
        self.epoch = 0
        """Changes when what is launched for it is not to count."""
        self.chunk_limit: int | None = None
        """The most tokens of it in one step, after a step with more did not fit into memory."""

    @property
    def length(self) -> int:
        return len(self.ids) + self.unread

    @property
    def generated(self) -> int:
        """How many tokens were generated, unread ones included."""
        return self.length - self.prompt_length

    @property
    def running(self) -> bool:
        return self.slot is not None

    @property
    def can_decode(self) -> bool:
        """Whether its next token follows from the token that was sampled last, read or not."""
        return self.sampled and self.length - self.computed == 1 and self.generated < self.max_new_tokens

    @property
    def to_prefill(self) -> int:
        """How many known tokens are to be computed before it can go on token by token."""
        if self.sampled or self.unread > 0 or self.generated >= self.max_new_tokens:
            return 0
        return len(self.ids) - self.computed

    def read(self, token: int) -> None:
        """A sampled token's id has become known."""
        self.ids.append(token)
        self.unread -= 1

    def append(self, ids: Iterable[int]) -> None:
        """One id or more that follow without being sampled, when nothing is unread."""
        self.ids += ids
        self.sampled = False
        self.forget()

    def forget(self) -> None:
        """What is launched does not count any more."""
        self.epoch += 1

    def position(self, index: int) -> int:
        """The M-RoPE position of a generated token, the same in time, height and width."""
        return index + self._delta

    def positions(self, start: int, end: int) -> Positions:
        """The M-RoPE positions of tokens `start` to `end`."""
        of_prompt = self._positions[:, start:end]
        if end <= self.prompt_length:
            return of_prompt
        later = np.arange(max(start, self.prompt_length), end, dtype=np.int32) + np.int32(self._delta)
        return np.concatenate([of_prompt, np.broadcast_to(later, (3, len(later)))], axis=1)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `start` to `start + count` of a sequence, to be computed in one step."""

    sequence: Sequence
    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count

    @property
    def samples(self) -> bool:
        """
        Whether the chunk reaches the sequence's end, so that the next token can be sampled. Holds until the
        chunk has been launched: ids are added later.
        """
        return self.end == len(self.sequence.ids)
