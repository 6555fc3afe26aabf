"""How much of the device's memory the caches take."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from ...device import is_out_of_memory
from ...failure import WorkerFailure
from .decoder import Decoder
from .ops import LayerCache

GPU_SHARE = 0.9
"""Of what is free after the weights; the rest is for the intermediate results of a step."""
CPU_SHARE = 0.25
"""Of what is free; the machine has other programs to run."""
FEATURES_SHARE = 0.05
MOST_FEATURES = 2 * 1024**3
"""Bytes; about 450 pictures of 576 tokens at the sizes of GLM-4.1V-9B."""
FEWEST_TOKENS = 256
MEMINFO = Path("/proc/meminfo")
"""Linux has it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many pages of keys and values there are, and how many bytes of features are kept."""

    pages: int
    feature_bytes: int


def plan_memory(decoder: Decoder, *, page_size: int, asked: int | None, free: int, most_tokens: int) -> Plan:
    """
    `asked` bytes for keys and values, or a share of the `free` ones, which is never more than `most_tokens`
    need. Raises INVALID_REQUEST for what is too little to be of use, GPU_OUT_OF_MEMORY for what is not there.
    """
    per_token = 2 * decoder.layers * decoder.kv_heads * decoder.head_dim * decoder.dtype.itemsize
    on_gpu = decoder.device.type != "cpu"
    features = min(int(free * FEATURES_SHARE), MOST_FEATURES)
    if asked is None:
        share = int(free * (GPU_SHARE if on_gpu else CPU_SHARE)) - features
        pages = min(share // (per_token * page_size), -(-most_tokens // page_size))
        given, source = share, "what is left"
    else:
        pages = asked // (per_token * page_size)
        given, source = asked, "kvCacheMemoryBytes"
        if asked > free - features:
            raise WorkerFailure(
                "GPU_OUT_OF_MEMORY",
                f"kvCacheMemoryBytes: expected at most {free - features}, which is what is free beside the "
                f"weights, got {asked}",
                hint="Ask for less, leave the option out, or end other programs on the device.",
            )
    if pages * page_size < FEWEST_TOKENS:
        raise WorkerFailure(
            "GPU_OUT_OF_MEMORY" if asked is None else "INVALID_REQUEST",
            f"{source}: expected at least {per_token * FEWEST_TOKENS} bytes for the keys and values of "
            f"{FEWEST_TOKENS} tokens, got {given}",
            hint="Ask for more, or end other programs on the device.",
        )
    return Plan(pages, features)


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated now."""
    if device.type == "cpu":
        return _free_of_the_machine()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return free


def _free_of_the_machine() -> int:
    """What only caches files is free; else a checkpoint that has just been read would seem to fill it."""
    if MEMINFO.is_file():
        match = re.search(r"^MemAvailable: +(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
        if match is not None:
            return 1024 * int(match[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def allocate_caches(decoder: Decoder, pages: int, page_size: int) -> list[LayerCache]:
    """A cache for each layer. Raises GPU_OUT_OF_MEMORY when somebody else has taken the memory meanwhile."""
    shape = (pages, decoder.kv_heads, page_size, decoder.head_dim)
    try:
        # Zeroed: what a page held before is multiplied by 0 beyond a sequence's end, and 0 × NaN is not 0.
        return [
            LayerCache(
                keys=torch.zeros(shape, dtype=decoder.dtype, device=decoder.device),
                values=torch.zeros(shape, dtype=decoder.dtype, device=decoder.device),
            )
            for _ in range(decoder.layers)
        ]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise WorkerFailure(
            "GPU_OUT_OF_MEMORY",
            f"the KV cache of {pages * page_size} tokens does not fit into the memory of {decoder.device}",
            hint="Set kvCacheMemoryBytes lower, or end other programs on the device.",
        ) from error
