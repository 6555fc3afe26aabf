"""A request off the wire → what the model takes: ids and pixels. Runs beside the engine, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from .budget import new_token_budget
from .checkpoint import Checkpoint
from .decoding import Decoder, IsCancelled, Remembered
from .geometry import Geometry
from .media import MediaKind, PictureWarning, picture_name
from .media_keys import media_keys
from .media_tokens import count_tokens, header_size
from .pixels import Pixels, patches
from .preprocessing import Preprocessing
from .prompt import Prompt, PromptBuilder
from .protocol import (
    Frame,
    Generate,
    ImageMedia,
    RequestKey,
    RequestPrepared,
    RequestWarning,
    VideoMedia,
)
from .request_media import media_order
from .sampling import check_options

Recall = Callable[[tuple[bytes, ...]], Remembered | None]
"""Knows the medium of these keys if it was decoded before and its pixels are not needed again."""


@dataclass(frozen=True, slots=True)
class PreparedMedium:
    """
    One medium of a request. `keys` are those of its temporal patches; the rest is that of `Remembered`.
    `pixels` is None when the medium was recalled instead of decoded.
    """

    keys: tuple[bytes, ...]
    size: tuple[int, int]
    geometry: Geometry
    warnings: tuple[PictureWarning, ...]
    pixels: Pixels | None

    @property
    def remembered(self) -> Remembered:
        return Remembered(self.size, self.geometry, self.warnings)


@dataclass(frozen=True, slots=True)
class Prepared:
    """
    A request, ready for the engine. `media` is in the order of the request, `order` in that of the prompt;
    `kind` is what the media are, which are all of one, and `numbers` are the checkpoint's for that.
    """

    prompt: Prompt
    kind: MediaKind
    numbers: Preprocessing
    media: Sequence[PreparedMedium]
    order: Sequence[int]
    max_new_tokens: int
    warnings: Sequence[RequestWarning]

    def told(self, key: RequestKey) -> RequestPrepared:
        """What the orchestrator is told of it."""
        return RequestPrepared(
            request=key.request,
            attempt=key.attempt,
            prompt_tokens=len(self.prompt.ids),
            image_tokens=self.prompt.image_tokens,
        )

    def model_inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """
        The keyword arguments of Glm4vForConditionalGeneration, as transformers' Glm4vProcessor names them. No
        medium may have been recalled.
        """
        ids = torch.tensor([self.prompt.ids], device=device)
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": torch.tensor([self.prompt.token_types], device=device),
        }
        shown = [self.media[index].pixels for index in self.order]
        pixels = [medium for medium in shown if medium is not None]
        if pixels:
            suffix = "_videos" if self.kind == "video" else ""
            made = [patches(medium.frames.to(device), self.numbers) for medium in pixels]
            inputs[f"pixel_values{suffix}"] = torch.cat(made)
            inputs[f"{self.kind}_grid_thw"] = torch.tensor([medium.grid for medium in pixels], device=device)
        return inputs


def prepare(
    request: Generate,
    frames: Sequence[Frame],
    checkpoint: Checkpoint,
    prompts: PromptBuilder,
    is_cancelled: IsCancelled,
    recall: Recall | None = None,
) -> Prepared:
    """
    Builds the prompt, then decodes the media: a prompt that does not fit is refused by CONTEXT_TOO_LONG
    before anything is decoded. A medium that `recall` knows is not decoded.

    `is_cancelled` is asked before each picture and frame; Cancelled is raised when it says yes. Else raises a
    WorkerFailure that names the option or the medium at fault.
    """
    check_options(request.options)
    order = media_order(request.messages, request.media)
    kind: MediaKind = "video" if any(isinstance(medium, VideoMedia) for medium in request.media) else "image"
    numbers = checkpoint.video if kind == "video" else checkpoint.image
    encoded = _split(frames, request.media)
    sizes = [header_size(kind, raw, index, numbers) for index, raw in enumerate(encoded)]
    tokens = [count_tokens(medium, size, numbers) for medium, size in zip(request.media, sizes, strict=True)]
    prompt = prompts.build(request.messages, request.media, [tokens[index] for index in order])
    max_new_tokens, cut = new_token_budget(
        request.key,
        request.options.max_new_tokens,
        prompt_tokens=len(prompt.ids),
        image_tokens=prompt.image_tokens,
        context_length=checkpoint.context_length,
    )
    decoder = Decoder(kind, numbers, is_cancelled)
    media = [
        _prepare_medium(raw, index, media_keys(kind, raw, size, numbers.temporal_patch_size), decoder, recall)
        for index, (raw, size) in enumerate(zip(encoded, sizes, strict=True))
    ]
    warnings = [*_warnings(request.key, kind, media), *([cut] if cut else [])]
    return Prepared(prompt, kind, numbers, media, order, max_new_tokens, warnings)


def _split(frames: Sequence[Frame], media: Sequence[ImageMedia | VideoMedia]) -> list[Sequence[Frame]]:
    """The frames of each medium."""
    raw = iter(frames)
    counts = [1 if isinstance(medium, ImageMedia) else len(medium.bytes) for medium in media]
    return [list(islice(raw, count)) for count in counts]


def _prepare_medium(
    frames: Sequence[Frame], index: int, keys: tuple[bytes, ...], decoder: Decoder, recall: Recall | None
) -> PreparedMedium:
    known = recall(keys) if recall is not None else None
    if known is not None:
        return PreparedMedium(keys, known.size, known.geometry, known.warnings, pixels=None)
    pixels, found = decoder.decode(frames, index)
    return PreparedMedium(keys, found.size, found.geometry, found.warnings, pixels)


def _warnings(key: RequestKey, kind: MediaKind, media: Sequence[PreparedMedium]) -> list[RequestWarning]:
    """What the caller should know about the media."""
    return [
        RequestWarning(
            request=key.request,
            attempt=key.attempt,
            code=warning.code,
            message=f"{picture_name(kind, index, warning.frame)} {warning.message}",
            media=index,
        )
        for index, medium in enumerate(media)
        for warning in medium.warnings
    ]
