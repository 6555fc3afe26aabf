"""Where the thread of an engine spends its time."""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from collections.abc import Sequence

from .client import Asked, Client

LINES = 28


def profiled(client: Client, batch: Sequence[Asked]) -> str:
    """
    The functions of the engine's thread while `batch` runs, by the time spent in them with and without what
    they call. Python's profiler slows Python down and nothing else: what it says of C++ is too little, by
    comparison.
    """
    # Other programs on the machine do not count.
    profile = cProfile.Profile(time.thread_time)
    running = False

    def switch_on() -> None:
        # The profiler watches the thread that enables it.
        nonlocal running
        if not running:
            running = True
            profile.enable()

    client.on_step = switch_on
    try:
        client.run(batch)
        steps = len(client.steps)
    finally:
        client.on_step = profile.disable
        client.run(batch[:1])
        client.on_step = lambda: None
    text = io.StringIO()
    stats = pstats.Stats(profile, stream=text).strip_dirs()
    for order in ("cumulative", "tottime"):
        stats.sort_stats(order).print_stats(LINES)
    return f"{steps} steps\n{text.getvalue()}"
