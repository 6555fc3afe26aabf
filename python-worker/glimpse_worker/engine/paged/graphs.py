"""
CUDA graphs: the few hundred launches of a forward become one, so that a GPU does not wait for Python. They
are captured one by one, while the engine serves without them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .capturing import Capture
from .decode_graphs import ComputeAfter, ComputeDecoded, DecodeGraphs
from .prompt_graphs import ComputePrompt, PromptGraphs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Order:
    """A graph that is to be captured: of `size` decoded rows, or of that many tokens of prompts."""

    size: int
    prompt: bool


class Graphs:
    """All graphs of an engine. Those that are missed most come first."""

    def __init__(
        self,
        decoding: DecodeGraphs,
        prompts: PromptGraphs,
        capture: Capture,
        report: Callable[[int, int], None],
    ) -> None:
        """`report` is told how many of the graphs there are."""
        self.decoding = decoding
        self.prompts = prompts
        self._capture = capture
        self._report = report
        self._orders = deque(
            [
                *(_Order(size, prompt=False) for size in decoding.sizes),
                *(_Order(size, prompt=True) for size in prompts.sizes),
            ]
        )
        self._total = len(self._orders)

    def capture_next(self, decode: ComputeDecoded, after: ComputeAfter, prompt: ComputePrompt) -> bool:
        """
        Captures one more; False when there is none left. When that fails, it is logged, and the engine goes
        on with those that there are.
        """
        if not self._orders:
            return False
        order = self._orders.popleft()
        try:
            if order.prompt:
                self.prompts.capture(order.size, prompt, self._capture)
            else:
                self.decoding.capture(order.size, decode, after, self._capture)
        except Exception as error:
            missing = len(self._orders) + 1
            self._orders.clear()
            logger.warning(
                "a CUDA graph could not be captured, so %d of %d are missing, and what they are for takes "
                "longer: %s: %s",
                missing,
                self._total,
                type(error).__name__,
                error,
            )
            return False
        self._report(self._total - len(self._orders), self._total)
        return bool(self._orders)
