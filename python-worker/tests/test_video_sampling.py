"""The frames that the model sees of a video are those that transformers' own processor chooses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor
from transformers.video_utils import VideoMetadata

from glimpse_worker.video_sampling import FrameSampling, frame_seconds

rates = st.one_of(
    st.sampled_from([24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 60.0, 12.5, 1.0, 0.5]),
    st.floats(0.05, 240),
)


def theirs(frames: int, rate: float, fps: float | None, max_duration: float) -> list[int]:
    """What `read_video_pyav` and `sample_frames` of transformers make of a file."""
    metadata = VideoMetadata(total_num_frames=frames, fps=rate, duration=float(frames / rate))
    processor: Any = SimpleNamespace(fps=2, max_duration=max_duration)
    return list(map(int, Glm4vVideoProcessor.sample_frames(processor, metadata, fps)))


@settings(max_examples=2000)
@given(st.integers(1, 200_000), rates, st.none() | st.floats(0.01, 8), st.sampled_from([300, 3, 47]))
@example(1, 30.0, None, 300)
@example(3, 30.0, None, 300)
@example(9000, 30.0, None, 300)
@example(9001, 30.0, None, 300)
@example(108_000, 30.0, None, 300)
def test_frames_are_chosen_as_transformers_chooses_them(
    frames: int, rate: float, fps: float | None, max_duration: int
) -> None:
    ours = FrameSampling(2, max_duration).asked(fps, None).indices(frames, rate)
    assert ours == theirs(frames, rate, fps, max_duration)


@settings(max_examples=300)
@given(st.integers(1, 50_000), rates, st.integers(1, 700), st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]))
def test_a_bound_on_frames_spreads_them_as_transformers_spreads_those_of_a_long_video(
    frames: int, rate: float, most: int, fps: float
) -> None:
    chosen = FrameSampling(2, 300).asked(fps, most).indices(frames, rate)
    assert len(set(chosen)) <= most
    assert len(chosen) % 2 == 0
    # Powers of two, so that max_duration holds a whole number of frames for them too.
    assert chosen == theirs(frames, rate, fps, min(300, most / fps))


def test_the_seconds_are_those_of_the_first_frame_of_each_patch() -> None:
    assert frame_seconds([0, 45, 90, 135, 180, 180], 29.97, 2) == (0, 3, 6)
