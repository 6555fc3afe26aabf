"""A request off the wire → what the model takes: ids and patches. Runs beside the engine, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch

from .budget import new_token_budget
from .checkpoint import Checkpoint
from .failure import WorkerFailure
from .geometry import Geometry
from .media import Picture, PictureWarning, read_picture
from .media_tokens import count_tokens
from .pixels import Pixels, image_pixels, resize, to_tensor, video_frame_size, video_pixels
from .preprocessing import Preprocessing
from .prompt import Prompt, PromptBuilder
from .protocol import Frame, Generate, ImageMedia, RequestKey, RequestWarning, VideoMedia
from .request_media import media_order
from .sampling import check_options

IsCancelled = Callable[[], bool]
Read = Callable[[Frame, int, int, str], Picture]
"""`read_picture`, for as long as the request is not cancelled."""


class Cancelled(Exception):
    """The request was cancelled while it was prepared; nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class PreparedMedium:
    """One medium of a request. `warnings` name each kind of trouble once, however many frames share it."""

    pixels: Pixels
    geometry: Geometry
    warnings: tuple[PictureWarning, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """
    A request, ready for the engine. `media` is in the order of the request, `order` in that of the prompt;
    `kind` is what the media are, which are all of one.
    """

    prompt: Prompt
    kind: Literal["image", "video"]
    media: Sequence[PreparedMedium]
    order: Sequence[int]
    max_new_tokens: int
    warnings: Sequence[RequestWarning]

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
            suffix = "_videos" if self.kind == "video" else ""
            patches = torch.cat([medium.pixels.patches for medium in shown])
            inputs[f"pixel_values{suffix}"] = patches.to(device)
            inputs[f"{self.kind}_grid_thw"] = torch.tensor(
                [medium.pixels.grid for medium in shown], device=device
            )
        return inputs


def prepare(
    request: Generate,
    frames: Sequence[Frame],
    checkpoint: Checkpoint,
    prompts: PromptBuilder,
    is_cancelled: IsCancelled,
) -> Prepared:
    """
    Builds the prompt, then decodes the media: a prompt that does not fit is refused by CONTEXT_TOO_LONG
    before anything is decoded.

    `is_cancelled` is asked before each picture and frame; Cancelled is raised when it says yes. Else raises a
    WorkerFailure that names the option or the medium at fault.
    """
    check_options(request.options)
    order = media_order(request.messages, request.media)
    media = list(zip(request.media, _split(frames, request.media), strict=True))
    tokens = [count_tokens(medium, raw, index, checkpoint) for index, (medium, raw) in enumerate(media)]
    prompt = prompts.build(request.messages, request.media, [tokens[index] for index in order])
    max_new_tokens, cut = new_token_budget(
        request.key,
        request.options.max_new_tokens,
        prompt_tokens=len(prompt.ids),
        image_tokens=prompt.image_tokens,
        context_length=checkpoint.context_length,
    )

    def read(frame: Frame, media_index: int, factor: int, name: str) -> Picture:
        if is_cancelled():
            raise Cancelled
        return read_picture(frame, media_index, factor, name)

    decoded = [_decode(medium, raw, index, checkpoint, read) for index, (medium, raw) in enumerate(media)]
    warnings = [*_warnings(request.key, decoded), *([cut] if cut else [])]
    is_video = any(isinstance(medium, VideoMedia) for medium in request.media)
    return Prepared(prompt, "video" if is_video else "image", decoded, order, max_new_tokens, warnings)


def _split(frames: Sequence[Frame], media: Sequence[ImageMedia | VideoMedia]) -> list[Sequence[Frame]]:
    """The frames of each medium."""
    raw = iter(frames)
    counts = [1 if isinstance(medium, ImageMedia) else len(medium.bytes) for medium in media]
    return [list(islice(raw, count)) for count in counts]


def _decode(
    medium: ImageMedia | VideoMedia, frames: Sequence[Frame], index: int, checkpoint: Checkpoint, read: Read
) -> PreparedMedium:
    if isinstance(medium, VideoMedia):
        return _decode_video(frames, index, checkpoint.video, read)
    numbers = checkpoint.image
    picture = read(frames[0], index, numbers.factor, f"picture {index + 1}")
    pixels = image_pixels(to_tensor(picture.image), numbers)
    return PreparedMedium(pixels, _geometry(picture), picture.warnings)


def _decode_video(frames: Sequence[Frame], index: int, numbers: Preprocessing, read: Read) -> PreparedMedium:
    """Frames are decoded and resized one by one, so that only one is in memory at its full size."""
    geometry: Geometry | None = None
    resized: list[torch.Tensor] = []
    warnings: dict[str, PictureWarning] = {}
    for number, frame in enumerate(frames):
        picture = read(frame, index, numbers.factor, f"frame {number + 1} of the video")
        geometry = geometry or _geometry(picture)
        if (picture.width, picture.height) != (geometry.width, geometry.height):
            raise WorkerFailure(
                "VIDEO_UNREADABLE",
                f"frame {number + 1} of the video is {picture.width} × {picture.height}, "
                f"but the first is {geometry.width} × {geometry.height}",
                hint="Give all frames of a video the same size.",
                media=index,
            )
        for warning in picture.warnings:
            warnings.setdefault(warning.code, warning)
        size = video_frame_size(len(frames), picture.image.height, picture.image.width, numbers)
        resized.append(resize(to_tensor(picture.image), *size))
    assert geometry is not None  # The protocol has no video without frames.
    return PreparedMedium(video_pixels(resized, numbers), geometry, tuple(warnings.values()))


def _warnings(key: RequestKey, media: Sequence[PreparedMedium]) -> list[RequestWarning]:
    """What the caller should know about the media."""
    return [
        RequestWarning(
            request=key.request, attempt=key.attempt, code=warning.code, message=warning.message, media=index
        )
        for index, medium in enumerate(media)
        for warning in medium.warnings
    ]


def _geometry(picture: Picture) -> Geometry:
    canvas_width, canvas_height = picture.image.size
    return Geometry(picture.width, picture.height, canvas_width=canvas_width, canvas_height=canvas_height)
