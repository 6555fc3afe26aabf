"""What a worker is told first. Imports nothing heavy, as little as the worker at that time."""

from __future__ import annotations

from pathlib import Path

from glimpse_worker.protocol import PagedEngine, Start


def start_line(directory: Path, device: str = "cpu") -> Start:
    """What the worker is told at its start, of which the engines read the model's part only."""
    return Start(
        protocol=0,
        generation=0,
        token="",
        control="",
        data="",
        parent_pid=1,
        model=str(directory),
        device=device,
        dtype="auto",
        engine=PagedEngine(),
        heartbeat_ms=1000,
    )
