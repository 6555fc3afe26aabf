"""Files that a process of its own reads, as media of a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .extraction.messages import Unreadable
from .failure import WorkerFailure
from .protocol import ErrorCode


@contextmanager
def named(name: str, code: ErrorCode, media: int) -> Iterator[None]:
    """What the process says of medium `media`, whose name is `name`, as a failure of the request."""
    try:
        yield
    except Unreadable as error:
        refused = error.refused
        if refused.package is None:
            raise WorkerFailure(code, f"{name} {refused.message}", refused.hint, media) from error
        raise WorkerFailure(
            "PYTHON_DEPS_MISSING",
            f"{name} {refused.message}",
            f"Run `npx glimpse setup`, or install {refused.package} where `python` points.",
            media,
        ) from error
