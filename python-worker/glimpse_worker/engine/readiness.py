"""What an engine with a model says about itself when it has loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from ..device import describe_device, memory_use
from ..failure import WorkerFailure
from ..preprocessing import Preprocessing
from ..protocol import PixelLimits, Ready
from ..sampling import stop_token_ids
from .opening import Opened
from .pulse import DeviceMemory, Pulse


def describe(
    opened: Opened,
    *,
    engine: Literal["paged", "reference"],
    slots: int,
    kv_cache_tokens: int | None = None,
) -> Ready:
    """
    `ready`, with the numbers of the checkpoint's own files. The context is no longer than the KV cache.

    Raises WorkerFailure MODEL_UNSUPPORTED when the checkpoint names no token that ends an answer.
    """
    model, checkpoint = opened.model, opened.checkpoint
    stop = stop_token_ids(model.generation_config)
    if not stop:
        raise WorkerFailure("MODEL_UNSUPPORTED", "generation_config.json: eos_token_id is missing")
    return Ready(
        model=opened.name,
        revision=checkpoint.revision,
        engine=engine,
        dtype=str(model.dtype).removeprefix("torch."),
        device=describe_device(model.device),
        slots=slots,
        kv_cache_tokens=kv_cache_tokens,
        context_length=min(checkpoint.context_length, kv_cache_tokens or checkpoint.context_length),
        image_limits=_limits(checkpoint.image),
        video_limits=_limits(checkpoint.video),
        stop_token_ids=stop,
        versions=opened.versions,
    )


def devices_of(model: torch.nn.Module) -> list[torch.device]:
    """Those that hold the weights of `model`, in their order."""
    return sorted({parameter.device for parameter in model.parameters()}, key=str)


def pulse_on(devices: Sequence[torch.device]) -> Pulse:
    """That of an engine whose model lies on these devices."""
    gpus = [device for device in devices if device.type == "cuda"]
    return Pulse((lambda: DeviceMemory(*memory_use(gpus))) if gpus else None)


def _limits(numbers: Preprocessing) -> PixelLimits:
    return PixelLimits(
        patch_size=numbers.patch_size,
        merge_size=numbers.merge_size,
        temporal_patch_size=numbers.temporal_patch_size,
        min_pixels=numbers.min_pixels,
        max_pixels=numbers.max_pixels,
    )
