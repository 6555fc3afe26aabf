"""Loading of the `reference` engine."""

from __future__ import annotations

from ..failure import WorkerFailure
from ..protocol import Progress, Start
from ..protocol import ReferenceEngine as Choice
from .interface import Emit, Engine
from .opening import open_model


def load_reference(start: Start, choice: Choice, progress: Progress, emit: Emit) -> Engine:
    """
    The engine, ready. Raises what `open_model` raises, and INVALID_REQUEST for one device beside a map for
    all of them.
    """
    spread = choice.device_map is not None
    if spread and start.device not in ("auto", "cuda"):
        raise WorkerFailure(
            "INVALID_REQUEST",
            "deviceMap: it spreads the model over all devices, so device has to be auto or cuda, "
            f"got {start.device!r}",
            hint="Leave out deviceMap to use one device; CUDA_VISIBLE_DEVICES tells which GPUs are seen.",
        )
    opened = open_model(start, progress, lambda _: None, spread=spread)
    from .reference_engine import ReferenceEngine

    return ReferenceEngine(opened, emit)
