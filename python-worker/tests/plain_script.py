"""
What a notebook user does today with transformers, and nothing of ours: the oracle of the parity tests.

transformers' Auto processors refuse to load without torchvision; the pieces that they are made of do not.

    python plain_script.py REQUESTS.json RESULTS.json [CHECKPOINT]

REQUESTS.json is a list of {"messages", "images": [path], "video": {"frames": [path], "fps": number},
"max_new_tokens"}; `images` or `video`, or neither. Messages are in the form that chat templates take, with
{"type": "image"} and {"type": "video"} where the media stand. RESULTS.json becomes a list of {"ids",
"text"}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers import AutoTokenizer, Glm4vForConditionalGeneration
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor, smart_resize

EMBEDDED = Path(__file__).parents[2] / "models" / "embedded"


@dataclass(frozen=True)
class Media:
    """
    What the processor gives for the pictures, or for the video, of one request. Grids are (t, h, w) in
    patches.
    """

    pixels: torch.Tensor
    grids: list[list[int]]
    seconds: list[int] | None = None


class PlainScript:
    """Greedy generation in float32 on the CPU."""

    def __init__(self, checkpoint: Path = EMBEDDED) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
        self.model: Any = Glm4vForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
        self.image_processor = Glm4vImageProcessorPil.from_pretrained(checkpoint)
        self.video_numbers = json.loads((checkpoint / "video_preprocessor_config.json").read_text())

    def images(self, pictures: Sequence[Image.Image]) -> Media:
        processed = self.image_processor(list(pictures), return_tensors="pt")
        return Media(processed["pixel_values"].float(), torch.as_tensor(processed["image_grid_thw"]).tolist())

    def video(self, frames: Sequence[Image.Image], fps: float) -> Media:
        """Glm4vVideoProcessor's steps with do_sample_frames=False, resized by Pillow."""
        numbers = self.video_numbers
        height, width = smart_resize(
            num_frames=len(frames),
            height=frames[0].height,
            width=frames[0].width,
            temporal_factor=numbers["temporal_patch_size"],
            factor=numbers["patch_size"] * numbers["merge_size"],
            min_pixels=numbers["size"]["shortest_edge"],
            max_pixels=numbers["size"]["longest_edge"],
        )
        resized = [np.asarray(frame.resize((width, height), Image.Resampling.BICUBIC)) for frame in frames]
        pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(numbers[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
        patches, *grid = Glm4vVideoProcessor.patchify(
            None,  # type: ignore[arg-type]  # it does not look at itself
            ((pixels - mean) / std)[None],
            numbers["patch_size"],
            numbers["merge_size"],
            numbers["temporal_patch_size"],
        )
        seconds = [int(index / fps) for index in range(len(frames))][::2]
        return Media(patches[0], [grid], seconds)

    def prompt(self, messages: list[dict[str, Any]], media: Media | None) -> dict[str, torch.Tensor]:
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        merge = self.image_processor.merge_size**2
        for t, h, w in media.grids if media else []:
            if media is not None and media.seconds is not None:
                patch = "<|begin_of_image|>" + "<|IMAGE|>" * (h * w // merge) + "<|end_of_image|>"
                expansion = "".join(patch + str(second) for second in media.seconds[:t])
                text = text.replace("<|video|>", expansion, 1)
            else:
                text = text.replace("<|image|>", "<|IMAGE|>" * (t * h * w // merge), 1)
        ids = self.tokenizer(text.replace("<|IMAGE|>", "<|image|>"), return_tensors="pt")["input_ids"]
        types = torch.zeros_like(ids)
        types[ids == self.tokenizer.convert_tokens_to_ids("<|image|>")] = 2 if media and media.seconds else 1
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": types}

    def ask(self, messages: list[dict[str, Any]], media: Media | None, max_new_tokens: int) -> dict[str, Any]:
        """The ids that were generated, the stop token included, and their text with special tokens kept."""
        inputs = self.prompt(messages, media)
        if media is not None:
            kind = "image" if media.seconds is None else "video"
            inputs["pixel_values" if kind == "image" else "pixel_values_videos"] = media.pixels
            inputs[f"{kind}_grid_thw"] = torch.tensor(media.grids)
        output = self.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        ids = output[0, inputs["input_ids"].shape[1] :].tolist()
        return {"ids": ids, "text": self.tokenizer.decode(ids, skip_special_tokens=False)}

    def ask_files(self, request: dict[str, Any]) -> dict[str, Any]:
        """One entry of REQUESTS.json."""
        media = None
        if request.get("images"):
            media = self.images([open_picture(path) for path in request["images"]])
        elif request.get("video"):
            video = request["video"]
            media = self.video([open_picture(path) for path in video["frames"]], video["fps"])
        return self.ask(request["messages"], media, request["max_new_tokens"])


def open_picture(path: str) -> Image.Image:
    """As transformers' load_image."""
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def main(requests: str, results: str, checkpoint: str = str(EMBEDDED)) -> None:
    script = PlainScript(Path(checkpoint))
    answers = [script.ask_files(request) for request in json.loads(Path(requests).read_text())]
    Path(results).write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
