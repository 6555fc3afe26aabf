"""A request's options on top of the checkpoint's generation_config."""

from __future__ import annotations

import copy

from transformers import GenerationConfig

from .protocol import Options


def is_sampled(options: Options, defaults: GenerationConfig) -> bool:
    """
    Whether tokens are drawn at random: `temperature` decides; where it is absent, so does asking for `topP`
    or `topK`, or else the checkpoint's `do_sample`.
    """
    if options.temperature is not None:
        return options.temperature > 0
    return options.top_p is not None or options.top_k is not None or bool(defaults.do_sample)


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
