"""The packed forward computes what transformers' module does."""

from __future__ import annotations

from itertools import accumulate, cycle
from typing import Any

import numpy as np
import pytest
import torch

from models.training.conversation import Conversation
from models.training.encoding import encode
from models.training.export import IMAGE_MEAN, IMAGE_STD, configuration, new_model
from models.training.forward import Forward, Weights, answer_losses, initialize
from models.training.packing import Layout, TooLong, fill
from models.training.tests.conversations import CONVERSATIONS, describe, picture
from models.training.vocabulary import load_tokenizer

LAYOUT = Layout(tokens=1_536, pictures=1_280, clips=512, sequences=32, pieces=64)
CPU = torch.device("cpu")

torch.manual_seed(0)
MODEL = new_model(configuration(vision_layers=2, text_layers=2, width=256, gated_width=704))
MODEL.train(False)
initialize(MODEL)


def patches(frames: np.ndarray[Any, Any]) -> torch.Tensor:
    """(patches, 3 · 2 · 14 · 14) of two frames, straight from the definition."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1, 1) for numbers in (IMAGE_MEAN, IMAGE_STD))
    pixels = torch.tensor(frames).float().permute(3, 0, 1, 2) / 255
    pixels = (pixels - mean) / std
    rows, columns = pixels.shape[2] // 14, pixels.shape[3] // 14
    order = [
        (2 * row + down, 2 * column + right)
        for row in range(rows // 2)
        for column in range(columns // 2)
        for down in range(2)
        for right in range(2)
    ]
    pieces = [pixels[:, :, 14 * row : 14 * row + 14, 14 * column : 14 * column + 14] for row, column in order]
    return torch.stack([piece.flatten() for piece in pieces])


def media_inputs(conversation: Conversation) -> dict[str, torch.Tensor]:
    inputs: dict[str, list[torch.Tensor]] = {}
    for medium in (medium for turn in conversation.turns for medium in turn.media):
        height, width = medium.pixels.shape[-3] // 14, medium.pixels.shape[-2] // 14
        if medium.pixels.ndim == 4:
            pairs = [patches(medium.pixels[at : at + 2]) for at in range(0, len(medium.pixels), 2)]
            inputs.setdefault("pixel_values_videos", []).append(torch.cat(pairs))
            inputs.setdefault("video_grid_thw", []).append(torch.tensor([[len(pairs), height, width]]))
        else:
            still = patches(np.stack([medium.pixels, medium.pixels]))
            inputs.setdefault("pixel_values", []).append(still)
            inputs.setdefault("image_grid_thw", []).append(torch.tensor([[1, height, width]]))
    return {name: torch.cat(parts) for name, parts in inputs.items()}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_positions_are_those_of_get_rope_index(name: str) -> None:
    encoded = encode(CONVERSATIONS[name], load_tokenizer(), None)
    grids = {key: value for key, value in media_inputs(CONVERSATIONS[name]).items() if "grid" in key}
    ids, types = torch.tensor(encoded.ids).long()[None], torch.tensor(encoded.types).int()[None]
    expected, _ = MODEL.model.get_rope_index(ids, types, **grids)
    assert (expected[:, 0].numpy() == encoded.positions).all()


def test_every_loss_of_a_packed_batch_is_that_of_the_module() -> None:
    samples = [encode(conversation, load_tokenizer(), None) for conversation in CONVERSATIONS.values()]
    buffer = bytearray(LAYOUT.size)
    again = cycle(samples)
    fill(LAYOUT, LAYOUT.arrays(buffer), lambda: next(again))
    batch = LAYOUT.tensors(torch.frombuffer(buffer, dtype=torch.uint8))
    forward = Forward(MODEL, Weights(dict(MODEL.named_parameters()), torch.float32), CPU, compiled=False)
    with torch.no_grad():
        losses = answer_losses(forward(batch).logits, batch["labels"])
    ends = list(accumulate(len(sample.ids) for sample in samples))
    for conversation, sample, end in zip(CONVERSATIONS.values(), samples, ends, strict=True):
        ids = torch.tensor(sample.ids).long()[None]
        with torch.no_grad():
            expected = MODEL(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=torch.tensor(sample.types).int()[None],
                labels=torch.tensor(sample.labels).long()[None],
                **media_inputs(conversation),
            ).loss
        own = losses[end - len(sample.ids) : end].sum() / (sample.labels[1:] >= 0).sum()
        assert float(own) == pytest.approx(float(expected), abs=1e-5)


def test_what_no_batch_can_hold_is_refused_by_name() -> None:
    sample = encode(Conversation((describe(*[picture(8, 12)] * 6),)), load_tokenizer(), None)
    buffer = bytearray(LAYOUT.size)
    with pytest.raises(TooLong, match=r"a conversation \(describe\) has \d+ tokens; expected 512 at most"):
        fill(LAYOUT, LAYOUT.arrays(buffer), lambda: sample)
