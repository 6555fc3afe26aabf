"""What only the reference engine does; test_engines has what both do."""

from __future__ import annotations

import gc
import pkgutil
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import torch
from drawing import encode, noise, red_circle
from embedded import PATIENCE_S, Answer, Caller, caller, user
from transformers import Glm4vForConditionalGeneration

from glimpse_worker.prepare import Prepared, prepare

DESCRIBE = [user(0, "Describe this image.")]


def test_what_only_the_paged_engine_does_is_refused_by_name_and_the_next_request_works() -> None:
    bounded = caller().ask([user("Hello")], max_thinking_tokens=0).error
    resumed = caller().ask([user("Hello")], generated=[1, 2]).error
    for failure, name in ((bounded, "maxThinkingTokens: "), (resumed, "generated: ")):
        assert failure.code == "INVALID_REQUEST"
        assert failure.message.startswith(f"{name}the reference engine cannot")
        assert (failure.hint or "").startswith('Launch with engine "paged".')
    assert "thinking: true" in (bounded.hint or "")
    assert caller().ask([user("Hello")], max_new_tokens=2).done


def test_cancelling_ends_a_waiting_request_before_the_running_one_has_ended() -> None:
    waiting: list[Answer] = []

    def submit_and_cancel_another(running: Answer) -> None:
        if len(running.ids) == 1:
            waiting.append(caller().submit([user("Hello")]))
            caller().cancel(waiting[0])
            assert waiting[0].ended.is_set()

    running = caller().submit(DESCRIBE, [encode(red_circle())], on_token=submit_and_cancel_another).wait()
    assert running.done.finish_reason == "stop"
    assert (waiting[0].done.finish_reason, waiting[0].ids) == ("cancelled", [])
    assert waiting[0].done.usage.prompt_tokens == 0


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_args: object, **_options: object) -> NoReturn:
        raise error

    return fail


def test_ready_says_what_the_checkpoint_and_the_machine_are() -> None:
    ready = caller().engine.ready
    assert (ready.engine, ready.dtype, ready.device.kind, ready.device.id) == (
        "reference",
        "float32",
        "cpu",
        "cpu",
    )
    assert ready.device.name
    assert (ready.slots, ready.kv_cache_tokens) == (2, None)
    assert (ready.context_length, ready.stop_token_ids) == (2048, [490, 497, 499])
    assert (ready.image_limits.min_pixels, ready.image_limits.max_pixels) == (12_544, 150_528)
    assert ready.video_limits.max_pixels == 125_440
    assert set(ready.versions) == {"python", "torch", "transformers", "glimpse_worker"}


class Panic(BaseException):
    """As pyo3 raises them: a panic in Rust code is no Exception."""


def test_a_panic_while_tokens_are_generated_ends_its_request_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Glm4vForConditionalGeneration, "generate", raising(Panic("at the disco")))
        assert "Panic: at the disco" in caller().ask([user("Hello")]).error.message
    assert caller().ask([user("Hello")], max_new_tokens=2).done


def test_a_device_that_takes_no_more_work_ends_the_engine_after_the_error_of_the_guilty_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = torch.AcceleratorError("CUDA error: device-side assert triggered", 710)
    monkeypatch.setattr(Glm4vForConditionalGeneration, "generate", raising(broken))
    monkeypatch.setattr("glimpse_worker.engine.reference_engine.settle", raising(broken))
    own = Caller()
    guilty = own.submit([user("Hello")])
    bystander = own.submit([user("Hello")])
    assert own.broken.wait(PATIENCE_S)
    assert guilty.error.code == "GENERATION_FAILED"
    assert "device-side assert" in guilty.error.message
    assert own.fault is not None
    assert "device-side assert" in own.fault.message
    assert not bystander.ended.is_set()


@pytest.fixture
def patches(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[torch.Tensor]]:
    """Those of every picture that the engine prepares, as long as somebody holds them."""
    seen: list[weakref.ref[torch.Tensor]] = []

    def watched(*arguments: Any) -> Prepared:
        prepared = prepare(*arguments)
        seen.extend(weakref.ref(medium.pixels.frames) for medium in prepared.media if medium.pixels)
        return prepared

    monkeypatch.setattr("glimpse_worker.engine.reference_engine.prepare", watched)
    return seen


def test_a_cancelled_request_lets_go_of_its_pictures_while_another_generates(
    patches: list[weakref.ref[torch.Tensor]],
) -> None:
    held: list[bool] = []

    def cancel_others(running: Answer) -> None:
        if len(running.ids) != 1:
            return
        waiting = [caller().submit(DESCRIBE, [encode(noise(388, 388))]) for _ in range(3)]
        # A damaged picture ends while it is prepared, so those before it are waiting for the model by then.
        caller().ask(DESCRIBE, [b"nothing"])
        for answer in waiting:
            caller().cancel(answer)
        gc.collect()
        held.extend(one() is not None for one in patches[1:])

    caller().submit(DESCRIBE, [encode(red_circle())], on_token=cancel_others).wait()
    assert held == [False] * 3


@pytest.mark.parametrize(
    ("step", "decoded"),
    [("glimpse_worker.prompt.PromptBuilder.build", 0), ("glimpse_worker.decoding.image_pixels", 1)],
    ids=["before its pictures are decoded", "after that"],
)
def test_a_request_that_is_cancelled_while_it_is_prepared_is_not_kept(
    step: str, decoded: int, patches: list[weakref.ref[torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Answer] = []
    original = pkgutil.resolve_name(step)
    held: list[bool] = []

    def cancelling(*arguments: Any) -> Any:
        if waiting:
            caller().cancel(waiting.pop())
        return original(*arguments)

    def submit_another(running: Answer) -> None:
        if len(running.ids) == 1:
            monkeypatch.setattr(step, cancelling)
            waiting.append(Answer(f"r{len(caller().answers)}"))
            another = caller().submit(DESCRIBE, [encode(noise(388, 388))])
            caller().ask(DESCRIBE, [b"nothing"])
            assert another.done.finish_reason == "cancelled"
            gc.collect()
            held.extend(one() is not None for one in patches[1:])

    caller().submit(DESCRIBE, [encode(red_circle())], on_token=submit_another).wait()
    assert held == [False] * decoded
