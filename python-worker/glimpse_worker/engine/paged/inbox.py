"""What the engine's thread is told by others, between two steps."""

from __future__ import annotations

import queue
from dataclasses import dataclass

from torch import Tensor

from ...grammar import Grammar
from ...prepare import Prepared
from ...protocol import RequestKey
from .request import Request


@dataclass(frozen=True, slots=True)
class Submitted:
    request: Request


@dataclass(frozen=True, slots=True)
class Arrived:
    """
    A request has been prepared; its answer follows `grammar`, if it has one; `features` are those that were
    in the cache, and are kept for it.
    """

    request: Request
    prepared: Prepared
    grammar: Grammar | None
    features: dict[bytes, Tensor]


@dataclass(frozen=True, slots=True)
class Refused:
    """A request could not be prepared."""

    request: Request
    error: BaseException


@dataclass(frozen=True, slots=True)
class Cancelled:
    key: RequestKey


@dataclass(frozen=True, slots=True)
class Closed:
    pass


Message = Submitted | Arrived | Refused | Cancelled | Closed
Inbox = queue.SimpleQueue[Message]
