"""What every engine with a model needs. Imports nothing heavy until the packages are known to be there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..dependencies import import_dependencies
from ..model_reference import local_directory
from ..protocol import Progress, Start
from ..read_ahead import read_ahead

if TYPE_CHECKING:
    from transformers import Glm4vForConditionalGeneration, PreTrainedTokenizerFast

    from ..checkpoint import Checkpoint
    from ..grammar import Grammars
    from ..prompt import PromptBuilder


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is loaded, and what belongs to it. `name` is what the start line calls it."""

    name: str
    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerFast
    prompts: PromptBuilder
    grammars: Grammars
    model: Glm4vForConditionalGeneration
    versions: Mapping[str, str]


def open_model(
    start: Start, progress: Progress, check: Callable[[Path], None], *, spread: bool = False
) -> Opened:
    """
    Finds, checks and loads the model of `start`, on one device, or spread over all GPUs that the process
    sees. `check` may refuse the checkpoint in a directory, before its weights are loaded.

    Raises a WorkerFailure that names what is missing: PYTHON_DEPS_MISSING, DEVICE_NOT_FOUND, MODEL_NOT_FOUND,
    MODEL_UNSUPPORTED, MODEL_DOWNLOAD_FAILED or DISK_FULL.
    """
    # The commonest mistake, a wrong path, need not wait for torch; nor does the disk.
    directory = local_directory(start.model)
    if directory is not None:
        read_ahead(directory)
    versions = import_dependencies()
    import torch

    from ..checkpoint import load_model, load_tokenizer, open_checkpoint
    from ..device import choose_device
    from ..grammar import Grammars
    from ..prompt import PromptBuilder
    from ..sampling import check_generation_config, stop_token_ids

    if start.threads is not None:
        torch.set_num_threads(start.threads)
    device = choose_device(start.device)
    checkpoint = open_checkpoint(start, progress)
    # All that may be refused comes before the weights, which take minutes.
    check_generation_config(checkpoint.directory)
    check(checkpoint.directory)
    tokenizer = load_tokenizer(checkpoint)
    prompts = PromptBuilder(tokenizer, checkpoint.placeholders)
    model = load_model(checkpoint, device, start.dtype, progress, spread=spread)
    grammars = Grammars(
        tokenizer.backend_tokenizer,
        model.lm_head.out_features,
        stop_token_ids(model.generation_config),
    )
    return Opened(start.model, checkpoint, tokenizer, prompts, grammars, model, versions)
