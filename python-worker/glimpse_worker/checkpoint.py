"""A model reference → a directory that is known to hold a whole Glm4v checkpoint → the loaded model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, Glm4vConfig, Glm4vForConditionalGeneration, PreTrainedTokenizerFast
from transformers.utils import logging

from .device import is_out_of_memory
from .failure import WorkerFailure
from .hub import download
from .model_reference import check_model_type, local_directory
from .preprocessing import Preprocessing, read_json, read_preprocessing, read_sampling
from .prompt import Placeholders
from .protocol import Dtype, Progress, Start
from .video_sampling import FrameSampling


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the small files of a checkpoint say. `revision` is the commit, when it came from the hub."""

    directory: Path
    revision: str | None
    image: Preprocessing
    video: Preprocessing
    sampling: FrameSampling
    placeholders: Placeholders
    context_length: int
    weight_bytes: int


def open_checkpoint(start: Start, progress: Progress) -> Checkpoint:
    """
    Finds `start.model`, downloading it if it is an id, and checks that everything needed is there.

    Raises MODEL_NOT_FOUND, MODEL_UNSUPPORTED, MODEL_DOWNLOAD_FAILED or DISK_FULL.
    """
    directory = local_directory(start.model)
    if directory is not None:
        return _read(directory, revision=None)
    snapshot = download(
        start.model,
        start.revision,
        start.hub_token,
        check_config=check_model_type,
        report=lambda done, total: progress("download", done, total),
    )
    return _read(snapshot, revision=snapshot.name)


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers' AutoTokenizer makes it; MODEL_UNSUPPORTED when it cannot."""
    _quieten()
    with _named_failures(checkpoint.directory):
        tokenizer = AutoTokenizer.from_pretrained(
            checkpoint.directory, local_files_only=True, trust_remote_code=False
        )
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise WorkerFailure(
            "MODEL_UNSUPPORTED", f"{checkpoint.directory}: expected a fast tokenizer (tokenizer.json)"
        )
    return tokenizer


def load_model(
    checkpoint: Checkpoint, device: torch.device, dtype: Dtype, progress: Progress, *, spread: bool = False
) -> Glm4vForConditionalGeneration:
    """
    The model, in evaluation mode on `device`, or `spread` by accelerate over all devices of its type, layer
    by layer; `auto` is the checkpoint's own dtype on a GPU, else float32.

    Raises MODEL_UNSUPPORTED when weights are damaged or missing, GPU_OUT_OF_MEMORY when they do not fit.
    """
    _quieten()
    total = checkpoint.weight_bytes
    progress("weights", 0, total)
    with _named_failures(checkpoint.directory), _reported(total, progress):
        try:
            model, missing = _load(checkpoint.directory, device, dtype, spread)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise _too_large(total, str(device)) from error
    if any(parameter.device.type != device.type for parameter in model.parameters()):
        # accelerate would go on with the rest in the host's memory or on disk, a hundred times slower.
        raise _too_large(total, "all GPUs together")
    if missing:
        # transformers would go on with random numbers in their place.
        raise _incomplete(checkpoint.directory, f"lacks {len(missing)} of the weights, {missing[0]} first")
    progress("weights", total, total)
    return model


@contextmanager
def _named_failures(directory: Path) -> Iterator[None]:
    """What transformers raises about a checkpoint, of nearly every type, as MODEL_UNSUPPORTED."""
    try:
        yield
    except (WorkerFailure, MemoryError, ImportError, torch.AcceleratorError):
        raise
    except OSError as error:
        # The system's own refusals have a number; transformers raises OSError without one.
        if error.errno is not None:
            raise
        raise _incomplete(directory, f"cannot be loaded: {error}") from error
    except SafetensorError as error:
        raise _incomplete(directory, f"has damaged weights: {error}") from error
    except Exception as error:
        raise _incomplete(directory, f"cannot be loaded: {type(error).__name__}: {error}") from error


@contextmanager
def _reported(total: int, progress: Progress) -> Iterator[None]:
    """
    Reports the loading of weights while transformers iterates over the tensors in a bar of its own; bytes
    are the share of tensors that are done, as the bar does not know their sizes.
    """

    def bar(make: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return count(arguments[0]) if arguments else make(*arguments, **options)

    def count(tensors: Collection[Any]) -> Iterator[Any]:
        for done, tensor in enumerate(tensors):
            if done:
                progress("weights", total * done // len(tensors), total)
            yield tensor

    before = logging.set_tqdm_hook(bar)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


def _load(
    directory: Path, device: torch.device, dtype: Dtype, spread: bool
) -> tuple[Glm4vForConditionalGeneration, list[str]]:
    """The model, and the names of the weights that the files did not have."""
    automatic = "float32" if device.type == "cpu" else "auto"
    loaded: Any = Glm4vForConditionalGeneration.from_pretrained(
        directory,
        dtype=automatic if dtype == "auto" else dtype,
        local_files_only=True,
        use_safetensors=True,
        # Weights go from the file to the device one by one, so the host never holds the whole model.
        device_map="auto" if spread else {"": device},
        output_loading_info=True,
    )
    model, report = loaded
    return model, sorted(report["missing_keys"])


def _quieten() -> None:
    """Progress goes through `progress`, and what is wrong is raised; nothing is to be said on stderr."""
    transformers_logging: Any = logging
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _read(directory: Path, revision: str | None) -> Checkpoint:
    for file in ("config.json", "tokenizer.json"):
        if not (directory / file).is_file():
            raise _incomplete(directory, f"has no {file}")
    check_model_type(directory / "config.json")
    with _named_failures(directory):
        config: Any = Glm4vConfig.from_pretrained(directory, local_files_only=True)
    image, video = read_preprocessing(directory)
    return Checkpoint(
        directory=directory,
        revision=revision,
        image=image,
        video=video,
        sampling=read_sampling(directory),
        placeholders=Placeholders(
            image=config.image_token_id,
            video=config.video_token_id,
            image_start=config.image_start_token_id,
            image_end=config.image_end_token_id,
        ),
        context_length=config.text_config.max_position_embeddings,
        weight_bytes=sum(path.stat().st_size for path in _weights(directory)),
    )


def _weights(directory: Path) -> list[Path]:
    # transformers looks for the single file first, too.
    single = directory / "model.safetensors"
    if single.is_file():
        return [single]
    index = directory / f"{single.name}.index.json"
    if index.is_file():
        return _shards(index)
    if any(directory.glob("*.bin")) or any(directory.glob("*.pt")):
        raise _incomplete(directory, "has its weights as pickles only; Glimpse reads safetensors")
    raise _incomplete(directory, "has no model.safetensors")


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise _incomplete(
            index.parent, f"has an {index.name} whose weight_map does not name a file for each weight"
        )
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise _incomplete(
            index.parent, f"lacks {len(missing)} of {len(names)} weight files, {missing[0]} first"
        )
    return [index.parent / name for name in names]


def _too_large(total: int, where: str) -> WorkerFailure:
    return WorkerFailure(
        "GPU_OUT_OF_MEMORY",
        f"the weights ({total} bytes on disk) do not fit into the memory of {where}",
        hint="End other programs on the device, or choose a device with more memory.",
    )


def _incomplete(directory: Path, what: str) -> WorkerFailure:
    return WorkerFailure(
        "MODEL_UNSUPPORTED",
        f"{directory} {what}",
        hint="Take a complete Glm4v checkpoint, such as zai-org/GLM-4.1V-9B-Thinking.",
    )
