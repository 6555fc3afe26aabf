"""
Every kernel of the paged engine alone on one GPU, at the shapes of GLM-4.1V-9B, and ways to launch it:

    PYTHONPATH=python-worker:test/gpu python -m bench.kernels [--only linears,decode] [--json FILE]

With TRITON_INTERPRET=1 the same on the CPU, with small numbers, to try the script out.

A section that fails is reported and the next goes on; one that hangs or breaks the device costs a new
process.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from .operations import attention, layer, linears, small
from .operations.bench import Bench, shown
from .report import Report, Row, read, table, write
from .timing import settle

HUNG_S = 120
"""A section that takes longer is given up."""

Section = Callable[[Bench], list[Row]]


def _ceilings(bench: Bench) -> list[Row]:
    return [shown(row) for row in bench.ceilings.rows]


SECTIONS: dict[str, Section] = {
    "ceilings": _ceilings,
    "compile": linears.compile_all,
    "exact": linears.exact,
    "linears": linears.linears,
    "layers": layer.layers,
    "small": small.small,
    "sampler": small.sampler,
    "decode": attention.decode,
    "prefill": attention.prefill,
}


def main() -> None:
    options = _options()
    if options.here:
        _measure(options.only, options.json)
        return
    document = read(options.json)
    kept = {name: section for name, section in document["sections"].items() if name not in options.only}
    write(options.json, document | {"sections": kept})
    left: list[str] = options.only
    while left:
        command = [sys.executable, "-m", "bench.kernels", "--here", "--json", str(options.json)]
        code = subprocess.call([*command, "--only", ",".join(left)])
        begun = read(options.json)["sections"]
        if left[0] not in begun:
            # A process that cannot even begin will not do better the next time.
            sys.exit(code or 1)
        left = [name for name in left if name not in begun]
    print(f"\n{table(read(options.json))}\nwritten to {options.json}")
    sys.exit(any(begun[name]["status"] != "done" for name in options.only))


def _measure(names: Sequence[str], path: Path) -> None:
    """The sections, until one breaks the device or hangs; the others are for a new process then."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    device = torch.device("cpu") if interpreted else torch.device("cuda", 0)
    report = Report(path, device, "kernels")
    bench = Bench(device)
    # Every capture of a graph collects garbage: there is none among all that has been imported.
    gc.freeze()
    with torch.inference_mode():
        for name in names:
            print(f"--- {name}", flush=True)
            report.put(name, "running")
            faulthandler.dump_traceback_later(HUNG_S, exit=True)
            started = time.perf_counter()
            try:
                rows = SECTIONS[name](bench)
            except Exception:
                error = traceback.format_exc()
                print(error, flush=True)
                report.put(name, "failed", error=error)
                settle(device)
            else:
                report.put(name, "done", rows, seconds=time.perf_counter() - started)
                print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
            faulthandler.cancel_dump_traceback_later()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.kernels")
    parser.add_argument("--only", type=_names, default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir(), "glimpse-kernels.json"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _names(value: str) -> list[str]:
    names = value.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(
            f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}"
        )
    return [name for name in SECTIONS if name in names]


if __name__ == "__main__":
    main()
