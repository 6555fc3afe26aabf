"""A request's options on top of the checkpoint's generation_config."""

from __future__ import annotations

import copy
from pathlib import Path

from transformers import GenerationConfig

from .failure import WorkerFailure
from .preprocessing import read_json
from .protocol import Options

GREEDY_BELOW = 1e-5
"""A smaller temperature is greedy, as in vLLM: dividing by it would leave float32, and the device's kernels
assert on what is no probability.
"""
MAX_TEMPERATURE = 100.0
REPETITION_PENALTIES = (0.01, 100.0)
"""Far beyond what is of use, and well inside what float32 scores can be multiplied by."""

# What would make `generate` do anything else than one greedy or sampled sequence, or end it early, with the
# values that do not.
_FIXED: dict[str, tuple[object, ...]] = {
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "stop_strings": (None, []),
    "max_time": (None,),
    "penalty_alpha": (None, 0),
    "dola_layers": (None,),
    "guidance_scale": (None, 1),
    "prompt_lookup_num_tokens": (None,),
    "assistant_early_exit": (None,),
    "use_mtp": (None, False),
    "token_healing": (None, False),
    "constraints": (None,),
    "force_words_ids": (None,),
}


def check_options(options: Options) -> None:
    """INVALID_REQUEST for numbers that the model's scores cannot be divided by."""
    if options.temperature is not None and not options.temperature <= MAX_TEMPERATURE:
        raise WorkerFailure(
            "INVALID_REQUEST",
            f"temperature: expected a number from 0 to {MAX_TEMPERATURE:g}, got {options.temperature:g}",
            hint="Temperatures of use lie between 0 (greedy) and about 2.",
        )
    least, most = REPETITION_PENALTIES
    if options.repetition_penalty is not None and not least <= options.repetition_penalty <= most:
        raise WorkerFailure(
            "INVALID_REQUEST",
            f"repetitionPenalty: expected a number from {least:g} to {most:g}, "
            f"got {options.repetition_penalty:g}",
            hint="1 changes nothing; penalties of use lie between 1 and about 1.5.",
        )


def check_generation_config(directory: Path) -> None:
    """MODEL_UNSUPPORTED for a generation_config.json that asks for what the worker does not do."""
    path = directory / "generation_config.json"
    fields = read_json(path) if path.is_file() else {}
    for name, allowed in _FIXED.items():
        value = fields.get(name)
        if value not in allowed:
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                f"{path}: {name} is {value!r}; the worker generates one greedy or sampled sequence",
                hint=f"Remove {name} from the file.",
            )
    least, most = REPETITION_PENALTIES
    penalty = fields.get("repetition_penalty")
    if penalty is not None and not (isinstance(penalty, int | float) and least <= penalty <= most):
        raise WorkerFailure(
            "MODEL_UNSUPPORTED",
            f"{path}: repetition_penalty should be a number from {least:g} to {most:g}, but is {penalty!r}",
        )


def is_sampled(options: Options, defaults: GenerationConfig) -> bool:
    """
    Whether tokens are drawn at random: `temperature` decides; where it is absent, so does asking for `topP`
    or `topK`, or else the checkpoint's `do_sample`. A temperature below 1e-5, whosever it is, is greedy.
    """
    given = options.temperature
    temperature = defaults.temperature if given is None else given
    if temperature is not None and temperature < GREEDY_BELOW:
        return False
    asked = given is not None or options.top_p is not None or options.top_k is not None
    return asked or bool(defaults.do_sample)


def generation_config(options: Options, defaults: GenerationConfig, max_new_tokens: int) -> GenerationConfig:
    """A copy of `defaults` with the request's options; what is absent stays as the checkpoint has it."""
    config = copy.deepcopy(defaults)
    config.max_new_tokens = max_new_tokens
    config.max_length = None
    config.do_sample = is_sampled(options, defaults)
    given = {"repetition_penalty": options.repetition_penalty}
    if config.do_sample:
        given |= {"temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k}
    for name, value in given.items():
        if value is not None:
            setattr(config, name, value)
    if config.pad_token_id is None:
        config.pad_token_id = stop_token_ids(defaults)[0]
    return config


def stop_token_ids(defaults: GenerationConfig) -> list[int]:
    """The checkpoint's list of ids that end an answer."""
    eos = defaults.eos_token_id
    return [eos] if isinstance(eos, int) else list(eos or ())
