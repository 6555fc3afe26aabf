"""The text layers of Glm4v over packed tokens, with keys and values in pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from .ops import LayerCache, Ops

Attend = Callable[[Tensor, LayerCache], Tensor]
"""Rotated queries (tokens, heads, head_dim) and a layer's cache → (tokens, heads * head_dim)."""


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: Tensor
    qkv_bias: Tensor
    output: Tensor
    post_attention: Tensor
    """Named after what it is: the norm of attention's output (transformers: post_self_attn_layernorm)."""
    pre_mlp: Tensor
    """transformers: post_attention_layernorm."""
    gate_up: Tensor
    down: Tensor
    post_mlp: Tensor
    next_input: Tensor
    """The norm before the next layer, or before lm_head."""


class Decoder:
    """
    Glm4vTextModel and lm_head. The weights are those of `model`, whose layers are taken apart: the query, key
    and value projections become one, and are empty in `model` afterwards.
    """

    def __init__(self, model: Any, ops: Ops) -> None:
        text = model.model.language_model
        config = text.config
        self._ops = ops
        self._embedding: Tensor = text.embed_tokens.weight
        self._head: Tensor = model.lm_head.weight
        self._eps = float(config.rms_norm_eps)
        self._first_norm: Tensor = text.layers[0].input_layernorm.weight
        self._layers = _take_apart(text)
        self._rotary = _Rotary(text.rotary_emb)
        self.heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads)
        self.head_dim = int(config.hidden_size) // self.heads
        self.layers = len(self._layers)
        self.hidden_size = int(config.hidden_size)
        self.vocabulary = self._head.shape[0]

    @property
    def device(self) -> torch.device:
        return self._head.device

    @property
    def dtype(self) -> torch.dtype:
        return self._head.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """(tokens, hidden) of ids (tokens,)."""
        return embedding(ids, self._embedding)

    def forward(
        self, hidden: Tensor, positions: Tensor, slots: Tensor, caches: list[LayerCache], attend: Attend
    ) -> Tensor:
        """
        The normalised output (tokens, hidden) of embeddings `hidden`, which are overwritten.

        `positions` are (3, tokens), or (tokens,) where the three are equal; `slots` (tokens,) say where each
        token's key and value go in each layer's cache, -1 for nowhere.
        """
        ops, eps = self._ops, self._eps
        cos, sin = self._rotary.table(positions)
        x = ops.rms_norm(hidden, self._first_norm, eps)
        for layer, cache in zip(self._layers, caches, strict=True):
            qkv = ops.linear(x, layer.qkv, layer.qkv_bias)
            q = ops.rotate_and_store(qkv, cos, sin, cache, slots, self.heads)
            attended = ops.linear(attend(q, cache), layer.output)
            x = ops.add_rms_norm(hidden, attended, layer.post_attention, layer.pre_mlp, eps)
            x = ops.linear(ops.gated(x, layer.gate_up), layer.down)
            x = ops.add_rms_norm(hidden, x, layer.post_mlp, layer.next_input, eps)
        return x

    def logits(self, output: Tensor) -> Tensor:
        """(tokens, vocabulary) of the output of `forward`."""
        return self._ops.linear(output, self._head)


class _Rotary:
    """cos and sin of M-RoPE angles: each frequency turns with time, height or width, by its section."""

    def __init__(self, rotary: Any) -> None:
        self._frequencies: Tensor = rotary.inv_freq.float()
        self._scaling = float(rotary.attention_scaling)
        axes = [index % 3 for index, size in enumerate(rotary.mrope_section) for _ in range(size)]
        self._axes = torch.tensor(axes, device=self._frequencies.device)

    def table(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin, float32 (tokens, frequencies)."""
        turning = positions[self._axes].T.contiguous() if positions.dim() == 2 else positions[:, None]
        angles = turning.float() * self._frequencies
        return angles.cos() * self._scaling, angles.sin() * self._scaling


def _take_apart(text: Any) -> list[_Layer]:
    norms = [layer.input_layernorm.weight for layer in text.layers[1:]] + [text.norm.weight]
    return [_layer(layer, norm) for layer, norm in zip(text.layers, norms, strict=True)]


def _layer(layer: Any, next_input: Tensor) -> _Layer:
    attention = layer.self_attn
    projections: list[nn.Linear] = [attention.q_proj, attention.k_proj, attention.v_proj]
    merged = _Layer(
        qkv=torch.cat([projection.weight for projection in projections]),
        qkv_bias=torch.cat([projection.bias for projection in projections]),
        output=attention.o_proj.weight,
        post_attention=layer.post_self_attn_layernorm.weight,
        pre_mlp=layer.post_attention_layernorm.weight,
        gate_up=layer.mlp.gate_up_proj.weight,
        down=layer.mlp.down_proj.weight,
        post_mlp=layer.post_mlp_layernorm.weight,
        next_input=next_input,
    )
    for projection in projections:
        # Not kept twice: merged, they are a few per cent of the weights.
        projection.weight = nn.Parameter(projection.weight.new_empty(0), requires_grad=False)
    return merged
