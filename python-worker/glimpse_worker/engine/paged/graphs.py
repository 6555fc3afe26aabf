"""
CUDA graphs: the few hundred launches of a step become one, so that a GPU does not wait for Python. They are
captured one by one, while the engine serves without them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ...bitmask import Bitmask
from .batch import Decoded, Sampled
from .capturing import Capture
from .decode_graphs import PLAIN, ComputeDecoded, DecodeGraphs, Variant
from .prompt_graphs import ComputePrompt, PromptGraphs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Order:
    """A graph that is to be captured: of `size` decoded rows, or of that many tokens of prompts."""

    size: int
    prompt: bool = False
    variant: Variant = PLAIN


class Graphs:
    """
    All graphs of an engine. Those that are missed most come first, and those for answers that have a schema
    when the first is asked for.
    """

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
                *(_Order(size) for size in decoding.sizes),
                *(_Order(size, prompt=True) for size in prompts.sizes),
                *(_Order(size, variant=Variant(penalised=True)) for size in decoding.sizes),
            ]
        )
        self._total = len(self._orders)
        self._ordered = {PLAIN, Variant(penalised=True)}
        self._failed = False

    def decode(self, decoded: Decoded, sampled: Sampled, allowed: Bitmask | None) -> Tensor | None:
        """The tokens of a batch, as DecodeGraphs.run; None without a graph, which may be there next time."""
        variant = Variant(sampled.penalised, allowed is not None)
        if variant not in self._ordered and not self._failed:
            self._ordered.add(variant)
            self._orders.extend(_Order(size, variant=variant) for size in self.decoding.sizes)
            self._total += len(self.decoding.sizes)
        return self.decoding.run(decoded, sampled, allowed)

    def capture_next(self, decode: ComputeDecoded, prompt: ComputePrompt) -> bool:
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
                self.decoding.capture(order.size, order.variant, decode, self._capture)
        except Exception as error:
            missing = len(self._orders) + 1
            self._orders.clear()
            self._failed = True
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
