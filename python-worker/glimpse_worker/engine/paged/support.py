"""What a config may ask of the paged engine; the rest is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...failure import WorkerFailure
from ...preprocessing import read_json, read_preprocessing

_HINT = 'Launch with engine "reference", which runs whatever transformers can.'
_TEXT: Mapping[str, tuple[object, ...]] = {"hidden_act": (None, "silu"), "attention_bias": (None, True)}
_ROPE: Mapping[str, tuple[object, ...]] = {"rope_type": (None, "default")}
_VISION: Mapping[str, tuple[object, ...]] = {
    "hidden_act": (None, "silu"),
    "attention_bias": (None, False),
}


def check_supported(directory: Path) -> None:
    """Raises MODEL_UNSUPPORTED for a config.json with a variant of the layers that only transformers has."""
    config = read_json(directory / "config.json")
    text = _section(config, "text_config")
    rope = _section(text, "rope_parameters") or _section(text, "rope_scaling")
    for where, fields, allowed in (
        ("text_config", text, _TEXT),
        ("text_config.rope_parameters", rope, _ROPE),
        ("vision_config", _section(config, "vision_config"), _VISION),
    ):
        for name, values in allowed.items():
            if fields.get(name) not in values:
                raise WorkerFailure(
                    "MODEL_UNSUPPORTED",
                    f"config.json: {where}.{name} is {fields.get(name)!r}; the paged engine implements "
                    f"{values[-1]!r}",
                    hint=_HINT,
                )
    _check_preprocessing(directory)


def _check_preprocessing(directory: Path) -> None:
    """One tower sees both, so that pictures and videos may differ in their sizes only."""
    image, video = read_preprocessing(directory)
    if replace(video, min_pixels=image.min_pixels, max_pixels=image.max_pixels) != image:
        raise WorkerFailure(
            "MODEL_UNSUPPORTED",
            f"{directory}: the preprocessor files of pictures and of videos differ in more than their sizes",
            hint=_HINT,
        )


def _section(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = fields.get(name)
    return section if isinstance(section, dict) else {}
