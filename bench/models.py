"""What is measured: the embedded checkpoint, or random weights in the shapes of GLM-4.1V-9B."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    GenerationConfig,
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.initialization import no_init_weights

from glimpse_worker.checkpoint import Checkpoint, load_model, load_tokenizer, open_checkpoint
from glimpse_worker.dependencies import import_dependencies
from glimpse_worker.engine.interface import Emit
from glimpse_worker.engine.opening import Opened
from glimpse_worker.engine.paged.assembly import Sizes, assemble
from glimpse_worker.engine.paged.engine import PagedEngine
from glimpse_worker.grammar import Grammars
from glimpse_worker.prompt import PromptBuilder
from glimpse_worker.protocol import Progress
from make_checkpoint import randomise, write_small_files

from .start import start_line

EMBEDDED = Path(__file__).resolve().parents[1] / "models" / "embedded"

Shape = Literal["9b", "embedded"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A checkpoint's small files, and its models. `make` gives the same weights each time."""

    checkpoint: Checkpoint
    config: Any
    tokenizer: PreTrainedTokenizerFast
    prompts: PromptBuilder
    grammars: Grammars
    device: torch.device
    make: Callable[[], Glm4vForConditionalGeneration]

    def model(self) -> Glm4vForConditionalGeneration:
        """A new one, that never ends an answer by itself."""
        model = self.make()
        # An id that the model cannot give: every request runs to its max_new_tokens, with any engine.
        never = [self.config.text_config.vocab_size]
        model.generation_config = GenerationConfig.from_dict(
            {"eos_token_id": never, "pad_token_id": 0, "do_sample": True, "top_k": 0}
        )
        return model

    def engine(
        self,
        emit: Emit,
        kv_cache_memory_bytes: int | None = None,
        progress: Progress = lambda *_: None,
        sizes: Sizes | None = None,
    ) -> PagedEngine:
        """The shipped engine over a new model."""
        versions = import_dependencies()
        opened = Opened(
            "bench", self.checkpoint, self.tokenizer, self.prompts, self.grammars, self.model(), versions
        )
        return assemble(opened, kv_cache_memory_bytes, progress, emit, sizes)


def trained() -> Subject:
    """The embedded model with its own weights, on the CPU."""

    def make(checkpoint: Checkpoint) -> Glm4vForConditionalGeneration:
        return load_model(checkpoint, torch.device("cpu"), "float32", lambda *_: None)

    return _subject(EMBEDDED, torch.device("cpu"), make)


def random_weights(shape: Shape, device: torch.device, dtype: torch.dtype) -> Subject:
    """A model of `shape` with random weights."""
    directory = EMBEDDED if shape == "embedded" else _small_files()

    def make(checkpoint: Checkpoint) -> Glm4vForConditionalGeneration:
        return _random(Glm4vConfig.from_pretrained(checkpoint.directory), device, dtype)

    return _subject(directory, device, make)


def _subject(
    directory: Path, device: torch.device, make: Callable[[Checkpoint], Glm4vForConditionalGeneration]
) -> Subject:
    checkpoint = open_checkpoint(start_line(directory), lambda *_: None)
    tokenizer = load_tokenizer(checkpoint)
    config: Any = Glm4vConfig.from_pretrained(directory)
    return Subject(
        checkpoint=checkpoint,
        config=config,
        tokenizer=tokenizer,
        prompts=PromptBuilder(tokenizer, checkpoint.placeholders),
        grammars=Grammars(tokenizer.backend_tokenizer, config.text_config.vocab_size, ()),
        device=device,
        make=lambda: make(checkpoint),
    )


def _random(config: Any, device: torch.device, dtype: torch.dtype) -> Glm4vForConditionalGeneration:
    """Nothing is initialised twice: 20 GB of weights are drawn where they stay, in seconds."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), no_init_weights():
            model: Any = Glm4vForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    torch.manual_seed(20)
    randomise(model)
    model.eval()
    return model  # type: ignore[no-any-return]


def _small_files() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="glimpse-bench-"))
    write_small_files(directory)
    # The checkpoint's check asks for weights; these are never read.
    (directory / "model.safetensors").touch()
    return directory
