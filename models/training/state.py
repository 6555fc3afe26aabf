"""What a training leaves between two calls."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from .trainer import Trainer


def save_state(trainer: Trainer, step: int, file: Path) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in trainer.state().items()}
    save_file(tensors, file, metadata={"step": str(step), "recipe": json.dumps(asdict(trainer.recipe))})


def load_state(trainer: Trainer, file: Path) -> None:
    """Raises ValueError for the state of another recipe."""
    with safe_open(file, framework="pt") as opened:
        saved = json.loads(opened.metadata()["recipe"])
        own = json.loads(json.dumps(asdict(trainer.recipe)))
        if saved != own:
            differing = [
                f"{key}: {saved.get(key)}, now {own[key]}" for key in own if saved.get(key) != own[key]
            ]
            raise ValueError(f"{file} is of another recipe; go on with the same one ({'; '.join(differing)})")
        trainer.load({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118


def steps_done(file: Path) -> int:
    """How many steps led to a state."""
    with safe_open(file, framework="pt") as opened:
        return int(opened.metadata()["step"])
