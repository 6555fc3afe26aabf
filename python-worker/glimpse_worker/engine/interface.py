"""The one door between the worker and its engines. How an engine steps is its own business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..protocol import DataFromWorker, Fault, Frame, Generate, Ready, RequestKey

Emit = Callable[[DataFromWorker | Fault], None]
"""Sends a message. Never blocks; safe to call from any thread; keeps each thread's order.

A Fault is the end: the process leaves once it and everything before it was delivered.
"""


class Engine(Protocol):
    """Runs requests. `Emit` is given at construction; an engine that exists is ready."""

    @property
    def ready(self) -> Ready:
        """What the orchestrator needs to know; constant."""

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
