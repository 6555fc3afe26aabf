"""The one door between the worker and its engines. How an engine steps is its own business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ..protocol import CountTokens, DataFromWorker, Fault, Frame, Generate, Ready, RequestKey
from .pulse import Pulse

Emit = Callable[[DataFromWorker | Fault], None]
"""Sends a message. Never blocks; safe to call from any thread; keeps each thread's order.

A Fault is the end: the process leaves once it and everything before it was delivered.
"""


class Load(NamedTuple):
    """Requests that have a place in the engine, and those that wait for one."""

    running: int
    waiting: int


class Counter(Protocol):
    """Counts the tokens of requests that are not to be answered. Nothing here blocks."""

    def count(self, request: CountTokens, frames: Sequence[Frame]) -> None:
        """Ends in exactly one Counted, Error or, when cancelled, Done. Never raises for a bad request."""

    def cancel(self, key: RequestKey) -> None:
        """Ignores a key that is not on board."""

    def close(self) -> None:
        """Requests on board get no ending."""


class Engine(Protocol):
    """Runs requests. `Emit` is given at construction; an engine that exists is ready."""

    @property
    def ready(self) -> Ready:
        """What the orchestrator needs to know; constant."""

    @property
    def pulse(self) -> Pulse:
        """What the thread that computes is doing; constant, to be read from any thread."""

    @property
    def load(self) -> Load:
        """What is on board. Never blocks, not even while a step hangs; safe to call from any thread."""

    @property
    def counter(self) -> Counter:
        """Works beside the engine, for the same model; constant."""

    def submit(self, request: Generate, frames: Sequence[Frame]) -> None:
        """Takes a request on board, with one frame per picture or video frame (counts and sizes are checked).

        Never blocks and never raises for a bad request. Every request ends in exactly one Done or Error,
        emitted after its last Tokens.
        """

    def cancel(self, key: RequestKey) -> None:
        """Ends a request as `cancelled` within one step; ignores a key that is not on board. Never blocks."""

    def close(self) -> None:
        """Asks the engine to stop. Never blocks. Requests on board get no ending; what a step that runs has
        generated may still be emitted.
        """
