"""Whether the heavy packages are there and new enough, before anything relies on them."""

from __future__ import annotations

import importlib
import os
import platform
import re

from . import __version__
from .failure import WorkerFailure

_HINT = "Run `npx glimpse setup`, or install it into the interpreter that `python` names."

PACKAGES = {
    "zmq": ("pyzmq", (27, 0)),
    "msgspec": ("msgspec", (0, 21)),
    "numpy": ("numpy", (1, 26)),
    "PIL": ("pillow", (10, 1)),
    "torch": ("torch", (2, 11)),
    "accelerate": ("accelerate", (1, 1)),
    "huggingface_hub": ("huggingface_hub", (1, 31)),
    "safetensors": ("safetensors", (0, 8)),
    "tokenizers": ("tokenizers", (0, 23)),
    "transformers": ("transformers", (5, 17)),
}
"""What the worker imports, by module: the name to install and the least version, as in pyproject.toml."""


def import_dependencies() -> dict[str, str]:
    """
    Imports what the engine needs (seconds, the first time) and gives the versions for `ready`.

    Raises PYTHON_DEPS_MISSING, with both versions where one is too old.
    """
    # A tokenizer of transformers warns about forks otherwise; nothing here would profit from its threads.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    found = {module: _import(module, package, least) for module, (package, least) in PACKAGES.items()}
    return {
        "python": platform.python_version(),
        "torch": found["torch"],
        "transformers": found["transformers"],
        "glimpse_worker": __version__,
    }


def _import(module: str, package: str, least: tuple[int, int]) -> str:
    try:
        version = str(importlib.import_module(module).__version__)
    except ModuleNotFoundError as error:
        missing = package if error.name == module else f"{error.name}, which {package} needs"
        raise WorkerFailure(
            "PYTHON_DEPS_MISSING", f"the worker's Python environment lacks the package {missing}", hint=_HINT
        ) from error
    except (ImportError, OSError) as error:
        raise WorkerFailure(
            "PYTHON_DEPS_MISSING", f"the package {package} cannot be imported: {error}", hint=_HINT
        ) from error
    if _major_minor(version) < least:
        wanted = ".".join(map(str, least))
        raise WorkerFailure(
            "PYTHON_DEPS_MISSING",
            f"{package} {version} is too old; the worker needs {wanted} or later",
            hint=_HINT,
        )
    return version


def _major_minor(version: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)
