"""
The forward of Glm4vForConditionalGeneration over one packed batch of a fixed shape.

The same mathematics with that module's own parameters, in regions between the attentions that torch.compile
turns into few kernels. transformers' forward loops over pictures in Python, which takes several times as long
and fits no CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import Glm4vForConditionalGeneration

from .conversation import ALPHABET, SLOTS, UNKNOWN
from .encoding import PATCH, UNTRAINED
from .export import IMAGE_MEAN, IMAGE_STD, parts_of
from .packing import LONGEST, LONGEST_SIDE, MOST_PATCHES, Tensors

EPSILON = 1e-5
CLASSES = len(ALPHABET) + 1
EMPTY_SLOT = 0.1
"""Weight of a slot without a character in the auxiliary loss: most are empty."""

_VISION = "model.visual."
_TEXT = "model.language_model."
_JOINED = {"q_proj": ("q_proj", "k_proj", "v_proj"), "gate_proj": ("gate_proj", "up_proj")}
"""Matrices that are multiplied with the same thing, by the first of them."""


def new_characters_head(width: int, device: torch.device) -> dict[str, torch.nn.Parameter]:
    """What the auxiliary loss reads the features with. It is thrown away after the training."""
    weight = (torch.randn(SLOTS * CLASSES, width) * 0.02).to(device)
    bias = torch.zeros(SLOTS * CLASSES, device=device)
    return {
        "characters.weight": torch.nn.Parameter(weight),
        "characters.bias": torch.nn.Parameter(bias),
    }


@torch.no_grad()
def initialize(model: Glm4vForConditionalGeneration) -> None:
    """Every matrix 1 / sqrt(inputs), but what adds to the residual stream of the vision part smaller."""
    for name, parameter in model.named_parameters():
        if name.endswith("embed_tokens.weight"):
            parameter.normal_(0, 1)
        elif name.endswith("position_embedding.weight"):
            parameter.normal_(0, 0.3)
        elif name == "lm_head.weight":
            parameter.normal_(0, 0.02)
        elif "post_self_attn_layernorm" in name or "post_mlp_layernorm" in name:
            parameter.fill_(0.5)
        elif parameter.dim() > 1:
            scale = 1 / math.sqrt(parameter[0].numel())
            if name.startswith(f"{_VISION}blocks") and name.endswith(
                ("attn.proj.weight", "down_proj.weight")
            ):
                scale *= 0.3
            if name.endswith("merger.down_proj.weight"):
                scale *= 4
            parameter.normal_(0, scale)


class Weights:
    """
    The parameters as the forward reads them: in the dtype in which it computes, some of them joined.

    Copies, made once per step: the forward then casts nothing, and gradients are those of the copies.
    """

    def __init__(self, masters: Mapping[str, torch.nn.Parameter], dtype: torch.dtype) -> None:
        self.masters = dict(masters)
        self._copies: dict[str, Tensor] = {}
        self._parts: dict[str, list[str]] = {}
        self._views: dict[str, Tensor] = {}
        for name in self.masters:
            self._copy(name, dtype)
        self.refresh()

    def _copy(self, name: str, dtype: torch.dtype) -> None:
        module = name.split(".")[-2]
        together = next((parts for parts in _JOINED.values() if module in parts), (module,))
        if module != together[0]:
            return
        names = [name.replace(f".{module}.", f".{part}.") for part in together]
        masters = [self.masters[part] for part in names]
        rows = [len(master) for master in masters]
        copy = torch.empty(
            (sum(rows), *masters[0].shape[1:]),
            dtype=torch.float32 if _stays_float(name) else dtype,
            device=masters[0].device,
        )
        self._views.update(zip(names, torch.split(copy, rows), strict=True))
        self._copies[name] = copy.requires_grad_()
        self._parts[name] = names

    @torch.no_grad()
    def refresh(self) -> None:
        """After every change of the parameters."""
        torch._foreach_copy_([view.detach() for view in self._views.values()], [*self._masters_of_views()])

    def _masters_of_views(self) -> Iterable[Tensor]:
        return (self.masters[name].detach() for name in self._views)

    def __getitem__(self, name: str) -> Tensor:
        """By the name of the parameter; joined ones by the name of the first."""
        return self._copies[name]

    def under(self, prefix: str, *names: str) -> list[Tensor]:
        return [self._copies[f"{prefix}{name}.weight"] for name in names]

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Of every parameter, by its name."""
        of_copies = torch.autograd.grad(loss, list(self._copies.values()))
        gradients: dict[str, Tensor] = {}
        for names, gradient in zip(self._parts.values(), of_copies, strict=True):
            rows = [len(self.masters[name]) for name in names]
            gradients.update(zip(names, torch.split(gradient, rows), strict=True))
        return gradients


def _stays_float(name: str) -> bool:
    """Norms compute in float32, and of the patches' kernel the sum over two frames is taken first."""
    return "norm" in name or name.endswith("patch_embed.proj.weight")


Attending = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values: (rows, heads, head width) each."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """`features` is (merged tokens of the vision part, width), `logits` is (tokens, vocabulary)."""

    features: Tensor
    logits: Tensor


class Forward:
    """Reads `weights`, whose names are those of `model`."""

    def __init__(
        self,
        model: Glm4vForConditionalGeneration,
        weights: Weights,
        device: torch.device,
        *,
        compiled: bool,
    ) -> None:
        vision, text = parts_of(model)
        self._weights = weights
        self._vision_layers: int = vision["depth"]
        self._text_layers: int = text["num_hidden_layers"]
        self._vision_heads: int = vision["num_heads"]
        self._text_heads: tuple[int, int] = (text["num_attention_heads"], text["num_key_value_heads"])
        self._sections: list[int] = text["rope_parameters"]["mrope_section"]
        self._sides = _side_weights(vision["image_size"] // PATCH).to(device)
        self._vision_frequencies = model.model.visual.rotary_pos_emb.inv_freq.to(device)
        self._text_frequencies = model.model.language_model.rotary_emb.inv_freq.to(device)
        self._mean = torch.tensor(IMAGE_MEAN, device=device)
        self._std = torch.tensor(IMAGE_STD, device=device)
        self._attend = _flash_attention if device.type == "cuda" else _plain_attention
        region = _compiled if compiled else _as_it_is
        self._vision_start = region(_vision_start)
        self._vision_between = region(_vision_between)
        self._vision_end = region(_vision_end)
        self._text_start = region(_text_start)
        self._text_between = region(_text_between)
        self._text_end = region(_text_end)
        self.answer_losses = region(answer_losses)
        self.character_loss = region(character_loss)

    def __call__(self, batch: Tensors) -> Outputs:
        features = self._vision(batch)
        return Outputs(features, self._text(batch, features))

    def _vision(self, batch: Tensors) -> Tensor:
        """(merged tokens, width)"""
        weights, heads, last = self._weights, self._vision_heads, self._vision_layers - 1
        qkv: Attending
        x, cos, sin, qkv = self._vision_start(
            (batch["pictures"], batch["clips"], batch["coordinates"]),
            (self._mean, self._std, self._sides, self._vision_frequencies),
            [
                *weights.under(_VISION, "patch_embed.proj", "post_conv_layernorm"),
                weights[f"{_VISION}patch_embed.proj.bias"],
                *weights.under(_VISION, "embeddings.position_embedding"),
            ],
            self._vision_before(0),
            heads,
        )
        for layer in range(last):
            attended = self._attend(*qkv, batch["piece_bounds"], MOST_PATCHES, causal=False)
            x, qkv = self._vision_between(
                x, attended, self._vision_after(layer), self._vision_before(layer + 1), cos, sin, heads
            )
        attended = self._attend(*qkv, batch["piece_bounds"], MOST_PATCHES, causal=False)
        ending = [
            *weights.under(_VISION, "post_layernorm", "downsample", "merger.proj"),
            weights[f"{_VISION}downsample.bias"],
            *weights.under(_VISION, "merger.post_projection_norm", "merger.gate_proj", "merger.down_proj"),
            weights[f"{_VISION}merger.post_projection_norm.bias"],
        ]
        features: Tensor = self._vision_end(x, attended, self._vision_after(last), ending)
        return features

    def _vision_before(self, layer: int) -> list[Tensor]:
        return self._weights.under(f"{_VISION}blocks.{layer}.", "norm1", "attn.qkv")

    def _vision_after(self, layer: int) -> list[Tensor]:
        names = ("attn.proj", "norm2", "mlp.gate_proj", "mlp.down_proj")
        return self._weights.under(f"{_VISION}blocks.{layer}.", *names)

    def _text(self, batch: Tensors, features: Tensor) -> Tensor:
        """(tokens, vocabulary)"""
        heads, last = self._text_heads, self._text_layers - 1
        x = _embed(batch, features, self._weights[f"{_TEXT}embed_tokens.weight"])
        qkv: Attending
        cos, sin, qkv = self._text_start(
            x, batch["positions"], self._text_frequencies, self._sections, self._text_before(0), heads
        )
        for layer in range(last):
            attended = self._attend(*qkv, batch["sequence_bounds"], LONGEST, causal=True)
            x, qkv = self._text_between(
                x, attended, self._text_after(layer), self._text_before(layer + 1), cos, sin, heads
            )
        attended = self._attend(*qkv, batch["sequence_bounds"], LONGEST, causal=True)
        ending = [*self._weights.under(_TEXT, "norm"), self._weights["lm_head.weight"]]
        logits: Tensor = self._text_end(x, attended, self._text_after(last), ending)
        return logits

    def _text_before(self, layer: int) -> list[Tensor]:
        prefix = f"{_TEXT}layers.{layer}."
        return [
            *self._weights.under(prefix, "input_layernorm", "self_attn.q_proj"),
            self._weights[f"{prefix}self_attn.q_proj.bias"],
        ]

    def _text_after(self, layer: int) -> list[Tensor]:
        return self._weights.under(
            f"{_TEXT}layers.{layer}.",
            "self_attn.o_proj",
            "post_self_attn_layernorm",
            "post_attention_layernorm",
            "mlp.gate_up_proj",
            "mlp.down_proj",
            "post_mlp_layernorm",
        )


def _compiled(region: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(region, dynamic=False)


def _as_it_is(region: Callable[..., Any]) -> Callable[..., Any]:
    return region


# ---- The vision part: x is (patches, width).


def _vision_start(
    seen: tuple[Tensor, Tensor, Tensor],
    constants: tuple[Tensor, Tensor, Tensor, Tensor],
    weights: list[Tensor],
    before: list[Tensor],
    heads: int,
) -> tuple[Tensor, Tensor, Tensor, Attending]:
    pictures, clips, coordinates = seen
    mean, std, sides, frequencies = constants
    kernel, norm, bias, position_embedding = weights
    dtype = bias.dtype
    # Colours come last in our patches. A still picture is two frames alike.
    of_picture = kernel.sum(2).permute(0, 2, 3, 1).flatten(1).to(dtype)
    of_clip = kernel.permute(0, 2, 3, 4, 1).flatten(1).to(dtype)
    x = torch.cat(
        (
            F.linear(_normalized(pictures, mean, std, dtype), of_picture),
            F.linear(_normalized(clips, mean, std, dtype), of_clip),
        )
    )
    x = _rms(x + bias, norm)
    row, column, rows, columns = coordinates.long().clamp(max=LONGEST_SIDE).unbind(1)
    mixed = (sides[rows, row][:, :, None] * sides[columns, column][:, None, :]).flatten(1)
    x = x + F.linear(mixed.to(dtype), position_embedding.t())
    angles = torch.cat((row[:, None] * frequencies, column[:, None] * frequencies), 1)[:, None]
    cos, sin = angles.cos(), angles.sin()
    return x, cos, sin, _vision_qkv(x, before, cos, sin, heads)


def _normalized(pixels: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """(patches, inputs), as the image processor does it."""
    return ((pixels.view(len(pixels), -1, 3).float() / 255 - mean) / std).flatten(1).to(dtype)


def _vision_qkv(x: Tensor, weights: list[Tensor], cos: Tensor, sin: Tensor, heads: int) -> Attending:
    """(patches, heads, head width) each. cos and sin are (patches, 1, half of the head width)."""
    norm, qkv = weights
    q, k, v = F.linear(_rms(x, norm), qkv).view(len(x), 3, heads, -1).unbind(1)
    return _turned_halves(q, cos, sin), _turned_halves(k, cos, sin), v.contiguous()


def _turned_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(x.dtype)


def _vision_after(x: Tensor, attended: Tensor, weights: list[Tensor]) -> Tensor:
    projection, norm, gate_up, down = weights
    x = x + F.linear(attended.flatten(1), projection)
    return x + _gated(_rms(x, norm), gate_up, down)


def _vision_between(
    x: Tensor,
    attended: Tensor,
    after: list[Tensor],
    before: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    heads: int,
) -> tuple[Tensor, Attending]:
    """From the attention of a layer to that of the next."""
    x = _vision_after(x, attended, after)
    return x, _vision_qkv(x, before, cos, sin, heads)


def _vision_end(x: Tensor, attended: Tensor, after: list[Tensor], weights: list[Tensor]) -> Tensor:
    """(merged tokens, width): four patches next to each other become one."""
    norm, downsample, projection, downsample_bias, merger_norm, gate_up, down, merger_bias = weights
    x = _rms(_vision_after(x, attended, after), norm).view(-1, 4 * x.shape[1])
    x = F.linear(x, downsample.permute(0, 2, 3, 1).flatten(1), downsample_bias)
    x = F.linear(x, projection)
    x = F.layer_norm(x.float(), (x.shape[1],), merger_norm, merger_bias, EPSILON).to(x.dtype)
    return _gated(F.gelu(x), gate_up, down)


def _side_weights(side: int) -> Tensor:
    """
    (rows + 1, row, side): how much of each learned position a row of so many has, by the bicubic
    interpolation (a = -0.75) of grid_sample with align_corners=False and padding_mode="border".
    """
    weights = torch.zeros(LONGEST_SIDE + 1, LONGEST_SIDE + 1, side)
    for rows in range(1, LONGEST_SIDE + 1):
        for row in range(rows):
            source = (row + 0.5) * side / rows - 0.5
            below = math.floor(source)
            for near in range(below - 1, below + 3):
                at = min(max(near, 0), side - 1)
                weights[rows, row, at] += _bicubic(abs(source - near))
    return weights


def _bicubic(distance: float) -> float:
    if distance <= 1:
        return (1.25 * distance - 2.25) * distance * distance + 1
    return ((-0.75 * distance + 3.75) * distance - 6) * distance + 3


# ---- The text part: x is (tokens, width).


def _embed(batch: Tensors, features: Tensor, embedding: Tensor) -> Tensor:
    """
    (tokens, width). A gather would be simpler, but its backward adds thousands of gradients to one row, which
    took most of a step: hence one-hot rows, and a copy by destination. Features without one go to a row more.
    """
    ids = batch["ids"].long()
    x = F.one_hot(ids, len(embedding)).to(embedding.dtype) @ embedding
    x = torch.cat((x, torch.zeros_like(x[:1])))
    return x.index_copy(0, batch["destinations"].long(), features)[:-1]


def _text_start(
    x: Tensor,
    positions: Tensor,
    frequencies: Tensor,
    sections: list[int],
    before: list[Tensor],
    heads: tuple[int, int],
) -> tuple[Tensor, Tensor, Attending]:
    angles = torch.split(positions.float()[:, :, None] * frequencies, sections, -1)
    joined = torch.cat([section[axis] for axis, section in enumerate(angles)], -1)[:, None]
    cos, sin = joined.cos(), joined.sin()
    return cos, sin, _text_qkv(x, before, cos, sin, heads)


def _text_qkv(
    x: Tensor, weights: list[Tensor], cos: Tensor, sin: Tensor, heads: tuple[int, int]
) -> Attending:
    """(tokens, heads, head width) each. cos and sin are (tokens, 1, half of what is turned of a head)."""
    norm, qkv, bias = weights
    queries, keys = heads
    joined = F.linear(_rms(x, norm), qkv, bias).view(len(x), queries + 2 * keys, -1)
    q, k, v = torch.split(joined, [queries, keys, keys], 1)
    k = _turned_pairs(k, cos, sin).repeat_interleave(queries // keys, 1)
    return _turned_pairs(q, cos, sin), k, v.repeat_interleave(queries // keys, 1)


def _turned_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the first part of every head, neighbours against each other."""
    turned = 2 * cos.shape[-1]
    even, odd = x[..., 0:turned:2].float(), x[..., 1:turned:2].float()
    pairs = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
    return torch.cat((pairs.to(x.dtype), x[..., turned:]), -1)


def _text_after(x: Tensor, attended: Tensor, weights: list[Tensor]) -> Tensor:
    projection, attention_norm, norm, gate_up, down, mlp_norm = weights
    x = x + _rms(F.linear(attended.flatten(1), projection), attention_norm)
    return x + _rms(_gated(_rms(x, norm), gate_up, down), mlp_norm)


def _text_between(
    x: Tensor,
    attended: Tensor,
    after: list[Tensor],
    before: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    heads: tuple[int, int],
) -> tuple[Tensor, Attending]:
    """From the attention of a layer to that of the next."""
    x = _text_after(x, attended, after)
    return x, _text_qkv(x, before, cos, sin, heads)


def _text_end(x: Tensor, attended: Tensor, after: list[Tensor], weights: list[Tensor]) -> Tensor:
    """(tokens, vocabulary)"""
    norm, head = weights
    return F.linear(_rms(_text_after(x, attended, after), norm), head)


# ---- Both parts.


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPSILON) * weight).to(x.dtype)


def _gated(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = F.linear(x, gate_up).chunk(2, -1)
    return F.linear(F.silu(gate) * up, down)


def _plain_attention(
    q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int, *, causal: bool
) -> Tensor:
    """(rows, heads, head width), every piece between two bounds by itself."""
    del longest
    lengths = [end - start for start, end in pairwise(bounds.tolist()) if end > start]
    pieces = [torch.split(part.transpose(0, 1)[None], lengths, 2) for part in (q, k, v)]
    attended = [
        F.scaled_dot_product_attention(queries, keys, values, is_causal=causal)
        for queries, keys, values in zip(*pieces, strict=True)
    ]
    return torch.cat(attended, 2)[0].transpose(0, 1)


def _flash_attention(
    q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int, *, causal: bool
) -> Tensor:
    """The same on CUDA."""
    scale = q.shape[-1] ** -0.5
    attended: Tensor = torch.ops.aten._flash_attention_forward(
        q, k, v, bounds, bounds, longest, longest, 0.0, causal, False, scale=scale
    )[0]
    return attended


# ---- Losses.


def answer_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(tokens,), 0 where nothing is trained."""
    return F.cross_entropy(logits.float(), labels.long(), ignore_index=UNTRAINED, reduction="none")


def character_loss(features: Tensor, characters: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A number: how well the characters in its cell can be told from each visual token of a picture."""
    logits = F.linear(features[: len(characters)], weight, bias).float().view(-1, CLASSES)
    classes = characters.long().flatten()
    known = classes != UNKNOWN
    share = torch.where(classes == 0, EMPTY_SLOT, 1.0) * known
    losses = F.cross_entropy(logits, torch.where(known, classes, 0), reduction="none")
    return (losses * share).sum() / share.sum().clamp(min=1)
