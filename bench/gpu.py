"""
The table of figures of one GPU, with random weights in the shapes of GLM-4.1V-9B:

    PYTHONPATH=python-worker:test/gpu python -m bench.gpu [--only decode,vision] [--json FILE]

With `--model-shape embedded` the same on the CPU, with a small model and small numbers, to try the script.

The sections run in a process of their own, one after another. One that fails is reported and the next goes
on; one that hangs or takes the process down costs a new process, and nothing that was measured before.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from glimpse_worker.worker import SWITCH_INTERVAL_S

from .course import Course, device_of, sizes_of
from .models import Shape
from .report import Report, Row, read, table, write
from .sections import baselines, loading, pictures, profile, text, traffic

HUNG_S = 300
"""A section that takes longer is given up."""
HUNG = 3

Section = Callable[[Course], list[Row]]


def _ceilings(course: Course) -> list[Row]:
    return list(course.ceilings.rows)


SECTIONS: dict[str, Section] = {
    "ceilings": _ceilings,
    # Those with transformers' own model, which leaves the device for the engine's.
    "loading": loading.loading,
    "eager": baselines.eager,
    "requests": baselines.requests,
    "static": baselines.static,
    "vision": pictures.vision,
    # Those with the engine.
    "decode": text.decode,
    "long": text.long,
    "prefill": text.prefill,
    "first": pictures.first,
    "together": traffic.together,
    "arriving": traffic.arriving,
    "captions": traffic.captions,
    "profile": lambda course: profile.profile(course, course.report.path.with_suffix(".profile.txt")),
}


def main() -> None:
    options = _options()
    if options.here:
        _run(options)
        return
    _forget(options.json, options.only)
    left: list[str] = options.only
    while left:
        code = subprocess.call([*_again(options), "--only", ",".join(left)])
        begun = read(options.json)["sections"]
        if left[0] not in begun:
            # A process that cannot even begin will not do better the next time.
            sys.exit(code or 1)
        left = [name for name in left if name not in begun]
    print(f"\n{table(read(options.json))}\nwritten to {options.json}")
    sys.exit(any(begun[name]["status"] != "done" for name in options.only))


def _forget(path: Path, names: Sequence[str]) -> None:
    """Earlier results of the sections: what is there of them afterwards is new."""
    document = read(path)
    kept = {name: section for name, section in document["sections"].items() if name not in names}
    write(path, document | {"sections": kept})


def _again(options: argparse.Namespace) -> list[str]:
    """The command line of the process that measures."""
    command = [sys.executable, "-m", "bench.gpu", "--here", "--json", str(options.json)]
    command += ["--model-shape", options.model_shape]
    return command + (["--token-budget", str(options.token_budget)] if options.token_budget else [])


def _run(options: argparse.Namespace) -> None:
    """The sections, until one leaves the process in a state that would only make the others fail."""
    faulthandler.enable()
    # As in the worker's process.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    shape: Shape = options.model_shape
    sizes = sizes_of(shape, options.token_budget)
    report = Report(options.json, device_of(shape), shape, token_budget=sizes.token_budget)
    course = Course(shape, sizes, report)
    for name in options.only:
        print(f"--- {name}", flush=True)
        course.report.put(name, "running")
        watchdog = threading.Timer(HUNG_S, _give_up)
        watchdog.start()
        started = time.perf_counter()
        try:
            rows = SECTIONS[name](course)
        except Exception:
            error = traceback.format_exc()
            print(error, flush=True)
            course.report.put(name, "failed", error=error)
            course.check()
        else:
            course.report.put(name, "done", rows, seconds=time.perf_counter() - started)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        finally:
            watchdog.cancel()


def _give_up() -> None:
    faulthandler.dump_traceback()
    os._exit(HUNG)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu")
    parser.add_argument("--only", type=_names, default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--model-shape", choices=("9b", "embedded"), default="9b")
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir(), "glimpse-bench-gpu.json"))
    parser.add_argument("--token-budget", type=int, help="of a step, instead of the shipped engine's")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _names(value: str) -> list[str]:
    names = value.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(SECTIONS)}, got {', '.join(unknown)}")
    # Every run is held against its own ceilings.
    return [name for name in SECTIONS if name in names or name == "ceilings"]


if __name__ == "__main__":
    main()
