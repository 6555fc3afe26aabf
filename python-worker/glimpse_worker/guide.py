"""A request's way through its grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

import numpy as np

from .bitmask import Bitmask, words
from .failure import WorkerFailure
from .grammar import Grammar

Where = Literal["opening", "thinking", "between", "answer", "ending"]


class Guide:
    """
    Which ids may come next, so that the answer is JSON of the grammar's schema and nothing follows it. A
    function of the ids, whoever generated them: it is called with all that a request has, the first `start`
    of which are its prompt, and they only grow from call to call.
    """

    def __init__(self, grammar: Grammar, start: int) -> None:
        self._grammar = grammar
        self._matcher = grammar.matcher.deep_copy()
        self._where: Where = "opening"
        self._read = start
        self._mask = grammar.opening

    def __call__(self, ids: Sequence[int]) -> Bitmask:
        """Raises INVALID_REQUEST for ids that the grammar does not allow, SCHEMA_UNSUPPORTED for too much."""
        if len(ids) > self._read:
            for id in ids[self._read :]:
                self._take(id)
            self._read = len(ids)
            self._mask = self._next()
        return self._mask

    def _take(self, id: int) -> None:
        tokens = self._grammar.tokens
        match self._where:
            case "opening" if id == tokens.think:
                self._where = "thinking"
            case "opening" | "thinking" | "between" if id == tokens.answer:
                self._where = "answer"
            case "opening" | "between":
                raise self._astray(id)
            case "thinking":
                if id == tokens.end_think:
                    self._where = "between"
            case "answer":
                if not self._matcher.consume_token(id):
                    raise self._astray(id)
                if id == tokens.end_answer:
                    self._where = "ending"
            case "ending":
                pass
            case _:
                assert_never(self._where)

    def _next(self) -> Bitmask:
        match self._where:
            case "opening":
                return self._grammar.opening
            case "thinking":
                return self._grammar.thinking
            case "between":
                return self._grammar.between
            case "answer":
                return self._next_of_answer()
            case "ending":
                return self._grammar.ending

    def _next_of_answer(self) -> Bitmask:
        mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.int32)
        # The library's has a bit for the end of everything, after those of the vocabulary.
        mask = mask[: words(self._grammar.vocabulary)]
        if self._matcher.is_error():
            raise WorkerFailure(
                "SCHEMA_UNSUPPORTED",
                f"output: the schema is too large to follow: {self._matcher.stop_reason()}",
                hint="Make it smaller: fewer alternatives, shorter patterns.",
            )
        return mask

    def _astray(self, id: int) -> WorkerFailure:
        return WorkerFailure(
            "INVALID_REQUEST",
            f"generated: the id {id} cannot stand where it does in an answer of this schema",
            hint="Go on only with ids that the same model has generated for the same request.",
        )
