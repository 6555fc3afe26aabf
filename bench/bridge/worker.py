"""
The worker's own process, with an engine of the bench in it: everything but `load_engine` is the shipped code.
The start line's `model` names the engine.
"""

from __future__ import annotations

from unittest.mock import patch

from glimpse_worker import __main__ as command
from glimpse_worker import worker
from glimpse_worker.engine.interface import Emit, Engine
from glimpse_worker.protocol import Progress, Start


def load_engine(start: Start, progress: Progress, emit: Emit) -> Engine:
    match start.model:
        case "stamping":
            from .stamping import Stamping

            return Stamping(start, emit)
        case "embedded" | "9b":
            progress("import", None, None)
            from .endless import load_endless

            return load_endless(start, progress, emit)
        case unknown:
            raise ValueError(f"the bench has no engine {unknown!r}")


if __name__ == "__main__":
    with patch.object(worker, "load_engine", load_engine):
        command.main()
