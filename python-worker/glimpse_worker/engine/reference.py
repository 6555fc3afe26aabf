"""Loading of the `reference` engine."""

from __future__ import annotations

from ..protocol import Progress, Start
from .interface import Emit, Engine
from .opening import open_model


def load_reference(start: Start, progress: Progress, emit: Emit) -> Engine:
    """The engine, ready. Raises what `open_model` raises."""
    opened = open_model(start, progress, lambda _: None)
    from .reference_engine import ReferenceEngine

    return ReferenceEngine(opened, emit)
