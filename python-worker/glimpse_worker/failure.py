"""What went wrong, by the code that the caller of the library will see."""

from __future__ import annotations

import traceback

from .protocol import Error, ErrorCode, Failed, RequestKey


class WorkerFailure(Exception):
    """A failure with a name: ends one request, or the start of the worker, depending on where it is raised.

    `message` says which option or input, what was expected and what came; `hint` says what to do about it.
    `media` is the index of the medium at fault, when there is one.
    """

    def __init__(
        self, code: ErrorCode, message: str, hint: str | None = None, media: int | None = None
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.hint = hint
        self.media = media


def failed(error: BaseException) -> Failed:
    """The message that ends the start of a worker."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, WorkerFailure):
        return Failed(code=error.code, message=error.message, hint=error.hint, traceback=trace)
    if isinstance(error, ModuleNotFoundError):
        return Failed(
            code="PYTHON_DEPS_MISSING",
            message=f"the worker's Python environment lacks the package {error.name}",
            hint="Run `npx glimpse setup`, or install it into the interpreter that `python` names.",
            traceback=trace,
        )
    return Failed(
        code="WORKER_START_FAILED",
        message=f"the worker could not start: {type(error).__name__}: {error}",
        hint="The traceback names the place.",
        traceback=trace,
    )


def request_error(key: RequestKey, error: Exception) -> Error:
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
