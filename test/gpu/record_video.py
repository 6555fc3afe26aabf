"""Records what transformers' own processor, which needs torchvision, makes of the videos of the tests.

PYTHONPATH=python-worker/tests python test/gpu/record_video.py
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from video_cases import CASES, FILES, FIXTURE, QUESTION, VideoCase, recorded

if TYPE_CHECKING:
    from transformers import AutoProcessor

EMBEDDED = Path(__file__).resolve().parents[2] / "models" / "embedded"


def name_operators() -> torch.library.Library:
    """
    torchvision's wheels hold operators for CUDA, which do not load beside torch's CPU build. Its resize is
    plain torch: with the names of the operators alone, its Python part can be imported.
    """
    [package] = find_spec("torchvision").submodule_search_locations
    registrations = Path(package, "_meta_registrations.py").read_text()
    named = set(re.findall(r'(?:register_meta\("|register_fake\("torchvision::)(\w+)"', registrations))
    library = torch.library.Library("torchvision", "DEF")
    for name in named - {"nms"}:
        library.define(f"{name}(Tensor x) -> Tensor")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def record(processor: AutoProcessor, case: VideoCase) -> dict[str, np.ndarray]:
    content = [{"type": "video"}, {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    metadata = {
        "total_num_frames": case.frames,
        "fps": case.fps,
        "duration": case.frames / case.fps,
        "frames_indices": list(range(case.frames)),
    }
    chosen = {} if case.sampled in (None, "default") else {"fps": case.sampled}
    inputs = processor(
        text=[text],
        videos=[case.pictures()],
        video_metadata=[metadata],
        do_sample_frames=case.sampled is not None,
        **chosen,
        return_tensors="np",
    )
    return {
        "ids": inputs["input_ids"][0],
        "token_types": inputs["mm_token_type_ids"][0],
        "grid": inputs["video_grid_thw"][0],
        "patches": recorded(inputs["pixel_values_videos"]),
    }


def main() -> None:
    # The names are known as long as it lives.
    library = None if torch.version.cuda or torch.version.hip else name_operators()
    # With torchvision at hand, transformers imports it.
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(EMBEDDED)
    arrays = {
        f"{name}/{key}": values
        for name, case in (CASES | FILES).items()
        for key, values in record(processor, case).items()
    }
    del library
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, **arrays)
    print(f"{len(CASES | FILES)} videos in {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
