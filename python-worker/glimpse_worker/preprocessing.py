"""
The numbers of a checkpoint's preprocessor files, and the size rule of Glm4v. Knows neither torch nor
Pillow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .failure import WorkerFailure
from .protocol import PixelCap
from .video_sampling import FrameSampling

# transformers' smart_resize raises beyond this ratio of the sides.
MAX_ASPECT_RATIO = 200

# What an absent field means for every processor of this family, and the only value that is implemented here.
_FIXED = {
    "do_resize": True,
    "resample": 3,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """
    One preprocessor file. Pixels count height × width × frames; a still picture counts
    `temporal_patch_size` times.
    """

    patch_size: int
    merge_size: int
    temporal_patch_size: int
    min_pixels: int
    max_pixels: int
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]

    @property
    def factor(self) -> int:
        """Pixels on a side of what becomes one token: both sides of a resized picture are multiples of it."""
        return self.patch_size * self.merge_size

    def capped(self, cap: PixelCap | None, frames: int) -> Preprocessing:
        """With a caller's bound on each of `frames` frames, as far as it is below the checkpoint's own."""
        if cap is None:
            return self
        most = max(self.min_pixels, cap.max_pixels * frames)
        return replace(self, max_pixels=min(self.max_pixels, most))


# What transformers' Glm4vVideoProcessor takes when the file does not say.
_SAMPLING = {"fps": 2, "max_duration": 300}


def read_preprocessing(directory: Path) -> tuple[Preprocessing, Preprocessing]:
    """
    The numbers for pictures and for videos. MODEL_UNSUPPORTED names the file or the field that is missing.
    """
    image = _section(directory, "preprocessor_config.json", "image_processor")
    video = _section(directory, "video_preprocessor_config.json", "video_processor")
    return _parse(*image), _parse(*video)


def _section(directory: Path, file: str, key: str) -> tuple[str, Mapping[str, Any]]:
    """
    transformers 5 saves both processors inside processor_config.json and prefers it; the published files
    are apart.
    """
    merged = directory / "processor_config.json"
    if merged.is_file():
        section = read_json(merged).get(key)
        if isinstance(section, dict):
            return f"{merged.name} ({key})", section
    if not (directory / file).is_file():
        raise WorkerFailure(
            "MODEL_UNSUPPORTED",
            f"{directory} has no {file}; the sizes and means of the model's pictures stand in it",
            hint=f"Copy {file} of the model you started from into the directory.",
        )
    return file, read_json(directory / file)


def read_sampling(directory: Path) -> FrameSampling:
    """
    Which frames of a video the checkpoint's processor takes. MODEL_UNSUPPORTED names a field that is wrong.
    """
    name, fields = _section(directory, "video_preprocessor_config.json", "video_processor")
    numbers = {field: fields.get(field) or default for field, default in _SAMPLING.items()}
    for field, value in numbers.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise WorkerFailure(
                "MODEL_UNSUPPORTED", f"{name}: {field} should be a positive number, but is {value!r}"
            )
    return FrameSampling(**numbers)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the checkpoint, or MODEL_UNSUPPORTED."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkerFailure("MODEL_UNSUPPORTED", f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise WorkerFailure("MODEL_UNSUPPORTED", f"{path} holds no JSON object but {type(value).__name__}")
    return value


def _parse(name: str, fields: Mapping[str, Any]) -> Preprocessing:
    for field, only in _FIXED.items():
        value = fields.get(field, only)
        if value != only:
            raise WorkerFailure(
                "MODEL_UNSUPPORTED", f"{name}: {field} is {value!r}; the worker implements {only!r} only"
            )
    return Preprocessing(
        patch_size=_number(name, fields, "patch_size"),
        merge_size=_number(name, fields, "merge_size"),
        temporal_patch_size=_number(name, fields, "temporal_patch_size"),
        min_pixels=_number(name, fields, "size", "shortest_edge"),
        max_pixels=_number(name, fields, "size", "longest_edge"),
        image_mean=_triple(name, fields, "image_mean"),
        image_std=_triple(name, fields, "image_std"),
    )


def _number(name: str, fields: Mapping[str, Any], *path: str) -> int:
    value: Any = fields
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise WorkerFailure(
            "MODEL_UNSUPPORTED", f"{name}: {'.'.join(path)} should be a positive integer, but is {value!r}"
        )
    return value


def _triple(name: str, fields: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    value = fields.get(key)
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(x, int | float) for x in value):
        raise WorkerFailure("MODEL_UNSUPPORTED", f"{name}: {key} should be three numbers, but is {value!r}")
    return (float(value[0]), float(value[1]), float(value[2]))


def _at_least_factor(height: int, width: int, factor: int) -> tuple[int, int]:
    if height >= factor and width >= factor:
        return height, width
    scale = max(factor / height, factor / width)
    return int(height * scale), int(width * scale)


def aspect_ratio_fits(height: int, width: int, factor: int) -> bool:
    """Whether transformers' smart_resize takes a picture of this size (it raises beyond 200:1)."""
    height, width = _at_least_factor(height, width, factor)
    return max(height, width) / min(height, width) <= MAX_ASPECT_RATIO


def smart_resize(frames: int, height: int, width: int, numbers: Preprocessing) -> tuple[int, int]:
    """
    Height and width that the model sees: transformers' Glm4v `smart_resize`, number for number.

    `frames` is `temporal_patch_size` for a still picture and the unpadded count for a video. The size must
    satisfy `aspect_ratio_fits`.
    """
    factor, temporal = numbers.factor, numbers.temporal_patch_size
    height, width = _at_least_factor(height, width, factor)
    resized_height = round(height / factor) * factor
    resized_width = round(width / factor) * factor
    pixels = round(frames / temporal) * temporal * resized_height * resized_width
    if pixels > numbers.max_pixels:
        beta = math.sqrt((frames * height * width) / numbers.max_pixels)
        resized_height = max(factor, math.floor(height / beta / factor) * factor)
        resized_width = max(factor, math.floor(width / beta / factor) * factor)
    elif pixels < numbers.min_pixels:
        beta = math.sqrt(numbers.min_pixels / (frames * height * width))
        resized_height = math.ceil(height * beta / factor) * factor
        resized_width = math.ceil(width * beta / factor) * factor
    return resized_height, resized_width
