"""A video becomes what transformers' Glm4vProcessor makes of it with torchvision, recorded once."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from drawing import encode
from embedded import MODEL, start_line, user
from PIL import Image
from video_cases import CASES, FIXTURE, QUESTION, VideoCase, recorded

from glimpse_worker.checkpoint import Checkpoint, load_tokenizer, open_checkpoint
from glimpse_worker.prepare import prepare
from glimpse_worker.prompt import PromptBuilder
from glimpse_worker.protocol import Generate, Options, VideoMedia


@cache
def checkpoint() -> tuple[Checkpoint, PromptBuilder]:
    found = open_checkpoint(start_line(str(MODEL)), lambda *_: None)
    return found, PromptBuilder(load_tokenizer(found), found.placeholders)


def ours(case: VideoCase) -> dict[str, npt.NDArray[np.generic]]:
    frames = [encode(Image.fromarray(picture)) for picture in case.pictures()]
    request = Generate(
        request="a",
        attempt=0,
        messages=[user(0, QUESTION)],
        media=[VideoMedia(bytes=[len(frame) for frame in frames], fps=case.fps)],
        options=Options(seed=0),
    )
    prepared = prepare(request, frames, *checkpoint(), lambda: False)
    inputs = prepared.model_inputs(torch.device("cpu"))
    return {
        "ids": inputs["input_ids"][0].numpy(),
        "token_types": inputs["mm_token_type_ids"][0].numpy(),
        "grid": inputs["video_grid_thw"][0].numpy(),
        "patches": recorded(inputs["pixel_values_videos"].numpy()),
    }


@pytest.mark.parametrize("name", CASES)
def test_a_video_gives_the_inputs_of_transformers_own_processor(name: str) -> None:
    with np.load(FIXTURE) as fixture:
        for key, values in ours(CASES[name]).items():
            np.testing.assert_array_equal(values, fixture[f"{name}/{key}"], err_msg=key)
