"""One step of the training, and everything that steps change."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from .export import configuration, new_model
from .forward import Forward, Weights, initialize, new_characters_head
from .gradients import Gradients
from .optimizer import Optimizer, decay, learning_rate
from .packing import Tensors
from .recipe import Recipe
from .world import ALONE, World

Log = Callable[[str], None]


class Trainer:
    """The model and one step of its training, over this process' share of parts, which lie in `batches`."""

    def __init__(self, recipe: Recipe, device: torch.device, world: World = ALONE) -> None:
        self.recipe = recipe
        self.device = device
        self._world = world
        torch.manual_seed(recipe.seed)
        config = configuration(
            vision_layers=recipe.vision_layers,
            text_layers=recipe.text_layers,
            width=recipe.width,
            gated_width=recipe.gated_width,
        )
        self.model = new_model(config)
        initialize(self.model)
        module: torch.nn.Module = self.model
        module.to(device)
        self._parameters = {
            **dict(self.model.named_parameters()),
            **new_characters_head(recipe.width, device),
        }
        on_gpu = device.type == "cuda"
        self._weights = Weights(self._parameters, torch.bfloat16 if on_gpu else torch.float32)
        self._forward = Forward(self.model, self._weights, device, compiled=on_gpu)
        # Figures are wanted a few times only: not worth a compilation.
        self._plain_forward = Forward(self.model, self._weights, device, compiled=False)
        self._gradients = Gradients(self._parameters)
        self._optimizer = Optimizer(self._parameters, recipe.optimizer)
        share = len(world.share(recipe.parts))
        self.batches = torch.zeros(share, recipe.layout.size, dtype=torch.uint8, device=device)
        self._fields = [recipe.layout.tensors(batch) for batch in self.batches]
        self._character_weight = torch.zeros((), device=device)
        self.answer_loss = torch.zeros((), device=device)
        self.character_loss = torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None

    def step(self, number: int) -> None:
        """Step `number`, which the schedule goes by."""
        recipe = self.recipe
        self._optimizer.rate.fill_(learning_rate(number, recipe.steps, recipe.warm_up))
        self._character_weight.fill_(recipe.character_weight * decay(number, recipe.steps))
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def _step(self) -> None:
        self.answer_loss.zero_()
        self.character_loss.zero_()
        for number, fields in enumerate(self._fields):
            gradients = self._part(fields)
            if number == 0:
                self._gradients.set(gradients)
            else:
                self._gradients.add(gradients)
        self._world.add_up(self._gradients.flat)
        self._optimizer.step(self._gradients.by_name)
        self._weights.refresh()

    def _part(self, fields: Tensors) -> dict[str, Tensor]:
        """The part's gradients of the mean of all parts' losses."""
        outputs = self._forward(fields)
        labels = fields["labels"]
        trained = (labels >= 0).sum().clamp(min=1)
        answer_loss = self._forward.answer_losses(outputs.logits, labels).sum() / trained
        character_loss = self._forward.character_loss(
            outputs.features,
            fields["characters"],
            self._weights["characters.weight"],
            self._weights["characters.bias"],
        )
        self.answer_loss += answer_loss.detach() / len(self._fields)
        self.character_loss += character_loss.detach() / len(self._fields)
        loss = (answer_loss + character_loss * self._character_weight) / self.recipe.parts
        return self._weights.gradients(loss)

    def capture(self, batch: Tensor, *, profile: bool, log: Log) -> None:
        """
        Compiles a step and records it as one CUDA graph, which is timed over `batch`. The state is afterwards
        what it was before.
        """
        before = {name: tensor.clone() for name, tensor in self.state().items()}
        self.batches.copy_(batch.expand_as(self.batches))
        warm_up = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(warm_up)
        torch.cuda.synchronize()
        log("compiled")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._step()
        self._graph = graph
        self._time(20, log)
        if profile:
            _print_profile(graph)
        self.load(before)

    def release(self) -> None:
        """No step comes any more. Processes cannot part while a graph holds what connects them."""
        self._graph = None

    def _time(self, replays: int, log: Log) -> None:
        assert self._graph is not None
        torch.cuda.synchronize()
        began = time.monotonic()
        for _ in range(replays):
            self._graph.replay()
        torch.cuda.synchronize()
        milliseconds = (time.monotonic() - began) / replays * 1000
        memory = torch.cuda.max_memory_allocated() / 2**30
        log(f"captured: {milliseconds:.2f} ms a step, {memory:.1f} GiB of device memory")

    def state(self) -> dict[str, Tensor]:
        """Everything that steps change."""
        weights = {f"weights.{name}": parameter.detach() for name, parameter in self._parameters.items()}
        return {**weights, **self._optimizer.state()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Of `state()`."""
        for name, parameter in self._parameters.items():
            parameter.copy_(state[f"weights.{name}"])
        self._optimizer.load(state)
        self._weights.refresh()

    @torch.no_grad()
    def load_checkpoint(self, directory: Path) -> None:
        """The model's weights; the head of the auxiliary loss is not in a checkpoint and begins anew."""
        weights = load_file(directory / "model.safetensors")
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
        self._weights.refresh()

    @torch.no_grad()
    def spread(self) -> float:
        """By how much a weight of another process differs at most from the first one's."""
        return max(self._world.spread(parameter) for parameter in self._parameters.values())

    @torch.no_grad()
    def round(self) -> None:
        """The weights become what the checkpoint holds of them."""
        for parameter in self._parameters.values():
            parameter.copy_(parameter.bfloat16())
        self._weights.refresh()

    @torch.no_grad()
    def predictions(self, flat: Tensor) -> NDArray[np.int64]:
        """(tokens,): the likeliest next id at every token of a batch."""
        outputs = self._plain_forward(self.recipe.layout.tensors(flat.to(self.device)))
        predicted: NDArray[np.int64] = outputs.logits.argmax(-1).cpu().numpy()
        return predicted


def _print_profile(graph: torch.cuda.CUDAGraph) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(3):
            graph.replay()
        torch.cuda.synchronize()
    averages = profile.key_averages()
    print(averages.table(sort_by="cuda_time_total", row_limit=40, max_name_column_width=90))
