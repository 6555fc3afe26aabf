"""A video becomes what transformers' Glm4vProcessor makes of it with torchvision, recorded once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch
from drawing import encode
from embedded import checkpoint, user
from media_files import video_file
from PIL import Image
from video_cases import CASES, FILES, FIXTURE, QUESTION, VideoCase, recorded

from glimpse_worker.prepare import prepare
from glimpse_worker.protocol import Generate, Media, Options, VideoFileMedia, VideoMedia


def as_frames(case: VideoCase) -> tuple[Media, list[bytes]]:
    frames = [encode(Image.fromarray(picture)) for picture in case.pictures()]
    return VideoMedia(bytes=[len(frame) for frame in frames], fps=case.fps), frames


def as_file(case: VideoCase) -> tuple[Media, list[bytes]]:
    data = video_file(case.pictures(), fps=Fraction(case.fps))
    fps = case.sampled if isinstance(case.sampled, float) else None
    return VideoFileMedia(bytes=len(data), fps=fps), [data]


def ours(medium: Media, frames: list[bytes]) -> dict[str, npt.NDArray[np.generic]]:
    request = Generate(
        request="a", attempt=0, messages=[user(0, QUESTION)], media=[medium], options=Options(seed=0)
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
        for key, values in ours(*as_frames(CASES[name])).items():
            np.testing.assert_array_equal(values, fixture[f"{name}/{key}"], err_msg=key)


@pytest.mark.parametrize("name", FILES)
def test_a_video_file_gives_the_inputs_of_transformers_own_processor(name: str) -> None:
    with np.load(FIXTURE) as fixture:
        for key, values in ours(*as_file(FILES[name])).items():
            np.testing.assert_array_equal(values, fixture[f"{name}/{key}"], err_msg=key)
