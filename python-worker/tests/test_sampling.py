"""Which options make a request sample, and with what settings."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import GenerationConfig

from glimpse_worker.protocol import Options
from glimpse_worker.sampling import generation_config, is_sampled, stop_token_ids


def defaults(**fields: Any) -> GenerationConfig:
    config: GenerationConfig = GenerationConfig.from_dict(fields)
    return config


GREEDY = defaults(do_sample=False, eos_token_id=[1, 2])
SAMPLING = defaults(do_sample=True, temperature=0.8, top_k=2, eos_token_id=[1, 2], pad_token_id=0)


@pytest.mark.parametrize(
    ("options", "checkpoint", "sampled"),
    [
        (Options(seed=0), GREEDY, False),
        (Options(seed=0), SAMPLING, True),
        (Options(seed=0, temperature=0.0), SAMPLING, False),
        (Options(seed=0, temperature=0.0, top_p=0.5), SAMPLING, False),
        (Options(seed=0, temperature=0.7), GREEDY, True),
        (Options(seed=0, top_p=0.5), GREEDY, True),
        (Options(seed=0, top_k=3), GREEDY, True),
        (Options(seed=0, repetition_penalty=1.1), GREEDY, False),
    ],
)
def test_a_request_samples_when_it_says_so_or_else_as_the_checkpoint_does(
    options: Options, checkpoint: GenerationConfig, sampled: bool
) -> None:
    assert is_sampled(options, checkpoint) is sampled
    assert generation_config(options, checkpoint, 10).do_sample is sampled


def test_what_is_given_replaces_the_checkpoints_settings_and_the_rest_stays() -> None:
    config = generation_config(Options(seed=0, top_p=0.5, repetition_penalty=1.2), SAMPLING, 10)
    assert (config.temperature, config.top_k, config.top_p) == (0.8, 2, 0.5)
    assert (config.repetition_penalty, config.max_new_tokens, config.max_length) == (1.2, 10, None)
    assert (SAMPLING.top_p, SAMPLING.max_new_tokens) != (0.5, 10)


def test_a_checkpoint_without_a_padding_token_pads_with_a_stop_token() -> None:
    assert generation_config(Options(seed=0), GREEDY, 10).pad_token_id == 1
    assert generation_config(Options(seed=0), SAMPLING, 10).pad_token_id == 0


@pytest.mark.parametrize(("eos", "ids"), [(7, [7]), ([7, 8], [7, 8]), (None, [])])
def test_stop_tokens_are_a_list_however_they_are_written(eos: int | list[int] | None, ids: list[int]) -> None:
    assert stop_token_ids(defaults(eos_token_id=eos)) == ids
