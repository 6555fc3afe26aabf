"""How preparing learns that nobody waits any more."""

from __future__ import annotations

from collections.abc import Callable

IsCancelled = Callable[[], bool]


class Cancelled(Exception):
    """The request was cancelled while it was prepared; nobody waits for it any more."""
