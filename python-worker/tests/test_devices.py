"""Which devices, and how much of the processor, a model is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from drawing import encode, red_circle
from embedded import MODEL, Caller, start_line, user
from transformers import Glm4vForConditionalGeneration

from glimpse_worker.checkpoint import load_model, open_checkpoint
from glimpse_worker.engine.interface import Emit, Engine
from glimpse_worker.engine.readiness import devices_of
from glimpse_worker.engine.reference import load_reference
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.protocol import ReferenceEngine

SPREAD = ReferenceEngine(device_map="auto")


def load(**changes: Any) -> Callable[[Emit], Engine]:
    return lambda emit: load_reference(start_line(engine=SPREAD, **changes), SPREAD, lambda *_: None, emit)


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The device maps that models are loaded with."""
    maps: list[Any] = []
    original = Glm4vForConditionalGeneration.from_pretrained

    def watched(*arguments: Any, **options: Any) -> Any:
        maps.append(options["device_map"])
        return original(*arguments, **options)

    monkeypatch.setattr(Glm4vForConditionalGeneration, "from_pretrained", watched)
    return maps


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, auto is not the CPU")
def test_a_model_that_is_spread_over_all_devices_answers_as_on_one(asked_for: list[Any]) -> None:
    caller = Caller(load(device="auto"))
    assert asked_for == ["auto"]
    assert (caller.engine.ready.device.id, caller.engine.ready.dtype) == ("cpu", "float32")
    answer = caller.ask([user(0, "Describe this image.")], [encode(red_circle())])
    assert answer.text == "A red circle on a white background."
    caller.engine.close()


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_one_device_and_all_devices_do_not_go_together(device: str) -> None:
    with pytest.raises(WorkerFailure) as caught:
        load(device=device)(lambda _: None)
    assert caught.value.code == "INVALID_REQUEST"
    assert caught.value.message.endswith(f"device has to be auto or cuda, got '{device}'")
    assert "CUDA_VISIBLE_DEVICES" in (caught.value.hint or "")


def test_layers_that_only_fit_beside_the_gpus_are_refused() -> None:
    # Loaded on the CPU for want of a GPU, which is what accelerate does with layers that do not fit.
    checkpoint = open_checkpoint(start_line(), lambda *_: None)
    with pytest.raises(WorkerFailure) as caught:
        load_model(checkpoint, torch.device("cuda", 0), "float32", lambda *_: None, spread=True)
    assert caught.value.code == "GPU_OUT_OF_MEMORY"
    assert caught.value.message.endswith("do not fit into the memory of all GPUs together")


def test_the_devices_of_a_model_are_those_of_its_weights_in_their_order() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1, device="meta"))
    assert devices_of(model) == [torch.device("cpu"), torch.device("meta")]


@pytest.mark.parametrize(("threads", "set_to"), [(3, [3]), (None, [])])
def test_a_worker_computes_with_the_threads_it_is_given(
    threads: int | None, set_to: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    engine = load_reference(
        start_line(str(MODEL), threads=threads), ReferenceEngine(), lambda *_: None, lambda _: None
    )
    engine.close()
    assert counts == set_to
