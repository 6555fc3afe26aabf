"""What `model` in the start line may be. Needs no torch, so that a wrong path is refused at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .failure import WorkerFailure
from .preprocessing import read_json

_MODEL_TYPE = "glm4v"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def local_directory(reference: str) -> Path | None:
    """
    The directory that `reference` names, or None for an id on the hub; a directory goes before an id.

    Raises MODEL_NOT_FOUND for what is neither.
    """
    # Unlike pathlib's, these take a name that is too long, or of an unknown user, for one that is not there.
    path = Path(os.path.expanduser(reference)).absolute()
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        raise WorkerFailure(
            "MODEL_NOT_FOUND", f"model: expected the directory of a checkpoint, but {path} is a file"
        )
    if _HUB_ID.fullmatch(reference):
        return None
    missing = "which" if reference == str(path) else f"and {path}"
    raise WorkerFailure(
        "MODEL_NOT_FOUND",
        "model: expected the directory of a checkpoint, or an id of the form owner/name, "
        f"got {reference!r}, {missing} does not exist",
        hint="Give the path of a checkpoint's directory, or an id such as zai-org/GLM-4.1V-9B-Thinking.",
    )


def check_model_type(config: Path) -> None:
    """Raises MODEL_UNSUPPORTED for the config.json of another architecture, or one without its two halves."""
    fields = read_json(config)
    model_type = fields.get("model_type")
    if model_type != _MODEL_TYPE:
        raise WorkerFailure(
            "MODEL_UNSUPPORTED",
            f"{config}: model_type is {model_type!r}; Glimpse runs {_MODEL_TYPE!r} (GLM-4.1V) only",
        )
    for half in ("text_config", "vision_config"):
        # Without it transformers would build the half of a 9B model, with random weights.
        if not isinstance(fields.get(half), dict):
            raise WorkerFailure(
                "MODEL_UNSUPPORTED", f"{config}: {half} should be an object, but is {fields.get(half)!r}"
            )
