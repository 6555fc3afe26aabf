"""One request through transformers' `generate`, its tokens sent as they come."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from ..bitmask import unpacked
from ..device import is_out_of_memory
from ..failure import WorkerFailure
from ..guide import Guide
from ..output import Output
from ..prepare import Prepared
from ..protocol import FinishReason, Generate, Part, RequestKey, Tokens, TokensItem
from ..sampling import generation_config
from .interface import Emit
from .pulse import Pulse


class TokenStream(StoppingCriteria):
    """
    Called by `generate` after every token: sends it with the parts it makes certain, and says whether to
    stop.

    Written for one sequence without beams; a token is a step. `first_at` and `last_at` are times of
    time.monotonic.
    """

    def __init__(
        self, key: RequestKey, output: Output, cancelled: threading.Event, emit: Emit, pulse: Pulse
    ) -> None:
        self._key = key
        self._output = output
        self._cancelled = cancelled
        self._emit = emit
        self._pulse = pulse
        self.first_at: float | None = None
        self.last_at: float | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ARG002
        token = int(input_ids[0, -1])
        self._pulse.end()
        self._pulse.begin()
        self.last_at = time.monotonic()
        self.first_at = self.first_at or self.last_at
        index = self._output.completion_tokens
        self._send(index, [token], self._output.push([token]))
        stop = self._output.stopped or self._cancelled.is_set()
        return torch.full((input_ids.shape[0],), stop, dtype=torch.bool, device=input_ids.device)

    def finish(self) -> FinishReason:
        """Sends what was held back, and says why the request ended."""
        parts = self._output.finish()
        if parts:
            self._send(self._output.completion_tokens, [], parts)
        if self._output.stopped:
            return "stop"
        return "cancelled" if self._cancelled.is_set() else "length"

    def _send(self, index: int, ids: list[int], parts: list[Part]) -> None:
        request, attempt = self._key
        item = TokensItem(request=request, attempt=attempt, index=index, ids=ids, parts=parts)
        self._emit(Tokens(items=[item]))
        if warning := self._output.take_warning(self._key):
            self._emit(warning)


class Guided(LogitsProcessor):
    """Leaves the ids that a guide allows; written for one sequence without beams."""

    def __init__(self, guide: Guide) -> None:
        self._guide = guide

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        mask = self._guide(input_ids[0].tolist())
        allowed = torch.from_numpy(unpacked(mask, scores.shape[-1])).to(scores.device)
        return scores.masked_fill(~allowed, -torch.inf)


def generate(
    model: Any,
    request: Generate,
    prepared: Prepared,
    stream: TokenStream,
    guide: Guide | None = None,
) -> None:
    """
    Runs `request` to its end, as a script that calls `model.generate` would; every token goes to `stream`,
    and is one that `guide` allows.
    """
    # Left over from the request before; `generate` would take it for this one's when there is no picture.
    model.model.rope_deltas = None
    torch.manual_seed(request.options.seed)
    with torch.inference_mode():
        model.generate(
            **prepared.model_inputs(model.device),
            generation_config=generation_config(
                request.options, model.generation_config, prepared.max_new_tokens
            ),
            logits_processor=LogitsProcessorList([] if guide is None else [Guided(guide)]),
            stopping_criteria=StoppingCriteriaList([stream]),
        )


def name_out_of_memory(error: BaseException, device: str) -> BaseException:
    """`error`, or what the caller is to see of it when the device's memory is full."""
    if not is_out_of_memory(error):
        return error
    return WorkerFailure(
        "GPU_OUT_OF_MEMORY",
        f"the request did not fit into the memory of {device}: {str(error).split('. ', 1)[0]}",
        hint="Send fewer or smaller pictures, lower maxNewTokens, or end other programs on the device.",
    )


def settle(devices: Sequence[torch.device]) -> None:
    """
    Makes `devices` ready for the next request after one that failed: their memory is free again. Raises when
    one of them takes no more work: after an assertion or a bad address in a kernel every later call of the
    process fails, with the kernel's error.
    """
    gc.collect()
    for device in devices:
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.synchronize(device)
