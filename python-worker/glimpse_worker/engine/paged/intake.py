"""The pool in which pictures are decoded and prompts are built, beside the engine."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ...checkpoint import Checkpoint
from ...decoding import Remembered
from ...grammar import Grammars
from ...prepare import prepare
from ...prompt import PromptBuilder
from .features import FeatureCache
from .inbox import Arrived, Inbox, Refused
from .request import Request

MAX_THREADS = 8
"""Enough for a GPU: a core decodes and resizes about 60 large JPEGs a second."""


class Intake:
    """Prepares requests in the order in which they are put in, several at once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        prompts: PromptBuilder,
        grammars: Grammars,
        cache: FeatureCache,
        inbox: Inbox,
    ) -> None:
        self._checkpoint = checkpoint
        self._prompts = prompts
        self._grammars = grammars
        self._cache = cache
        self._inbox = inbox
        # No more than torch may compute with: workers that share a machine are told their part of it.
        threads = max(1, min(MAX_THREADS, torch.get_num_threads(), (os.cpu_count() or 1) - 1))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="intake")
        self._closing = threading.Lock()
        self._closed = False

    def put(self, request: Request) -> None:
        """After `close`, which may come from another thread at any time, nothing happens to a request."""
        with self._closing:
            if not self._closed:
                self._pool.submit(self._prepare, request)

    def close(self) -> None:
        """Never blocks; what is being prepared is delivered still."""
        with self._closing:
            self._closed = True
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, request: Request) -> None:
        features: dict[bytes, Tensor] = {}

        def recall(keys: tuple[bytes, ...]) -> Remembered | None:
            remembered = self._cache.recall(keys)
            found = {key: tensor for key in keys if (tensor := self._cache.get(key)) is not None}
            if remembered is None or len(found) < len(set(keys)):
                return None
            features.update(found)
            return remembered

        started = time.monotonic()
        try:
            grammar = self._grammars.of(request.message.options)
            prepared = prepare(
                request.message,
                request.frames,
                self._checkpoint,
                self._prompts,
                request.cancelled.is_set,
                recall,
            )
        except BaseException as error:  # A panic in Rust code, which reads tokenizers, is no Exception.
            self._inbox.put(Refused(request, error))
            return
        for medium in prepared.media:
            self._cache.remember(medium.keys, medium.remembered)
        request.clock.prepared(started)
        self._inbox.put(Arrived(request, prepared, grammar, features))
