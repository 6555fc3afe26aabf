"""The weights of Glm4vVisionModel, as the batched tower multiplies by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Linear(NamedTuple):
    """`weight` is (out, in)."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class Block:
    norm1: Tensor
    qkv: Linear
    output: Tensor
    """Transposed, (in, out), as `addmm` takes it."""
    norm2: Tensor
    gate_up: Tensor
    down: Tensor
    """Transposed, (in, out)."""


@dataclass(frozen=True, slots=True)
class VisionWeights:
    patch_embed: Linear
    post_conv_norm: Tensor
    blocks: list[Block]
    post_norm: Tensor
    downsample: Linear
    """Over the patches of a token, one after another."""
    merger: nn.Module


def take_apart(visual: Any) -> VisionWeights:
    """
    Those of `visual`, a Glm4vVisionModel. Merged and reordered weights replace its own, which become views of
    them: everything exists once, and `visual` still computes what it did.
    """
    patch_embed: nn.Conv3d = visual.patch_embed.proj
    return VisionWeights(
        patch_embed=Linear(patch_embed.weight.detach().flatten(1), _bias(patch_embed)),
        post_conv_norm=visual.post_conv_layernorm.weight.detach(),
        blocks=[_block(block) for block in visual.blocks],
        post_norm=visual.post_layernorm.weight.detach(),
        downsample=_downsample(visual.downsample),
        merger=visual.merger,
    )


def _block(block: Any) -> Block:
    attention, mlp = block.attn, block.mlp
    return Block(
        norm1=block.norm1.weight.detach(),
        qkv=Linear(attention.qkv.weight.detach(), _bias(attention.qkv)),
        output=attention.proj.weight.detach().t(),
        norm2=block.norm2.weight.detach(),
        gate_up=_merge(mlp.gate_proj, mlp.up_proj),
        down=mlp.down_proj.weight.detach().t(),
    )


def _merge(gate: nn.Linear, up: nn.Linear) -> Tensor:
    merged = torch.cat((gate.weight.detach(), up.weight.detach()))
    for module, part in zip((gate, up), merged.chunk(2), strict=True):
        module.weight = nn.Parameter(part, requires_grad=False)
    return merged


def _downsample(convolution: nn.Conv2d) -> Linear:
    """Its windows do not overlap, so it is a linear of the numbers of one window, channels last."""
    rows_first = convolution.weight.detach().permute(0, 2, 3, 1).contiguous()
    convolution.weight = nn.Parameter(rows_first.permute(0, 3, 1, 2), requires_grad=False)
    return Linear(rows_first.flatten(1), _bias(convolution))


def _bias(module: nn.Linear | nn.Conv2d | nn.Conv3d) -> Tensor | None:
    return None if module.bias is None else module.bias.detach()
