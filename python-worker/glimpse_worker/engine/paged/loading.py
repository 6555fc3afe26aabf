"""Loading of the `paged` engine."""

from __future__ import annotations

import gc
from pathlib import Path

from ...protocol import PagedEngine as Choice
from ...protocol import Progress, Start
from ..interface import Emit, Engine
from ..opening import open_model


def load_paged(start: Start, choice: Choice, progress: Progress, emit: Emit) -> Engine:
    """
    The engine, ready. `progress` is called after that too, from the engine's thread, for `graphs`.

    Raises what `open_model` raises, MODEL_UNSUPPORTED too for what only the reference engine can do, and
    INVALID_REQUEST or GPU_OUT_OF_MEMORY for a KV cache that is too small or too large.
    """
    opened = open_model(start, progress, _check)
    from .assembly import assemble

    engine = assemble(opened, choice.kv_cache_memory_bytes, progress, emit)
    keep_what_is_there()
    return engine


def keep_what_is_there() -> None:
    """
    Takes what was imported and loaded from the garbage collector's sight. It is there until the process ends,
    and to go through it makes every request wait: a fifth of a second now and then.
    """
    gc.collect()
    gc.freeze()


def _check(directory: Path) -> None:
    from ...sampling import check_paged_generation_config
    from .support import check_supported

    check_paged_generation_config(directory)
    check_supported(directory)
