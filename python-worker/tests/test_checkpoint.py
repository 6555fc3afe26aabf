"""A directory is a checkpoint, or it is said what it lacks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from embedded import MODEL, start_line
from safetensors.torch import load_file, save_file
from transformers import Glm4vForConditionalGeneration

from glimpse_worker.checkpoint import load_model, load_tokenizer, open_checkpoint
from glimpse_worker.failure import WorkerFailure


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL, tmp_path / "checkpoint"))


def failure(model: Path | str) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        open_checkpoint(start_line(str(model)), lambda *_: None)
    return caught.value


def test_the_embedded_model_is_a_checkpoint() -> None:
    found = open_checkpoint(start_line(str(MODEL)), lambda *_: None)
    assert (found.directory, found.revision, found.context_length) == (MODEL, None, 2048)
    assert found.weight_bytes == (MODEL / "model.safetensors").stat().st_size


def test_a_path_that_does_not_exist_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ("./nowhere", "no-such-model", "/a/b/c", "~nosuchuser/model", "a" * 300, "a/" * 3000 + "a"):
        caught = failure(model)
        assert caught.code == "MODEL_NOT_FOUND"
        assert str((tmp_path / model).absolute()) in caught.message
        assert "owner/name" in caught.message


def test_a_file_is_no_checkpoint() -> None:
    caught = failure(MODEL / "model.safetensors")
    assert caught.code == "MODEL_NOT_FOUND"
    assert "is a file" in caught.message


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer.json"),
        ("preprocessor_config.json", "has no preprocessor_config.json"),
        ("video_preprocessor_config.json", "has no video_preprocessor_config.json"),
        ("model.safetensors", "has no model.safetensors"),
    ],
)
def test_a_missing_file_is_named(copy: Path, file: str, message: str) -> None:
    (copy / file).unlink()
    caught = failure(copy)
    assert caught.code == "MODEL_UNSUPPORTED"
    assert message in caught.message


def test_weights_in_pickles_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    caught = failure(copy)
    assert caught.code == "MODEL_UNSUPPORTED"
    assert "pickles only" in caught.message


def test_another_architecture_is_refused_by_name(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text()) | {"model_type": "llama"}
    (copy / "config.json").write_text(json.dumps(config))
    assert "model_type is 'llama'; Glimpse runs 'glm4v'" in failure(copy).message


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_config_is_named(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text, encoding="latin-1")
    caught = failure(copy)
    assert caught.code == "MODEL_UNSUPPORTED"
    assert str(copy / "config.json") in caught.message


def change_config(directory: Path, change: Callable[[Any], object]) -> None:
    config = json.loads((directory / "config.json").read_text())
    change(config)
    (directory / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("half", ["text_config", "vision_config"])
@pytest.mark.parametrize("value", [None, [], "glm4v_text"])
def test_a_config_without_its_halves_is_refused(copy: Path, half: str, value: object) -> None:
    change_config(copy, lambda config: config.update({half: value}))
    caught = failure(copy)
    assert caught.code == "MODEL_UNSUPPORTED"
    assert f"{half} should be an object, but is {value!r}" in caught.message


def test_a_config_with_a_value_of_the_wrong_type_is_refused_by_its_name(copy: Path) -> None:
    change_config(copy, lambda config: config["text_config"].update(hidden_size="x"))
    caught = failure(copy)
    assert caught.code == "MODEL_UNSUPPORTED"
    assert f"{copy} cannot be loaded: " in caught.message
    assert "hidden_size" in caught.message


@pytest.mark.parametrize("text", ["{}", "[]", "{"])
def test_a_damaged_tokenizer_is_refused(copy: Path, text: str) -> None:
    (copy / "tokenizer.json").write_text(text)
    found = open_checkpoint(start_line(str(copy)), lambda *_: None)
    with pytest.raises(WorkerFailure, match="cannot be loaded") as caught:
        load_tokenizer(found)
    assert caught.value.code == "MODEL_UNSUPPORTED"


def shard(directory: Path) -> list[str]:
    tensors = load_file(directory / "model.safetensors")
    names = sorted(tensors)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    halves: Callable[[int], list[str]] = lambda n: names[n::2]  # noqa: E731
    for number, file in enumerate(files):
        save_file(
            {name: tensors[name] for name in halves(number)}, directory / file, metadata={"format": "pt"}
        )
    weight_map: dict[str, Any] = {name: files[number] for number in (0, 1) for name in halves(number)}
    (directory / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    (directory / "model.safetensors").unlink()
    return files


def test_weights_in_several_files_give_the_same_model(copy: Path) -> None:
    shard(copy)
    cpu, said = torch.device("cpu"), list[Any]()
    parted = load_model(
        open_checkpoint(start_line(str(copy)), lambda *_: None), cpu, "auto", lambda *x: said.append(x)
    )
    whole = load_model(
        open_checkpoint(start_line(str(MODEL)), lambda *_: None), cpu, "float32", lambda *_: None
    )
    assert parted.dtype == torch.float32
    assert not parted.training
    assert all(torch.equal(a, b) for a, b in zip(parted.parameters(), whole.parameters(), strict=True))
    total = sum(file.stat().st_size for file in copy.glob("*.safetensors"))
    assert {(stage, of) for stage, _, of in said} == {("weights", total)}
    done = [bytes for _, bytes, _ in said]
    assert (done, done[0], done[-1]) == (sorted(done), 0, total)
    # One report for each tensor, more or less: minutes of loading are not silent.
    assert len(done) > 50


def test_an_index_left_beside_the_whole_weights_is_ignored(copy: Path) -> None:
    weight_map = {"lm_head.weight": "model-00001-of-00002.safetensors"}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    found = open_checkpoint(start_line(str(copy)), lambda *_: None)
    assert found.weight_bytes == (copy / "model.safetensors").stat().st_size


@pytest.mark.parametrize("weight_map", [[1], {"lm_head.weight": ["model.safetensors"]}, None])
def test_an_index_that_names_no_files_is_refused(copy: Path, weight_map: object) -> None:
    shard(copy)
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    caught = failure(copy)
    assert caught.code == "MODEL_UNSUPPORTED"
    assert "weight_map does not name a file for each weight" in caught.message


def test_a_missing_shard_is_named(copy: Path) -> None:
    missing = shard(copy)[1]
    (copy / missing).unlink()
    assert f"lacks 1 of 2 weight files, {missing} first" in failure(copy).message


def load_failure(directory: Path) -> WorkerFailure:
    found = open_checkpoint(start_line(str(directory)), lambda *_: None)
    with pytest.raises(WorkerFailure) as caught:
        load_model(found, torch.device("cpu"), "auto", lambda *_: None)
    assert caught.value.code == "MODEL_UNSUPPORTED"
    return caught.value


def test_weights_that_are_missing_are_named_rather_than_drawn_at_random(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 of the weights, lm_head.weight first" in load_failure(copy).message


def test_weights_of_another_size_than_the_config_says_are_refused(copy: Path) -> None:
    change_config(copy, lambda config: config["text_config"].update(intermediate_size=77))
    assert "cannot be loaded" in load_failure(copy).message


@pytest.mark.parametrize("error", [RuntimeError("HIP out of memory."), torch.OutOfMemoryError("CUDA")])
def test_weights_that_do_not_fit_into_the_device_say_so(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise error

    found = open_checkpoint(start_line(str(MODEL)), lambda *_: None)
    monkeypatch.setattr(Glm4vForConditionalGeneration, "from_pretrained", exhausted)
    with pytest.raises(WorkerFailure, match=f"{found.weight_bytes} bytes on disk") as caught:
        load_model(found, torch.device("cpu"), "auto", lambda *_: None)
    assert caught.value.code == "GPU_OUT_OF_MEMORY"


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"]
)
def test_a_file_that_is_no_safetensors_is_called_damaged(copy: Path, content: bytes) -> None:
    (copy / "model.safetensors").write_bytes(content)
    assert "damaged weights" in load_failure(copy).message


def test_a_truncated_weight_file_is_called_damaged(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "damaged weights" in load_failure(copy).message


def test_bfloat16_can_be_asked_for_on_a_processor() -> None:
    found = open_checkpoint(start_line(str(MODEL)), lambda *_: None)
    assert load_model(found, torch.device("cpu"), "bfloat16", lambda *_: None).dtype == torch.bfloat16


def test_a_checkpoint_without_a_chat_template_is_refused(copy: Path) -> None:
    from glimpse_worker.prompt import PromptBuilder

    (copy / "chat_template.jinja").unlink()
    found = open_checkpoint(start_line(str(copy)), lambda *_: None)
    with pytest.raises(WorkerFailure, match="no chat template") as caught:
        PromptBuilder(load_tokenizer(found), found.placeholders)
    assert caught.value.code == "MODEL_UNSUPPORTED"
