"""Which options make a request sample, and with what settings."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from embedded import MODEL
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GenerationConfig,
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from glimpse_worker.failure import WorkerFailure
from glimpse_worker.protocol import Options
from glimpse_worker.sampling import (
    MAX_TOP_K,
    Sampling,
    check_generation_config,
    check_options,
    check_paged_generation_config,
    generation_config,
    is_sampled,
    resolve_sampling,
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


@pytest.fixture(scope="module")
def model() -> Any:
    """A model without weights, for what `generate` does before it computes."""
    with torch.device("meta"):
        return Glm4vForConditionalGeneration(Glm4vConfig.from_pretrained(MODEL))


def done_by_generate(model: Any, options: Options, checkpoint: GenerationConfig) -> Sampling:
    """What transformers would do to the scores, read from the processors that it makes."""
    model.generation_config = checkpoint
    config, _ = model._prepare_generation_config(generation_config(options, checkpoint, 10))
    processors = {
        type(processor): processor
        for processor in model._get_logits_processor(config, input_ids_seq_length=5, device="cpu")
    }
    penalty = processors.pop(RepetitionPenaltyLogitsProcessor, None)
    temperature = processors.pop(TemperatureLogitsWarper, None)
    top_p = processors.pop(TopPLogitsWarper, None)
    top_k = processors.pop(TopKLogitsWarper, None)
    assert not processors
    warm = temperature.temperature if temperature else 1.0
    return Sampling(
        temperature=warm if config.do_sample else 0.0,
        top_p=top_p.top_p if top_p else 1.0,
        top_k=top_k.top_k if top_k else 0,
        repetition_penalty=penalty.penalty if penalty else 1.0,
        seed=options.seed,
    )


def maybe(*values: float) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


@settings(max_examples=300)
@given(
    options=st.builds(
        Options,
        seed=st.just(7),
        temperature=maybe(0.0, 1e-6, 0.5, 1.0),
        top_p=maybe(0.3, 1.0),
        top_k=maybe(1, 20, 10_000),
        repetition_penalty=maybe(1.0, 1.2),
    ),
    checkpoint=st.fixed_dictionaries(
        {"eos_token_id": st.just(1), "do_sample": st.sampled_from([None, False, True])},
        optional={
            "temperature": maybe(0.0, 0.8, 1.0),
            "top_p": maybe(0.0, 0.6, 1.0),
            "top_k": maybe(0, 2, 50),
            "repetition_penalty": maybe(1.0, 1.1),
        },
    ),
)
def test_the_paged_engine_samples_as_generate_would(
    model: Any, options: Options, checkpoint: dict[str, Any]
) -> None:
    expected = done_by_generate(model, options, defaults(**checkpoint))
    assert resolve_sampling(options, defaults(**checkpoint)) == expected


def test_a_checkpoint_that_says_nothing_samples_among_the_50_best() -> None:
    assert resolve_sampling(Options(seed=3, temperature=0.5), GREEDY) == Sampling(0.5, 1.0, 50, 1.0, 3)


def test_a_top_k_beyond_all_vocabularies_is_kept_within_32_bits() -> None:
    assert resolve_sampling(Options(seed=0, top_k=2**40), GREEDY).top_k == MAX_TOP_K


# What _get_logits_processor reads and the paged engine follows, or what changes no choice.
FOLLOWED = {
    "_eos_token_tensor",
    "do_sample",
    "max_length",
    "renormalize_logits",
    "repetition_penalty",
    "temperature",
    "top_k",
    "top_p",
    "use_cache",
}


def check_for_paged(directory: Path) -> None:
    check_generation_config(directory)
    check_paged_generation_config(directory)


def test_what_else_transformers_would_do_to_the_scores_is_refused_by_name(tmp_path: Path) -> None:
    source = inspect.getsource(Glm4vForConditionalGeneration._get_logits_processor)
    read = set(re.findall(r"generation_config\.(\w+)", source))
    assert read > FOLLOWED
    for name in sorted(read - FOLLOWED):
        with pytest.raises(WorkerFailure, match=rf"generation_config\.json: {name} is 3; ") as caught:
            check_for_paged(generation_file(tmp_path, **{name: 3}))
        assert caught.value.code == "MODEL_UNSUPPORTED"


def test_what_only_the_reference_engine_does_is_said_with_its_name(tmp_path: Path) -> None:
    generation_file(tmp_path, min_p=0.1)
    check_generation_config(tmp_path)
    with pytest.raises(WorkerFailure, match=r"min_p is 0\.1; the paged engine") as caught:
        check_paged_generation_config(tmp_path)
    assert 'engine: "reference"' in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", "1"),
        ("top_p", 1.5),
        ("top_p", float("nan")),
        ("top_k", -1),
        ("top_k", 2.0),
        ("top_k", 2**31),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(WorkerFailure, match=rf"generation_config\.json: {name} should be a ") as caught:
        check_paged_generation_config(generation_file(tmp_path, **{name: value}))
    assert caught.value.code == "MODEL_UNSUPPORTED"


def test_the_paged_engine_takes_a_checkpoint_whose_settings_change_nothing(tmp_path: Path) -> None:
    check_paged_generation_config(tmp_path)
    neutral: dict[str, object] = {
        "min_length": 0,
        "no_repeat_ngram_size": 0,
        "typical_p": 1.0,
        "epsilon_cutoff": 0.0,
        "encoder_repetition_penalty": 1.0,
        "remove_invalid_values": False,
        "suppress_tokens": None,
    }
    check_paged_generation_config(
        generation_file(tmp_path, **neutral, do_sample=True, temperature=0.8, top_k=2, top_p=0.6)
    )
