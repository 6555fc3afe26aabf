"""Which options make a request sample, and with what settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper

from glimpse_worker.failure import WorkerFailure
from glimpse_worker.protocol import Options
from glimpse_worker.sampling import (
    check_generation_config,
    check_options,
    generation_config,
    is_sampled,
    stop_token_ids,
)


def defaults(**fields: Any) -> GenerationConfig:
    config: GenerationConfig = GenerationConfig.from_dict(fields)
    return config


GREEDY = defaults(do_sample=False, eos_token_id=[1, 2])
SAMPLING = defaults(do_sample=True, temperature=0.8, top_k=2, eos_token_id=[1, 2], pad_token_id=0)
FROZEN = defaults(do_sample=True, temperature=0.0, eos_token_id=1)


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
        (Options(seed=0, temperature=0.9e-5), SAMPLING, False),
        (Options(seed=0, temperature=1e-5), GREEDY, True),
        (Options(seed=0), FROZEN, False),
        (Options(seed=0, top_p=0.5), FROZEN, False),
        (Options(seed=0, temperature=0.7), FROZEN, True),
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


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (Options(seed=0, temperature=101.0), "temperature"),
        (Options(seed=0, temperature=float("inf")), "temperature"),
        (Options(seed=0, temperature=float("nan")), "temperature"),
        (Options(seed=0, repetition_penalty=1e-40), "repetitionPenalty"),
        (Options(seed=0, repetition_penalty=1e38), "repetitionPenalty"),
        (Options(seed=0, repetition_penalty=float("nan")), "repetitionPenalty"),
    ],
)
def test_numbers_that_would_break_the_scores_are_refused_by_name(options: Options, name: str) -> None:
    with pytest.raises(WorkerFailure, match=f"{name}: expected a number from") as caught:
        check_options(options)
    assert caught.value.code == "INVALID_REQUEST"


@pytest.mark.parametrize("temperature", [0.0, 1e-38, 1e-6, 1.0, 100.0])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
def test_numbers_within_the_bounds_give_probabilities(temperature: float, penalty: float) -> None:
    options = Options(seed=0, temperature=temperature, repetition_penalty=penalty)
    check_options(options)
    config = generation_config(options, GREEDY, 10)
    seen = torch.tensor([[0, 1]])
    scores = RepetitionPenaltyLogitsProcessor(penalty)(seen, torch.tensor([[-1e4, 1e4, 0.0, 1.0]]))
    if config.do_sample:
        scores = TemperatureLogitsWarper(config.temperature)(seen, scores)
    assert float(scores.softmax(-1).sum()) == pytest.approx(1)


def generation_file(directory: Path, **fields: Any) -> Path:
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": 1, **fields}))
    return directory


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beams", 3),
        ("num_return_sequences", 2),
        ("stop_strings", ["x"]),
        ("max_time", 0.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", "1"),
    ],
)
def test_a_checkpoint_that_asks_for_another_way_of_generating_is_refused(
    name: str, value: object, tmp_path: Path
) -> None:
    with pytest.raises(WorkerFailure, match=rf"generation_config\.json: {name} ") as caught:
        check_generation_config(generation_file(tmp_path, **{name: value}))
    assert caught.value.code == "MODEL_UNSUPPORTED"


def test_a_checkpoint_whose_settings_change_nothing_is_taken(tmp_path: Path) -> None:
    check_generation_config(tmp_path)
    check_generation_config(generation_file(tmp_path, num_beams=1, max_time=None, repetition_penalty=1.1))
