"""From a checkpoint on the disk to the first token, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from make_checkpoint import write_small_files

from ..course import Course
from ..models import EMBEDDED
from ..report import Row

BLOCK = 16 * 1024**2
SECONDS_BESIDE = 5
SHARE = 0.8
MOST_S = 300


def loading(course: Course) -> list[Row]:
    """With nothing of it in the page cache, as far as the system does what it is asked."""
    if course.shape == "embedded":
        return _measure(course, EMBEDDED)
    directory = Path(tempfile.mkdtemp(prefix="glimpse-bench-weights-"))
    try:
        course.plain.save_pretrained(directory, max_shard_size="5GB")
        write_small_files(directory)
        os.sync()
        return _measure(course, directory)
    finally:
        shutil.rmtree(directory)


def _measure(course: Course, directory: Path) -> list[Row]:
    weights = sorted(directory.glob("*.safetensors"))
    total = sum(path.stat().st_size for path in weights)
    _forget(weights)
    started = time.perf_counter()
    read = sum(_read(path) for path in weights)
    speed = read / (time.perf_counter() - started)
    _forget(weights)
    stages = _load(course, directory)
    full = course.shape == "9b"
    note = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages.items())
    return [
        Row(name="disk, sequential read", values=[speed / 1e9], unit="GB/s"),
        Row(
            name="checkpoint on disk to first token, from the start of the process",
            values=[stages["first token"]],
            unit="s",
            target=total / (SHARE * speed) + SECONDS_BESIDE if full else None,
            roofline=total / speed,
            note=f"{total / 1e9:.1f} GB; {note}",
        ),
    ]


def _load(course: Course, directory: Path) -> dict[str, float]:
    """When each stage was over, in seconds after the start."""
    started = time.time()
    ran = subprocess.run(
        [sys.executable, "-m", "bench.load", str(directory), str(course.device)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=MOST_S,
        check=True,
    )
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    return {line["stage"]: line["time"] - started for line in said}


def _read(path: Path) -> int:
    size = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            size += len(block)
    return size


def _forget(files: list[Path]) -> None:
    """Asks the system to drop what its page cache holds of them."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
