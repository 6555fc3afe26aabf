"""Records what transformers' own processor, which needs torchvision, makes of the videos of the tests.

PYTHONPATH=python-worker/tests python test/gpu/record_video.py
"""

from pathlib import Path

import numpy as np
from transformers import AutoProcessor
from transformers.video_utils import VideoMetadata
from video_cases import CASES, FIXTURE, QUESTION, VideoCase, recorded

EMBEDDED = Path(__file__).resolve().parents[2] / "models" / "embedded"


def record(processor: AutoProcessor, case: VideoCase) -> dict[str, np.ndarray]:
    content = [{"type": "video"}, {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    metadata = VideoMetadata(
        total_num_frames=case.frames, fps=case.fps, frames_indices=list(range(case.frames))
    )
    inputs = processor(
        text=[text],
        videos=[case.pictures()],
        video_metadata=[metadata],
        do_sample_frames=False,
        return_tensors="np",
    )
    return {
        "ids": inputs["input_ids"][0],
        "token_types": inputs["mm_token_type_ids"][0],
        "grid": inputs["video_grid_thw"][0],
        "patches": recorded(inputs["pixel_values_videos"]),
    }


def main() -> None:
    processor = AutoProcessor.from_pretrained(EMBEDDED)
    arrays = {
        f"{name}/{key}": values
        for name, case in CASES.items()
        for key, values in record(processor, case).items()
    }
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, **arrays)
    print(f"{len(CASES)} videos in {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
