"""What the reference engine refuses by name, because only the paged one can do it."""

from __future__ import annotations

from ..failure import WorkerFailure
from ..protocol import Generate

_HINT = 'Launch with engine "paged".'


def refuse_what_only_paged_does(request: Generate) -> None:
    """INVALID_REQUEST for a request that transformers' own `generate` cannot run as it is asked."""
    if request.options.max_thinking_tokens is not None:
        raise WorkerFailure(
            "INVALID_REQUEST",
            "maxThinkingTokens: the reference engine cannot bound the thinking",
            # The ready tasks set it to 0.
            f"{_HINT} A ready task takes thinking: true, and then sets no bound.",
        )
    if request.generated is not None:
        raise WorkerFailure(
            "INVALID_REQUEST",
            f"generated: the reference engine cannot go on after the {len(request.generated)} tokens of an "
            "earlier attempt",
            _HINT,
        )
