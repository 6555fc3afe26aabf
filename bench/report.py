"""What was measured: rows that become a table on the terminal and a JSON file, section by section."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from glimpse_worker.device import describe_device

from .timing import Spread

Status = Literal["running", "done", "failed"]
Document = dict[str, Any]
"""`environment`, and by name `sections`: each with `status`, `rows`, and `error` when it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One thing that was measured, in `unit`: more is better of what is per second, a factor (×) or a share (%),
    less of the others. `roofline` is what the ceilings of the same run allow, `target` what the project asks
    for.
    """

    name: str
    values: Sequence[float]
    unit: str
    target: float | None = None
    roofline: float | None = None
    note: str = ""

    @property
    def spread(self) -> Spread:
        return Spread.of(self.values)

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s") or self.unit in ("×", "%")

    @property
    def reached(self) -> bool | None:
        """None without a target."""
        if self.target is None:
            return None
        median = self.spread.median
        return median >= self.target if self.more_is_better else median <= self.target

    @property
    def share(self) -> float | None:
        """How much of the roofline was reached."""
        if self.roofline is None:
            return None
        median = self.spread.median
        return median / self.roofline if self.more_is_better else self.roofline / median


class Report:
    """
    Kept in a JSON file that is written after every section. What the file holds already of other sections
    stays, if it was measured on the same device with the same versions.
    """

    def __init__(self, path: Path, device: torch.device, model: str, **more: Any) -> None:
        """`more` is what else the numbers depend on."""
        self.path = path
        environment = _environment(device, model) | more
        found = read(path)
        same = found["environment"] == environment
        self.document: Document = {
            "environment": environment,
            "sections": found["sections"] if same else {},
        }
        self._write()

    def put(self, section: str, status: Status, rows: Sequence[Row] = (), **more: Any) -> None:
        """`more` is kept beside the rows of the section."""
        self.document["sections"][section] = {
            "status": status,
            "rows": [asdict(row) | {"median": row.spread.median} for row in rows],
            **more,
        }
        self._write()

    def median(self, name: str) -> float | None:
        """Of the row with this name, if it was measured, in this run or an earlier one."""
        for section in self.document["sections"].values():
            for row in section["rows"]:
                if row["name"] == name:
                    return float(row["median"])
        return None

    def _write(self) -> None:
        write(self.path, self.document)


def read(path: Path) -> Document:
    """What a report has written, or an empty one."""
    if not path.is_file():
        return {"environment": {}, "sections": {}}
    document: Document = json.loads(path.read_text())
    return document


def write(path: Path, document: Document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def table(document: Document) -> str:
    """All rows, the sections that did not end well, and what they were measured on."""
    lines = [_HEADER]
    for name, section in document["sections"].items():
        rows = [
            Row(**{key: value for key, value in row.items() if key != "median"}) for row in section["rows"]
        ]
        lines += [_line(row) for row in rows]
        if section["status"] != "done":
            error = section.get("error", "it did not end")
            lines.append(f"{name}: FAILED: {error.strip().splitlines()[-1]}")
    described = ", ".join(f"{name} {value}" for name, value in document["environment"].items())
    return "\n".join([*lines, "", described])


def _environment(device: torch.device, model: str) -> dict[str, Any]:
    """What the numbers depend on."""
    described = describe_device(device)
    return {
        "model": model,
        "device": described.name,
        "device_memory_bytes": described.memory_bytes,
        "host_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


_HEADER = (
    f"{'':58} {'median':>10} {'lowest':>10} {'highest':>10} {'unit':10} "
    f"{'target':>9} {'roofline':>9} {'of it':>6}"
)


def _line(row: Row) -> str:
    spread = row.spread
    mark = {None: "", True: " ok", False: " MISSED"}[row.reached]
    share = "" if row.share is None else f"{100 * row.share:.0f}%"
    cells = f"{_number(spread.median):>10} {_number(spread.low):>10} {_number(spread.high):>10} {row.unit:10}"
    line = f"{row.name:58} {cells} {_number(row.target):>9} {_number(row.roofline):>9} {share:>6}{mark}"
    return f"{line}\n    {row.note}" if row.note else line


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
