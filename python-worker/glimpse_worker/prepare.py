"""A request off the wire → what the model takes: ids and patches. Runs beside the engine, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from .checkpoint import Checkpoint
from .failure import WorkerFailure
from .geometry import Geometry
from .media import Picture, PictureWarning, read_picture
from .pixels import Pixels, image_pixels, resize, to_tensor, video_frame_size, video_pixels
from .preprocessing import Preprocessing
from .prompt import ImageTokens, MediumTokens, Prompt, PromptBuilder, VideoTokens, video_seconds
from .protocol import Frame, Generate, ImageMedia, RequestKey, RequestWarning, VideoMedia
from .request_media import media_order


@dataclass(frozen=True, slots=True)
class PreparedMedium:
    """One medium of a request. `warnings` name each kind of trouble once, however many frames share it."""

    pixels: Pixels
    tokens: MediumTokens
    geometry: Geometry
    warnings: tuple[PictureWarning, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """
    A request, ready for the engine. `media` is in the order of the request, `order` in that of the prompt.
    """

    prompt: Prompt
    media: Sequence[PreparedMedium]
    order: Sequence[int]

    def model_inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """
        The keyword arguments of Glm4vForConditionalGeneration, as transformers' Glm4vProcessor names them.
        """
        ids = torch.tensor([self.prompt.ids], device=device)
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": torch.tensor([self.prompt.token_types], device=device),
        }
        shown = [self.media[index] for index in self.order]
        if shown:
            suffix = "_videos" if isinstance(shown[0].tokens, VideoTokens) else ""
            kind = "video" if suffix else "image"
            patches = torch.cat([medium.pixels.patches for medium in shown])
            inputs[f"pixel_values{suffix}"] = patches.to(device)
            inputs[f"{kind}_grid_thw"] = torch.tensor([medium.pixels.grid for medium in shown], device=device)
        return inputs

    def warnings(self, key: RequestKey) -> list[RequestWarning]:
        """What the caller should know about the media."""
        request, attempt = key
        return [
            RequestWarning(
                request=request, attempt=attempt, code=warning.code, message=warning.message, media=index
            )
            for index, medium in enumerate(self.media)
            for warning in medium.warnings
        ]


def prepare(
    request: Generate, frames: Sequence[Frame], checkpoint: Checkpoint, prompts: PromptBuilder
) -> Prepared:
    """Decodes the media and builds the prompt. Raises a WorkerFailure that names the medium at fault."""
    order = media_order(request.messages, request.media)
    raw = iter(frames)
    media = [_prepare_medium(medium, index, raw, checkpoint) for index, medium in enumerate(request.media)]
    shown = [media[index].tokens for index in order]
    return Prepared(prompts.build(request.messages, request.media, shown), media, order)


def _prepare_medium(
    medium: ImageMedia | VideoMedia, index: int, raw: Iterator[Frame], checkpoint: Checkpoint
) -> PreparedMedium:
    if isinstance(medium, VideoMedia):
        frames = [next(raw) for _ in medium.bytes]
        return _prepare_video(frames, medium.fps, index, checkpoint.video)
    numbers = checkpoint.image
    picture = read_picture(next(raw), index, numbers.factor, f"picture {index + 1}")
    pixels = image_pixels(to_tensor(picture.image), numbers)
    tokens = ImageTokens(_merged(pixels, numbers))
    return PreparedMedium(pixels, tokens, _geometry(picture), picture.warnings)


def _prepare_video(frames: Sequence[Frame], fps: float, index: int, numbers: Preprocessing) -> PreparedMedium:
    """Frames are decoded and resized one by one, so that only one is in memory at its full size."""
    first: Picture | None = None
    resized: list[torch.Tensor] = []
    warnings: dict[str, PictureWarning] = {}
    for number, frame in enumerate(frames):
        picture = read_picture(frame, index, numbers.factor, f"frame {number + 1} of the video")
        first = first or picture
        if (picture.width, picture.height) != (first.width, first.height):
            raise WorkerFailure(
                "VIDEO_UNREADABLE",
                f"frame {number + 1} of the video is {picture.width} × {picture.height}, "
                f"but the first is {first.width} × {first.height}",
                hint="Give all frames of a video the same size.",
                media=index,
            )
        for warning in picture.warnings:
            warnings.setdefault(warning.code, warning)
        size = video_frame_size(len(frames), picture.image.height, picture.image.width, numbers)
        resized.append(resize(to_tensor(picture.image), *size))
    if first is None:
        raise WorkerFailure("VIDEO_UNREADABLE", "the video has no frames; expected at least one", media=index)
    pixels = video_pixels(resized, numbers)
    per_patch = _merged(pixels, numbers) // pixels.grid[0]
    tokens = VideoTokens(per_patch, video_seconds(len(frames), fps, numbers.temporal_patch_size))
    return PreparedMedium(pixels, tokens, _geometry(first), tuple(warnings.values()))


def _merged(pixels: Pixels, numbers: Preprocessing) -> int:
    return pixels.patches.shape[0] // numbers.merge_size**2


def _geometry(picture: Picture) -> Geometry:
    canvas_width, canvas_height = picture.image.size
    return Geometry(picture.width, picture.height, canvas_width=canvas_width, canvas_height=canvas_height)
