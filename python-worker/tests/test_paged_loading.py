"""What the paged engine takes, what it refuses by name before the weights, and how much memory it fills."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from boards import CIRCLE, expected
from embedded import MODEL, Caller, start_line, user
from paged import TOKEN_BYTES

from glimpse_worker.engine.interface import Emit, Engine
from glimpse_worker.engine.paged.loading import load_paged
from glimpse_worker.engine.paged.memory import MEMINFO, Plan, allocate_caches, free_memory, plan_memory
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.protocol import Dtype, PagedEngine

MiB = 1024**2


def load(
    emit: Emit = lambda _: None,
    *,
    model: Path = MODEL,
    memory: int | None = None,
    dtype: Dtype = "auto",
    stages: list[str] | None = None,
) -> Engine:
    choice = PagedEngine(kv_cache_memory_bytes=memory)
    start = start_line(str(model), dtype=dtype, engine=choice)
    seen = [] if stages is None else stages
    return load_paged(start, choice, lambda stage, *_: seen.append(stage), emit)


def changed(directory: Path, file: str, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the embedded model whose `file` is changed."""
    copy = directory / "model"
    shutil.copytree(MODEL, copy)
    fields = json.loads((copy / file).read_text())
    change(fields)
    (copy / file).write_text(json.dumps(fields))
    return copy


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "config.json",
            lambda config: config["text_config"]["rope_parameters"].update(rope_type="yarn", factor=4.0),
            "text_config.rope_parameters.rope_type is 'yarn'",
        ),
        (
            "config.json",
            lambda config: config["text_config"].update(hidden_act="gelu"),
            "text_config.hidden_act is 'gelu'",
        ),
        (
            "config.json",
            lambda config: config["text_config"].update(attention_bias=False),
            "text_config.attention_bias is False",
        ),
        (
            "config.json",
            lambda config: config["vision_config"].update(hidden_act="gelu"),
            "vision_config.hidden_act is 'gelu'",
        ),
        (
            "config.json",
            lambda config: config["vision_config"].update(attention_bias=True),
            "vision_config.attention_bias is True",
        ),
        (
            "generation_config.json",
            lambda config: config.update(no_repeat_ngram_size=3),
            "no_repeat_ngram_size is 3",
        ),
        ("generation_config.json", lambda config: config.update(min_p=0.1), "min_p is 0.1"),
        (
            "generation_config.json",
            lambda config: config.update(bad_words_ids=[[7]]),
            "bad_words_ids is [[7]]",
        ),
    ],
    ids=[
        "yarn",
        "text activation",
        "no bias",
        "vision activation",
        "vision bias",
        "n-grams",
        "min_p",
        "bad words",
    ],
)
def test_what_only_the_reference_engine_runs_is_refused_by_name_before_the_weights_are_loaded(
    file: str, change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    stages: list[str] = []
    with pytest.raises(WorkerFailure) as caught:
        load(model=changed(tmp_path, file, change), memory=MiB, stages=stages)
    failure = caught.value
    assert failure.code == "MODEL_UNSUPPORTED"
    assert file in failure.message
    assert message in failure.message
    assert '"reference"' in (failure.hint or "")
    assert "weights" not in stages


def test_videos_that_are_normalised_in_another_way_than_pictures_are_refused(tmp_path: Path) -> None:
    copy = changed(
        tmp_path, "video_preprocessor_config.json", lambda config: config.update(image_mean=[0.5, 0.5, 0.5])
    )
    with pytest.raises(WorkerFailure, match="of pictures and of videos differ") as caught:
        load(model=copy, memory=MiB)
    assert caught.value.code == "MODEL_UNSUPPORTED"
    assert '"reference"' in (caught.value.hint or "")


def test_settings_that_change_nothing_are_no_reason_to_refuse(tmp_path: Path) -> None:
    neutral = {"no_repeat_ngram_size": 0, "min_p": None, "typical_p": 1.0, "bad_words_ids": None}
    copy = changed(tmp_path, "generation_config.json", lambda config: config.update(neutral))
    load(model=copy, memory=MiB).close()


class Loaded(Caller):
    """A caller of an engine that was loaded as the worker does it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(lambda emit: load(emit, **options))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_dtype_answers_on_the_cpu(dtype: Dtype) -> None:
    own = Loaded(memory=MiB, dtype=dtype)
    with closing(own.engine):
        answer = own.ask(CIRCLE.messages, CIRCLE.media(), max_new_tokens=20)
        assert answer.text == "A red circle on a white background."
        assert own.engine.ready.dtype == dtype
        # As much memory holds twice as many tokens of half the size.
        assert own.engine.ready.kv_cache_tokens == (512 if dtype == "float32" else 1024)
        if dtype == "float32":
            assert answer.ids == expected(CIRCLE, 20)


def test_the_context_is_cut_to_what_the_kv_cache_holds() -> None:
    own = Loaded(memory=300 * TOKEN_BYTES)
    with closing(own.engine):
        # Whole pages of 16 tokens.
        assert (own.engine.ready.kv_cache_tokens, own.engine.ready.context_length) == (288, 288)
        failure = own.ask([user("word " * 300)]).error
        assert failure.code == "CONTEXT_TOO_LONG"
        assert "288" in failure.message


def test_a_kv_cache_beyond_the_context_leaves_the_context_as_it_is() -> None:
    engine = load(memory=3000 * TOKEN_BYTES)
    with closing(engine):
        assert (engine.ready.kv_cache_tokens, engine.ready.context_length) == (2992, 2048)


def test_a_kv_cache_that_is_too_small_to_be_of_use_is_refused_with_the_numbers() -> None:
    with pytest.raises(WorkerFailure) as caught:
        load(memory=256 * TOKEN_BYTES - 1)
    assert caught.value.code == "INVALID_REQUEST"
    assert caught.value.message == (
        f"kvCacheMemoryBytes: expected at least {256 * TOKEN_BYTES} bytes for the keys and values of 256 "
        f"tokens, got {256 * TOKEN_BYTES - 1}"
    )
    load(memory=256 * TOKEN_BYTES).close()


def test_a_kv_cache_that_is_larger_than_the_memory_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        WorkerFailure, match=r"kvCacheMemoryBytes: expected at most \d+.*, got 2{51}"
    ) as caught:
        load(memory=int("2" * 51))
    assert caught.value.code == "GPU_OUT_OF_MEMORY"


@dataclass(frozen=True)
class Model:
    """What memory.py has to know of a decoder, with the sizes of GLM-4.1V-9B."""

    device: torch.device
    layers: int = 40
    kv_heads: int = 2
    head_dim: int = 128
    dtype: torch.dtype = torch.bfloat16


NINE_B_TOKEN_BYTES = 2 * 40 * 2 * 128 * 2
GiB = 1024**3


def plan(device: Literal["cpu", "cuda"], free: int, asked: int | None = None, most: int = 10**9) -> Plan:
    model: Any = Model(torch.device(device))
    return plan_memory(model, page_size=64, asked=asked, free=free, most_tokens=most)


def test_a_gpu_gives_nearly_all_that_is_free_to_the_caches() -> None:
    made = plan("cuda", 60 * GiB)
    caches = made.pages * 64 * NINE_B_TOKEN_BYTES + made.feature_bytes
    assert 0.89 * 60 * GiB < caches <= 0.9 * 60 * GiB
    assert made.feature_bytes == 2 * GiB


def test_a_cpu_leaves_most_of_its_memory_to_other_programs() -> None:
    made = plan("cpu", 60 * GiB)
    caches = made.pages * 64 * NINE_B_TOKEN_BYTES + made.feature_bytes
    assert 0.2 * 60 * GiB < caches <= 0.25 * 60 * GiB


def test_no_more_is_taken_than_all_requests_can_ever_fill() -> None:
    assert plan("cuda", 60 * GiB, most=1000).pages == 16


@pytest.mark.parametrize("free", [5 * MiB, 0])
def test_a_device_that_is_full_is_named_with_the_bytes_that_are_missing(free: int) -> None:
    with pytest.raises(WorkerFailure, match=f"expected at least {256 * NINE_B_TOKEN_BYTES} bytes") as caught:
        plan("cuda", free)
    assert caught.value.code == "GPU_OUT_OF_MEMORY"
    assert caught.value.hint is not None


def test_what_is_asked_for_must_fit_beside_the_pictures() -> None:
    assert plan("cuda", 10 * GiB, asked=9 * GiB).pages == 9 * GiB // (64 * NINE_B_TOKEN_BYTES)
    with pytest.raises(WorkerFailure, match="kvCacheMemoryBytes: expected at most") as caught:
        plan("cuda", 10 * GiB, asked=10 * GiB)
    assert caught.value.code == "GPU_OUT_OF_MEMORY"


def test_memory_that_somebody_else_took_meanwhile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(torch, "zeros", full)
    model: Any = Model(torch.device("cpu"))
    with pytest.raises(WorkerFailure, match="the KV cache of 640 tokens does not fit") as caught:
        allocate_caches(model, 10, 64)
    assert caught.value.code == "GPU_OUT_OF_MEMORY"
    assert "kvCacheMemoryBytes" in (caught.value.hint or "")


def test_memory_that_the_system_uses_for_files_only_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the checkpoint, which has just been read, would leave a machine without memory."""
    told = tmp_path / "meminfo"
    told.write_text(
        "MemTotal:       24684092 kB\n"
        "MemFree:         1268280 kB\n"
        "MemAvailable:   20104048 kB\n"
        "Cached:         19679732 kB\n"
    )
    monkeypatch.setattr("glimpse_worker.engine.paged.memory.MEMINFO", told)
    assert free_memory(torch.device("cpu")) == 1024 * 20104048


@pytest.mark.skipif(not MEMINFO.is_file(), reason="the system is not Linux")
def test_linux_says_how_much_memory_is_free_where_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sysconf")
    assert free_memory(torch.device("cpu")) > 0
