"""What the engines of the bench have in common: a request's text, and an answer without a model."""

from __future__ import annotations

from glimpse_worker.engine.interface import Emit
from glimpse_worker.protocol import Done, Generate, TextContent, TextPart, Timing, Tokens, TokensItem, Usage


def text_of(request: Generate) -> str:
    contents = (content for message in request.messages for content in message.content)
    return "".join(content.text for content in contents if isinstance(content, TextContent))


def answer(emit: Emit, request: Generate, text: str, tokens: int = 0) -> None:
    """Ends a request with `text`, after so many tokens."""
    last = TokensItem(
        request=request.request, attempt=request.attempt, index=tokens, ids=[], parts=[TextPart(text)]
    )
    emit(Tokens(items=[last]))
    emit(
        Done(
            request=request.request,
            attempt=request.attempt,
            finish_reason="stop",
            usage=Usage(
                prompt_tokens=1,
                image_tokens=0,
                cached_tokens=0,
                cached_image_tokens=0,
                thinking_tokens=0,
                completion_tokens=tokens,
            ),
            timing=Timing(queue_ms=0, preprocess_ms=0, prefill_ms=0, decode_ms=0),
        )
    )
