"""How many tokens a request may generate."""

from __future__ import annotations

from .failure import WorkerFailure
from .protocol import RequestKey, RequestWarning

DEFAULT_MAX_NEW_TOKENS = 8192
"""What the model's authors generate at most in their own scripts."""


def new_token_budget(
    key: RequestKey, asked: int | None, *, prompt_tokens: int, image_tokens: int, context_length: int
) -> tuple[int, RequestWarning | None]:
    """The bound on generated tokens, cut to the context that the prompt leaves; the default is cut silently.

    `image_tokens` are those of `prompt_tokens` that stand for pictures or video frames. Raises WorkerFailure
    CONTEXT_TOO_LONG when there is no room for one token.
    """
    room = context_length - prompt_tokens
    if room < 1:
        raise WorkerFailure(
            "CONTEXT_TOO_LONG",
            f"the prompt has {prompt_tokens} tokens, {image_tokens} of them for pictures or video, "
            f"which leaves no room for an answer in the context of {context_length}",
            "Shorten the text, or send fewer or smaller pictures.",
        )
    if asked is None:
        return min(DEFAULT_MAX_NEW_TOKENS, room), None
    if asked <= room:
        return asked, None
    message = (
        f"maxNewTokens: {asked} was cut to {room}, which is what a prompt of {prompt_tokens} tokens leaves"
        f" in the context of {context_length}"
    )
    warning = RequestWarning(
        request=key.request, attempt=key.attempt, code="MAX_NEW_TOKENS_CUT", message=message
    )
    return room, warning
