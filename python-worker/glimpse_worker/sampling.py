"""A request's options on top of the checkpoint's generation_config."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from .failure import WorkerFailure
from .preprocessing import read_json
from .protocol import Options

GREEDY_BELOW = 1e-5
"""A smaller temperature is greedy, as in vLLM: dividing by it would leave float32, and the device's kernels
assert on what is no probability.
"""
MAX_TEMPERATURE = 100.0
MAX_TOP_K = 2**31 - 1
"""More, and more than the vocabulary has, is the same as all of it."""
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

# What transformers applies to the scores (`_get_logits_processor`) beside penalty, temperature, top-k and
# top-p, with the values that do nothing. renormalize_logits is not here: it comes last and shifts all scores
# of a row by the same amount.
_ONLY_REFERENCE: dict[str, tuple[object, ...]] = {
    "sequence_bias": (None,),
    "encoder_repetition_penalty": (None, 1),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "bad_words_ids": (None,),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "remove_invalid_values": (None, False),
    "exponential_decay_length_penalty": (None,),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "top_h": (None,),
    "min_p": (None, 0),
    "typical_p": (None, 1),
    "epsilon_cutoff": (None, 0),
    "eta_cutoff": (None, 0),
    "watermarking_config": (None,),
}

_RANGES = {"temperature": MAX_TEMPERATURE, "top_p": 1, "top_k": MAX_TOP_K}

# transformers' own, where a checkpoint says nothing (`GenerationConfig._get_default_generation_params`).
_TEMPERATURE = 1.0
_TOP_P = 1.0
_TOP_K = 50


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
    if options.schema is not None and options.stop:
        raise WorkerFailure(
            "INVALID_REQUEST",
            "stop: expected nothing beside output, whose JSON ends by itself",
            hint="Leave out stop, or ask without output.",
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


def check_paged_generation_config(directory: Path) -> None:
    """MODEL_UNSUPPORTED for a generation_config.json that asks for what only the reference engine does."""
    path = directory / "generation_config.json"
    fields: dict[str, Any] = read_json(path) if path.is_file() else {}
    for name, allowed in _ONLY_REFERENCE.items():
        value = fields.get(name)
        if value not in allowed:
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                f"{path}: {name} is {value!r}; the paged engine samples with temperature, top_p, top_k and "
                "repetition_penalty only",
                hint=f'Launch with engine: "reference", which follows it, or remove {name} from the file.',
            )
    for name, most in _RANGES.items():
        value = fields.get(name)
        kind = int if name == "top_k" else int | float
        if value is not None and not (isinstance(value, kind) and 0 <= value <= most):
            expected = "a whole number" if name == "top_k" else "a number"
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                f"{path}: {name} should be {expected} from 0 to {most:g}, but is {value!r}",
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


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the tokens of one request are chosen."""

    temperature: float
    """0 is greedy; what is drawn has at least 1e-5."""
    top_p: float
    """1 is off."""
    top_k: int
    """0 is off; at most MAX_TOP_K."""
    repetition_penalty: float
    """1 is off."""
    seed: int


def resolve_sampling(options: Options, defaults: GenerationConfig) -> Sampling:
    """
    What `generate` does to the scores of a request with `generation_config(options, defaults, ...)`, the
    defaults of transformers included: a checkpoint that says nothing of top_k means 50.
    """
    config = generation_config(options, defaults, max_new_tokens=1)
    penalty = 1.0 if config.repetition_penalty is None else float(config.repetition_penalty)
    if not config.do_sample:
        return Sampling(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=penalty, seed=options.seed)
    return Sampling(
        temperature=_TEMPERATURE if config.temperature is None else float(config.temperature),
        top_p=_TOP_P if config.top_p is None else float(config.top_p),
        top_k=min(_TOP_K if config.top_k is None else config.top_k, MAX_TOP_K),
        repetition_penalty=penalty,
        seed=options.seed,
    )


def stop_token_ids(defaults: GenerationConfig) -> list[int]:
    """The checkpoint's list of ids that end an answer."""
    eos = defaults.eos_token_id
    return [eos] if isinstance(eos, int) else list(eos or ())
