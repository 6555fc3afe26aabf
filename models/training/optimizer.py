"""Muon for matrices, Adam for everything else, and how fast they learn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_FULL_RATE = 0.1
"""Up to this part of the steps the rate stays, then it falls in a line."""

_LAST_RATE = 0.01
_STACKED = {"qkv": 3, "gate_up_proj": 2}
"""Parameters that are several matrices one upon another."""

_BY_ADAM = ("embed", "lm_head", "characters")
"""Tables and heads: matrices whose rows have nothing to do with each other."""

_ADAM_BETAS = (0.9, 0.98)
_ADAM_EPSILON = 1e-10


def decay(step: int, steps: int) -> float:
    """1 down to 0.01."""
    return min(1.0, max(_LAST_RATE, (1 - step / steps) / (1 - _FULL_RATE)))


def learning_rate(step: int, steps: int, warm_up: int = 300) -> float:
    """Of step 0, 1, ... of `steps`, as a part of the highest."""
    return min(1.0, (step + 1) / warm_up) * decay(step, steps)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    muon_rate: float
    adam_rate: float
    weight_decay: float
    """Of matrices only."""
    momentum: float


@dataclass(frozen=True, slots=True)
class _Matrix:
    """One of the matrices of a parameter: `part` of `parts`."""

    name: str
    part: int
    parts: int

    def of(self, tensor: Tensor) -> Tensor:
        """(rows, columns), the inputs of a kernel flattened."""
        return tensor.reshape(len(tensor), -1).chunk(self.parts)[self.part]


class Optimizer:
    """
    Changes `parameters` in place. Everything it keeps are tensors on their device, so that a CUDA graph may
    hold a step; `rate` is what `learning_rate` says, and is set before each step.
    """

    def __init__(self, parameters: Mapping[str, Tensor], hyperparameters: Hyperparameters) -> None:
        self._parameters = {name: parameter.detach() for name, parameter in parameters.items()}
        self._settings = hyperparameters
        device = next(iter(self._parameters.values())).device
        self.rate = torch.zeros((), device=device)
        self._steps = torch.zeros((), device=device)
        self._matrices: dict[tuple[int, int], list[_Matrix]] = {}
        self._by_adam: list[str] = []
        for name, parameter in self._parameters.items():
            self._assign(name, parameter)
        # Half the memory of a saved state; what is added is never much smaller than what is there.
        self._momentum = {
            shape: torch.zeros(len(matrices), *shape, dtype=torch.bfloat16, device=device)
            for shape, matrices in self._matrices.items()
        }
        self._means = [torch.zeros_like(self._parameters[name]) for name in self._by_adam]
        self._squares = [torch.zeros_like(self._parameters[name]) for name in self._by_adam]

    def _assign(self, name: str, parameter: Tensor) -> None:
        if parameter.dim() < 2 or any(part in name for part in _BY_ADAM):
            self._by_adam.append(name)
            return
        parts = next((parts for module, parts in _STACKED.items() if f".{module}." in name), 1)
        shape = (len(parameter) // parts, parameter[0].numel())
        group = self._matrices.setdefault(shape, [])
        group.extend(_Matrix(name, part, parts) for part in range(parts))

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        for shape, matrices in self._matrices.items():
            self._step_by_muon(shape, matrices, gradients)
        self._step_by_adam([gradients[name].float() for name in self._by_adam])

    def _step_by_muon(
        self, shape: tuple[int, int], matrices: list[_Matrix], gradients: Mapping[str, Tensor]
    ) -> None:
        settings = self._settings
        stack = torch.stack([matrix.of(gradients[matrix.name]) for matrix in matrices]).bfloat16()
        momentum = self._momentum[shape].lerp_(stack, 1 - settings.momentum)
        rate = self.rate * settings.muon_rate
        update = _orthogonalized(stack.lerp(momentum, settings.momentum)) * (
            rate * 0.2 * math.sqrt(max(shape))
        )
        targets = [matrix.of(self._parameters[matrix.name]) for matrix in matrices]
        torch._foreach_mul_(targets, 1 - rate * settings.weight_decay)
        torch._foreach_sub_(targets, list(update.unbind()))

    def _step_by_adam(self, gradients: list[Tensor]) -> None:
        mean_beta, square_beta = _ADAM_BETAS
        self._steps.add_(1)
        torch._foreach_lerp_(self._means, gradients, 1 - mean_beta)
        torch._foreach_mul_(self._squares, square_beta)
        torch._foreach_addcmul_(self._squares, gradients, gradients, 1 - square_beta)
        size = torch._foreach_sqrt(self._squares)
        torch._foreach_div_(size, (1 - square_beta**self._steps).sqrt())
        torch._foreach_add_(size, _ADAM_EPSILON)
        update = torch._foreach_div(self._means, size)
        torch._foreach_mul_(update, self.rate * self._settings.adam_rate / (1 - mean_beta**self._steps))
        torch._foreach_sub_([self._parameters[name] for name in self._by_adam], update)

    def state(self) -> dict[str, Tensor]:
        """What it keeps between steps, under names; the tensors themselves."""
        kept = {"adam.steps": self._steps}
        for (rows, columns), momentum in self._momentum.items():
            kept[f"muon.{rows}x{columns}"] = momentum
        for name, mean, square in zip(self._by_adam, self._means, self._squares, strict=True):
            kept[f"adam.mean.{name}"] = mean
            kept[f"adam.square.{name}"] = square
        return kept

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Of `state()`, in place."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def _orthogonalized(stack: Tensor) -> Tensor:
    """(matrices, rows, columns) in float32: five Newton-Schulz steps, in bfloat16 where that is fast."""
    x: Tensor = stack if stack.is_cuda else stack.float()
    is_tall = x.shape[1] > x.shape[2]
    if is_tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.775 * square + 2.0315 * (square @ square)) @ x
    return (x.mT if is_tall else x).float()
