"""The gradients of one step: summed over its parts, and over the processes that compute them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Gradients:
    """
    In float32. `by_name` are views of `flat`, so that the processes add up all of them in one go.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        sizes = [parameter.numel() for parameter in parameters.values()]
        self.flat = torch.zeros(sum(sizes), device=next(iter(parameters.values())).device)
        pieces = torch.split(self.flat, sizes)
        self.by_name: dict[str, Tensor] = {
            name: piece.view(parameter.shape)
            for (name, parameter), piece in zip(parameters.items(), pieces, strict=True)
        }

    @torch.no_grad()
    def set(self, gradients: Mapping[str, Tensor]) -> None:
        """The first part of a step."""
        torch._foreach_copy_(list(self.by_name.values()), [gradients[name] for name in self.by_name])

    @torch.no_grad()
    def add(self, gradients: Mapping[str, Tensor]) -> None:
        """Another part of it."""
        added = [gradients[name].float() for name in self.by_name]
        torch._foreach_add_(list(self.by_name.values()), added)
