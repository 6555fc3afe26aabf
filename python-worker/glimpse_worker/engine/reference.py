"""Loading of the `reference` engine. Imports nothing heavy until it is known that the packages are there."""

from __future__ import annotations

from ..dependencies import import_dependencies
from ..model_reference import local_directory
from ..protocol import Progress, Start
from .interface import Emit, Engine


def load_reference(start: Start, progress: Progress, emit: Emit) -> Engine:
    """
    Finds, checks and loads the model of `start`; the engine that it gives is ready.

    Raises a WorkerFailure that names what is missing: PYTHON_DEPS_MISSING, DEVICE_NOT_FOUND, MODEL_NOT_FOUND,
    MODEL_UNSUPPORTED, MODEL_DOWNLOAD_FAILED or DISK_FULL.
    """
    # The commonest mistake, a wrong path, need not wait for torch.
    local_directory(start.model)
    versions = import_dependencies()
    from ..checkpoint import load_model, load_tokenizer, open_checkpoint
    from ..device import choose_device
    from ..prompt import PromptBuilder
    from ..sampling import check_generation_config
    from .reference_engine import ReferenceEngine

    device = choose_device(start.device)
    checkpoint = open_checkpoint(start, progress)
    # All that may be refused comes before the weights, which take minutes.
    check_generation_config(checkpoint.directory)
    tokenizer = load_tokenizer(checkpoint)
    prompts = PromptBuilder(tokenizer, checkpoint.placeholders)
    model = load_model(checkpoint, device, start.dtype, progress)
    return ReferenceEngine(start.model, checkpoint, tokenizer, prompts, model, versions, emit)
