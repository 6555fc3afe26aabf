"""What the sections of a benchmark share: the model in two forms, and what was measured before."""

from __future__ import annotations

import gc
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from glimpse_worker.engine.paged.assembly import CPU, GPU, Sizes
from glimpse_worker.engine.paged.loading import keep_what_is_there
from glimpse_worker.pixels import image_size

from .captures import Captures
from .ceilings import Ceilings, measure
from .client import Asked, Client
from .models import Shape, Subject, random_weights
from .prompts import Texts
from .report import Report
from .roofline import Roofline
from .scale import FULL, SMALL, Scale
from .timing import settle

KV_CACHE_BYTES = 24 * 1024**3
"""Enough for 200 requests of a large picture each; the rest stays for the sections' own needs."""


def device_of(shape: Shape) -> torch.device:
    """The large model needs a GPU; the small one only tries the script out."""
    return torch.device("cuda", 0) if shape == "9b" else torch.device("cpu")


def sizes_of(shape: Shape, token_budget: int | None) -> Sizes:
    """Those of the shipped engine, but for what is asked for."""
    shipped = GPU if shape == "9b" else CPU
    return shipped if token_budget is None else replace(shipped, token_budget=token_budget)


class Course:
    """
    Everything is made when it is first asked for, and transformers' own model goes when the engine comes.
    """

    def __init__(self, shape: Shape, sizes: Sizes, report: Report) -> None:
        on_gpu = shape == "9b"
        self.device = device_of(shape)
        self.dtype = torch.bfloat16 if on_gpu else torch.float32
        self.scale: Scale = FULL if on_gpu else SMALL
        self.sizes = sizes
        self.shape = shape
        self.report = report
        self._plain: Any = None
        self._client: Client | None = None

    @cached_property
    def subject(self) -> Subject:
        return random_weights(self.shape, self.device, self.dtype)

    @cached_property
    def ceilings(self) -> Ceilings:
        return measure(self.device, self.dtype)

    @cached_property
    def roofline(self) -> Roofline:
        return Roofline(self.subject.config, self.dtype)

    @cached_property
    def texts(self) -> Texts:
        return Texts(self.subject.prompts)

    @property
    def plain(self) -> Any:
        """transformers' own model."""
        if self._plain is None:
            self._plain = self.subject.model()
        return self._plain

    @property
    def client(self) -> Client:
        """Of the shipped engine, all its graphs captured."""
        if self._client is None:
            self._drop_plain()
            self._client = self._start()
        return self._client

    def check(self) -> None:
        """
        After a section that failed: raises when the others would fail for the same reason, because the device
        takes no more work or the engine has broken.
        """
        self._drop_plain()
        settle(self.device)
        if self._client is not None and self._client.fault is not None:
            raise RuntimeError(self._client.fault.message)

    def _start(self) -> Client:
        on_gpu = self.device.type == "cuda"
        memory = KV_CACHE_BYTES if on_gpu else None
        captures = Captures()
        client = Client(lambda emit: self.subject.engine(emit, memory, captures.progress, self.sizes))
        # What is compiled at its first use is compiled now.
        client.run([Asked(self.texts.of(64), max_new_tokens=8)])
        if on_gpu:
            captures.wait()
        keep_what_is_there()
        return client

    def _drop_plain(self) -> None:
        self._plain = None
        # A model is a net of references to itself.
        gc.collect()

    def patches(self, width: int, height: int) -> tuple[int, int]:
        """(height, width) in patches of a picture, as the model sees it."""
        numbers = self.subject.checkpoint.image
        high, wide = image_size(height, width, numbers)
        return high // numbers.patch_size, wide // numbers.patch_size

    def image_tokens(self, width: int, height: int) -> int:
        high, wide = self.patches(width, height)
        return high * wide // self.subject.checkpoint.image.merge_size**2
