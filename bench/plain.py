"""transformers' own `generate`, with the inputs that a script would give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from glimpse_worker.prepare import prepare

from .client import Asked, message
from .models import Subject

Inputs = dict[str, Tensor]

_OF_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids")


def inputs_of(subject: Subject, asked: Asked) -> Inputs:
    """The keyword arguments of the model, on its device."""
    prepared = prepare(
        message(asked, "plain"), asked.pictures, subject.checkpoint, subject.prompts, lambda: False
    )
    return prepared.model_inputs(subject.device)


def batch_of(inputs: Sequence[Inputs]) -> Inputs:
    """Several requests as one padded batch: padding on the left, pictures one after another."""
    longest = max(one["input_ids"].shape[1] for one in inputs)
    batch = {
        name: torch.cat([pad(one[name], (longest - one[name].shape[1], 0)) for one in inputs])
        for name in _OF_TOKENS
    }
    for name in ("pixel_values", "image_grid_thw"):
        if pictures := [one[name] for one in inputs if name in one]:
            batch[name] = torch.cat(pictures)
    return batch


def generate(model: Any, inputs: Inputs, new_tokens: int, **options: Any) -> Tensor:
    """The new ids, (rows, new_tokens); greedy unless the options say otherwise."""
    # Left over from the call before; `generate` would take it for this one's.
    model.model.rope_deltas = None
    with torch.inference_mode():
        ids: Tensor = model.generate(**inputs, max_new_tokens=new_tokens, **({"do_sample": False} | options))
    return ids[:, inputs["input_ids"].shape[1] :]
