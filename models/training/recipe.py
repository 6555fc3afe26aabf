"""Everything that decides what comes out of a training."""

from __future__ import annotations

from dataclasses import dataclass, field

from .optimizer import Hyperparameters
from .packing import Layout


@dataclass(frozen=True)
class Recipe:
    """Of one run. The same recipe sees the same samples in the same order on any number of GPUs."""

    seed: int = 0
    steps: int = 53_030
    parts: int = 4
    """Batches of one step. The GPUs that there are share them."""

    reuse: int = 2
    """How often a batch is used."""

    vision_layers: int = 8
    text_layers: int = 4
    width: int = 256
    gated_width: int = 704
    """Of the text part's feed-forward."""

    optimizer: Hyperparameters = field(
        default_factory=lambda: Hyperparameters(
            muon_rate=3e-3, adam_rate=3e-3, weight_decay=0.05, momentum=0.95
        )
    )
    warm_up: int = 300
    character_weight: float = 1.0
    """Of the auxiliary loss, to begin with; it falls as the learning rate does."""

    layout: Layout = field(
        default_factory=lambda: Layout(tokens=6_144, pictures=6_656, clips=1_792, sequences=192, pieces=288)
    )
    held_out_batches: int = 12


SMALL = Recipe(
    steps=3,
    parts=2,
    vision_layers=1,
    text_layers=1,
    warm_up=2,
    layout=Layout(tokens=1_024, pictures=1_280, clips=448, sequences=32, pieces=64),
    held_out_batches=1,
)
"""Shows on any processor that everything works together. It learns nothing."""
