"""A request off the wire → what the model takes: ids and pixels. Runs beside the engine, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .boxes import BoxPlace
from .budget import new_token_budget
from .cancelling import IsCancelled
from .checkpoint import Checkpoint
from .decoding import Remembered
from .geometry import Geometry
from .media import MediaKind, PictureWarning
from .media_items import Item, OpenMedium
from .open_media import open_media
from .pixels import Pixels, patches
from .preprocessing import Preprocessing
from .prompt import Prompt, PromptBuilder
from .protocol import CountTokens, Frame, Generate, RequestKey, RequestPrepared, RequestWarning
from .request_media import media_kind, media_order
from .sampling import check_options

Recall = Callable[[tuple[bytes, ...]], Remembered | None]
"""Knows the medium of these keys if it was decoded before and its pixels are not needed again."""


@dataclass(frozen=True, slots=True)
class PreparedMedium:
    """
    One picture, page or video of a request, which medium `media` shows. `keys` are those of its temporal
    patches; the rest is that of `Remembered`. `pixels` is None when it was recalled instead of decoded.
    """

    media: int
    page: int | None
    """Of a PDF, counted from 1."""
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
    A request, ready for the engine. `media` is in the order of the request, pages of a PDF one by one;
    `order` is theirs in the prompt. `kind` is what they are, which are all of one, and `numbers` are the
    checkpoint's for that.
    """

    prompt: Prompt
    kind: MediaKind
    numbers: Preprocessing
    media: Sequence[PreparedMedium]
    order: Sequence[int]
    max_new_tokens: int
    warnings: Sequence[RequestWarning]

    @property
    def places(self) -> list[BoxPlace]:
        """Which picture or page of the request each of `media` is."""
        return [BoxPlace(medium.media, medium.page) for medium in self.media]

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


@dataclass(frozen=True, slots=True)
class Plan:
    """A request whose prompt is known, and of whose media only the headers were read."""

    prompt: Prompt
    media: Sequence[OpenMedium]
    order: Sequence[int]
    """Of `media`, in the prompt."""


@contextmanager
def planned(
    request: Generate | CountTokens,
    frames: Sequence[Frame],
    checkpoint: Checkpoint,
    prompts: PromptBuilder,
    is_cancelled: IsCancelled,
) -> Iterator[Plan]:
    """The media can be decoded for as long as the context lasts. Raises what `prepare` raises."""
    order = media_order(request.messages, request.media)
    with open_media(request.media, frames, checkpoint, is_cancelled) as media:
        shown = [[item.tokens for item in medium.items] for medium in media]
        yield Plan(prompts.build(request.messages, shown), media, order)


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
    with planned(request, frames, checkpoint, prompts, is_cancelled) as plan:
        max_new_tokens, cut = new_token_budget(
            request.key,
            request.options.max_new_tokens,
            prompt_tokens=len(plan.prompt.ids),
            image_tokens=plan.prompt.image_tokens,
            context_length=checkpoint.context_length,
        )
        items = [(index, item) for index, medium in enumerate(plan.media) for item in medium.items]
        media = [_prepare_item(item, index, recall) for index, item in items]
    warnings = [
        *(
            warning
            for (index, item), medium in zip(items, media, strict=True)
            for warning in _warnings(request.key, index, item, medium)
        ),
        *([cut] if cut else []),
    ]
    kind = media_kind(request.media)
    numbers = checkpoint.video if kind == "video" else checkpoint.image
    order = [place for index in plan.order for place, medium in enumerate(media) if medium.media == index]
    return Prepared(plan.prompt, kind, numbers, media, order, max_new_tokens, warnings)


def _prepare_item(item: Item, index: int, recall: Recall | None) -> PreparedMedium:
    known = recall(item.keys) if recall is not None else None
    pixels, found = (None, known) if known is not None else item.decode()
    return PreparedMedium(index, item.page, item.keys, found.size, found.geometry, found.warnings, pixels)


def _warnings(key: RequestKey, index: int, item: Item, medium: PreparedMedium) -> Iterator[RequestWarning]:
    """What the caller should know about what medium `index` shows."""
    for warning in medium.warnings:
        yield RequestWarning(
            request=key.request,
            attempt=key.attempt,
            code=warning.code,
            message=f"{item.name(warning.frame)} {warning.message}",
            media=index,
        )
