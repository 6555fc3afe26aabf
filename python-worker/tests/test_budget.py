"""How much a request may generate, and the refusal of a prompt that leaves no room."""

from __future__ import annotations

import pytest

from glimpse_worker.budget import DEFAULT_MAX_NEW_TOKENS, new_token_budget
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.protocol import RequestKey, RequestWarning


def budget(asked: int | None, prompt: int, context: int) -> tuple[int, RequestWarning | None]:
    return new_token_budget(
        RequestKey("a", 0), asked, prompt_tokens=prompt, image_tokens=50, context_length=context
    )


def test_a_prompt_that_fills_the_context_is_refused_with_the_numbers() -> None:
    assert budget(None, prompt=99, context=100) == (1, None)
    with pytest.raises(WorkerFailure) as caught:
        budget(None, prompt=100, context=100)
    assert caught.value.code == "CONTEXT_TOO_LONG"
    assert "100 tokens, 50 of them for pictures or video" in caught.value.message
    assert "context of 100" in caught.value.message


def test_only_a_length_that_was_asked_for_is_cut_with_a_warning() -> None:
    assert budget(None, prompt=10, context=100_000) == (DEFAULT_MAX_NEW_TOKENS, None)
    assert budget(90, prompt=10, context=100) == (90, None)
    room, warning = budget(91, prompt=10, context=100)
    assert room == 90
    assert warning is not None
    assert "91 was cut to 90" in warning.message
