"""What went wrong, by the code that the caller of the library will see."""

from __future__ import annotations

import traceback

from .protocol import Error, ErrorCode, Failed, RequestKey


class WorkerFailure(Exception):
    """A failure with a name: ends one request, or the start of the worker, depending on where it is raised.

    `message` says which option or input, what was expected and what came; `hint` says what to do about it.
    `media` is the index of the medium at fault, when there is one. `secret` is a text that may stand in the
    message or in the errors behind it, and is removed before anything is sent.
    """

    def __init__(
        self, code: ErrorCode, message: str, hint: str | None = None, media: int | None = None
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.hint = hint
        self.media = media
        self.secret: str | None = None


def failed(error: BaseException) -> Failed:
    """The message that ends the start of a worker."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, WorkerFailure):
        return Failed(
            code=error.code,
            message=_without(error.secret, error.message),
            hint=error.hint,
            traceback=_without(error.secret, trace),
        )
    return Failed(
        code="WORKER_START_FAILED",
        message=f"the worker could not start: {type(error).__name__}: {error}",
        hint="The traceback names the place.",
        traceback=trace,
    )


def _without(secret: str | None, text: str) -> str:
    return text.replace(secret, "***") if secret else text


def request_error(key: RequestKey, error: BaseException) -> Error:
    """The message that ends one request; an error without a name is GENERATION_FAILED, with its traceback."""
    if isinstance(error, WorkerFailure):
        return Error(
            request=key.request,
            attempt=key.attempt,
            code=error.code,
            message=error.message,
            hint=error.hint,
            media=error.media,
        )
    return Error(
        request=key.request,
        attempt=key.attempt,
        code="GENERATION_FAILED",
        message=f"generation failed: {type(error).__name__}: {error}",
        hint="The traceback names the place.",
        traceback="".join(traceback.format_exception(error)),
    )
