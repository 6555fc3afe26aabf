"""
The `reference` engine: transformers' own `generate`, one request at a time. Slow and certain; the others'
oracle.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from transformers import Glm4vForConditionalGeneration, PreTrainedTokenizerFast

from ..checkpoint import Checkpoint
from ..device import describe_device
from ..failure import WorkerFailure, request_error
from ..output import Output
from ..prepare import Prepared, prepare
from ..preprocessing import Preprocessing
from ..prompt import PromptBuilder
from ..protocol import (
    Done,
    Error,
    FinishReason,
    Frame,
    Generate,
    PixelLimits,
    Ready,
    RequestKey,
    RequestWarning,
    Timing,
    Usage,
)
from ..sampling import stop_token_ids
from .budget import new_token_budget
from .generation import TokenStream, generate
from .interface import Emit

_SLOTS = 2
"""One request that generates, and one whose pictures are decoded meanwhile."""


@dataclass(slots=True)
class _Run:
    """One request on board. Times are of time.monotonic."""

    request: Generate
    frames: Sequence[Frame]
    submitted: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    generating: bool = False
    prepared: Prepared | None = None
    max_new_tokens: int = 0
    prepare_from: float = 0.0
    prepare_to: float = 0.0

    @property
    def key(self) -> RequestKey:
        return self.request.key


class ReferenceEngine:
    """
    Two threads: `prepare` decodes and builds prompts, `generate` owns the model.

    A request is on the board from `submit` to its ending, and leaves it exactly once, under the lock;
    whatever is sent from another thread than `generate` is sent under the lock too, so that nothing follows
    an ending.
    """

    def __init__(
        self,
        name: str,
        checkpoint: Checkpoint,
        tokenizer: PreTrainedTokenizerFast,
        model: Glm4vForConditionalGeneration,
        versions: Mapping[str, str],
        emit: Emit,
    ) -> None:
        self._checkpoint = checkpoint
        self._tokenizer = tokenizer
        self._model = model
        self._emit = emit
        self._prompts = PromptBuilder(tokenizer, checkpoint.placeholders, checkpoint.context_length)
        self._ready = _ready(name, checkpoint, model, versions)
        self._lock = threading.Lock()
        self._board: dict[RequestKey, _Run] = {}
        self._to_prepare: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        self._to_generate: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        for loop, thread in ((self._prepare_loop, "prepare"), (self._generate_loop, "generate")):
            threading.Thread(target=loop, name=thread, daemon=True).start()

    @property
    def ready(self) -> Ready:
        return self._ready

    def submit(self, request: Generate, frames: Sequence[Frame]) -> None:
        run = _Run(request, frames, submitted=time.monotonic())
        with self._lock:
            self._board[run.key] = run
        self._to_prepare.put(run)

    def cancel(self, key: RequestKey) -> None:
        with self._lock:
            run = self._board.get(key)
            if run is None:
                return
            if run.generating:
                run.cancelled.set()
                return
            del self._board[key]
            waited = 1000 * (time.monotonic() - run.submitted)
            self._emit(_done(run, "cancelled", Usage(**_NO_TOKENS), Timing(**_NO_TIME, queue_ms=waited)))

    def close(self) -> None:
        with self._lock:
            for run in self._board.values():
                run.cancelled.set()
            self._board.clear()
        self._to_prepare.put(None)

    def _prepare_loop(self) -> None:
        while (run := self._to_prepare.get()) is not None:
            if not self._on_board(run):
                continue
            try:
                self._prepare(run)
            except Exception as error:
                self._end(run, request_error(run.key, error))
            else:
                self._to_generate.put(run)
        self._to_generate.put(None)

    def _prepare(self, run: _Run) -> None:
        run.prepare_from = time.monotonic()
        run.prepared = prepare(run.request, run.frames, self._checkpoint, self._prompts)
        run.frames = ()
        run.max_new_tokens, cut = new_token_budget(
            run.key,
            run.request.options.max_new_tokens,
            len(run.prepared.prompt.ids),
            self._checkpoint.context_length,
        )
        run.prepare_to = time.monotonic()
        with self._lock:
            if self._board.get(run.key) is run:
                for warning in [*_media_warnings(run.key, run.prepared), *([cut] if cut else [])]:
                    self._emit(warning)

    def _generate_loop(self) -> None:
        while (run := self._to_generate.get()) is not None:
            with self._lock:
                if self._board.get(run.key) is not run:
                    continue
                run.generating = True
            ending = self._generate(run)
            run.prepared = None
            if isinstance(ending, Error) and ending.code == "GPU_OUT_OF_MEMORY":
                gc.collect()
                torch.cuda.empty_cache()
            self._end(run, ending)

    def _generate(self, run: _Run) -> Done | Error:
        try:
            return self._run_model(run)
        except Exception as error:
            return request_error(run.key, _name_out_of_memory(error, self._ready.device.name))

    def _run_model(self, run: _Run) -> Done:
        prepared, request = run.prepared, run.request
        assert prepared is not None
        output = Output(
            lambda ids: self._tokenizer.decode(
                ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
            ),
            stop_token_ids=self._ready.stop_token_ids,
            stop=request.options.stop or (),
            geometries=[medium.geometry for medium in prepared.media],
        )
        stream = TokenStream(run.key, output, run.cancelled, self._emit)
        started = time.monotonic()
        generate(self._model, request, prepared, run.max_new_tokens, stream)
        reason = stream.finish()
        usage = Usage(
            prompt_tokens=len(prepared.prompt.ids),
            image_tokens=prepared.prompt.image_tokens,
            thinking_tokens=output.thinking_tokens,
            completion_tokens=output.completion_tokens,
        )
        first, last = stream.first_at or started, stream.last_at or started
        timing = Timing(
            queue_ms=1000 * (run.prepare_from - run.submitted + started - run.prepare_to),
            preprocess_ms=1000 * (run.prepare_to - run.prepare_from),
            prefill_ms=1000 * (first - started),
            decode_ms=1000 * (last - first),
        )
        return _done(run, reason, usage, timing)

    def _on_board(self, run: _Run) -> bool:
        with self._lock:
            return self._board.get(run.key) is run

    def _end(self, run: _Run, ending: Done | Error) -> None:
        with self._lock:
            if self._board.get(run.key) is run:
                del self._board[run.key]
                self._emit(ending)


_NO_TOKENS = {"prompt_tokens": 0, "image_tokens": 0, "thinking_tokens": 0, "completion_tokens": 0}
_NO_TIME = {"preprocess_ms": 0.0, "prefill_ms": 0.0, "decode_ms": 0.0}


def _done(run: _Run, reason: FinishReason, usage: Usage, timing: Timing) -> Done:
    request, attempt = run.key
    return Done(request=request, attempt=attempt, finish_reason=reason, usage=usage, timing=timing)


def _media_warnings(key: RequestKey, prepared: Prepared) -> list[RequestWarning]:
    return [
        RequestWarning(
            request=key.request, attempt=key.attempt, code=warning.code, message=warning.message, media=index
        )
        for index, medium in enumerate(prepared.media)
        for warning in medium.warnings
    ]


def _name_out_of_memory(error: Exception, device: str) -> Exception:
    """HIP and older CUDA libraries report it as a plain RuntimeError; the wording is theirs all the same."""
    out = isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )
    if not out:
        return error
    return WorkerFailure(
        "GPU_OUT_OF_MEMORY",
        f"the request did not fit into the memory of {device}: {str(error).split('. ', 1)[0]}",
        hint="Send fewer or smaller pictures, or a smaller maxNewTokens; or free the device of other programs.",
    )


def _ready(
    name: str, checkpoint: Checkpoint, model: Glm4vForConditionalGeneration, versions: Mapping[str, str]
) -> Ready:
    stop = stop_token_ids(model.generation_config)
    if not stop:
        raise WorkerFailure("MODEL_UNSUPPORTED", "generation_config.json: eos_token_id is missing")
    return Ready(
        model=name,
        revision=checkpoint.revision,
        engine="reference",
        dtype=str(model.dtype).removeprefix("torch."),
        device=describe_device(model.device),
        slots=_SLOTS,
        context_length=checkpoint.context_length,
        image_limits=_limits(checkpoint.image),
        video_limits=_limits(checkpoint.video),
        stop_token_ids=stop,
        versions=versions,
    )


def _limits(numbers: Preprocessing) -> PixelLimits:
    return PixelLimits(
        patch_size=numbers.patch_size,
        merge_size=numbers.merge_size,
        temporal_patch_size=numbers.temporal_patch_size,
        min_pixels=numbers.min_pixels,
        max_pixels=numbers.max_pixels,
    )
