"""Loading of the `paged` engine. Imports nothing heavy until it is known that the packages are there."""

from __future__ import annotations

from ...dependencies import import_dependencies
from ...model_reference import local_directory
from ...protocol import PagedEngine as Choice
from ...protocol import Progress, Start
from ..interface import Emit, Engine


def load_paged(start: Start, choice: Choice, progress: Progress, emit: Emit) -> Engine:
    """
    Finds, checks and loads the model of `start`; the engine that it gives is ready.

    Raises a WorkerFailure that names what is missing, as `load_reference` does, and MODEL_UNSUPPORTED too for
    what only the reference engine can do, or INVALID_REQUEST for a KV cache that is too small.
    """
    # The commonest mistake, a wrong path, need not wait for torch.
    local_directory(start.model)
    versions = import_dependencies()
    from ...checkpoint import load_model, load_tokenizer, open_checkpoint
    from ...device import choose_device
    from ...prompt import PromptBuilder
    from ...sampling import check_generation_config, check_paged_generation_config
    from .assembly import assemble
    from .support import check_supported

    device = choose_device(start.device)
    checkpoint = open_checkpoint(start, progress)
    # All that may be refused comes before the weights, which take minutes.
    check_generation_config(checkpoint.directory)
    check_paged_generation_config(checkpoint.directory)
    check_supported(checkpoint.directory)
    tokenizer = load_tokenizer(checkpoint)
    prompts = PromptBuilder(tokenizer, checkpoint.placeholders)
    model = load_model(checkpoint, device, start.dtype, progress)
    return assemble(
        start.model, checkpoint, tokenizer, prompts, model, versions, choice.kv_cache_memory_bytes, emit
    )
