"""Weights are read while the worker still imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from glimpse_worker.read_ahead import BLOCK_BYTES, read_ahead


def test_weights_are_read_to_their_end_without_being_asked_for(tmp_path: Path) -> None:
    pipes = [tmp_path / f"model-0000{index}-of-00002.safetensors" for index in (1, 2)]
    for pipe in pipes:
        os.mkfifo(pipe)
    thread = read_ahead(tmp_path)
    for pipe in pipes:
        # A pipe takes this only as fast as it is read.
        assert pipe.write_bytes(bytes(BLOCK_BYTES + 1)) == BLOCK_BYTES + 1
    thread.join()


def test_weights_that_cannot_be_read_are_left_to_whoever_loads_them(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "nowhere")
    read_ahead(tmp_path).join()
    read_ahead(tmp_path / "neither").join()
