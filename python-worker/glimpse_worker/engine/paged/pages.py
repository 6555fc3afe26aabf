"""
Which page of the KV cache belongs to whom: a free list, reference counts, and pages kept for reuse by their
content.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence


class Pages:
    """
    `count` pages, numbered from 0. A page is free, in use (by one owner or, when its content is shared, by
    several), or idle: nobody uses it, but its content is known by a key and can be used again. Idle pages are
    handed out when no free one is left, the one that was let go first, first.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = deque(range(count))
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._users = [0] * count
        self._key_of: list[bytes | None] = [None] * count
        self._page_of: dict[bytes, int] = {}

    @property
    def available(self) -> int:
        """How many pages `take` can hand out."""
        return len(self._free) + len(self._idle)

    def take(self, count: int) -> list[int] | None:
        """`count` pages whose content is nothing to rely on, or None when there are not as many."""
        if count > self.available:
            return None
        pages = [self._take_one() for _ in range(count)]
        for page in pages:
            self._users[page] = 1
        return pages

    def find(self, keys: Iterable[bytes]) -> list[int]:
        """The pages that hold the longest known beginning of `keys`. They are not taken yet."""
        pages = []
        for key in keys:
            page = self._page_of.get(key)
            if page is None:
                break
            pages.append(page)
        return pages

    def share(self, pages: Iterable[int]) -> None:
        """Takes pages that `find` gave."""
        for page in pages:
            self._idle.pop(page, None)
            self._users[page] += 1

    def idle_among(self, pages: Iterable[int]) -> int:
        """How many of `pages` count as available now, and no longer once they are shared."""
        return sum(page in self._idle for page in pages)

    def publish(self, page: int, key: bytes) -> None:
        """
        Says what a page in use holds, so that others can share it; it must not be written any more. Does
        nothing if another page holds the same.
        """
        if key not in self._page_of and self._key_of[page] is None:
            self._page_of[key] = page
            self._key_of[page] = key

    def release(self, pages: Sequence[int]) -> None:
        """
        Lets go of pages, once per `take` or `share`. The last are handed out again first: the beginning of a
        prompt is what others share.
        """
        for page in reversed(pages):
            assert self._users[page] > 0, f"page {page} is in nobody's use"
            self._users[page] -= 1
            if self._users[page] > 0:
                continue
            if self._key_of[page] is None:
                self._free.append(page)
            else:
                self._idle[page] = None

    def _take_one(self) -> int:
        if self._free:
            return self._free.popleft()
        page, _ = self._idle.popitem(last=False)
        key = self._key_of[page]
        assert key is not None
        del self._page_of[key]
        self._key_of[page] = None
        return page
