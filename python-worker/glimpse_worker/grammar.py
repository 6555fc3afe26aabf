"""JSON Schemas as grammars over a model's tokens, compiled beside the engine and kept."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import msgspec
from tokenizers import Tokenizer

from .answer_tokens import AnswerTokens, token_bytes
from .bitmask import Bitmask, all_but, only
from .failure import WorkerFailure
from .protocol import MAX_SCHEMA_CHARACTERS, Options

MAX_SCHEMA_DEPTH = 64
"""Objects and arrays of the schema's own text, one in another."""
KEPT = 64
"""So many grammars are kept, those that were used last."""

# What a schema might ask of the library that is none of JSON Schema's, and would loosen what it enforces.
_LIBRARY_OPTIONS = "x-guidance"
_OPTIONS = {
    # Patterns. White space elsewhere, or any number of it, could go on until the tokens are used up.
    "item_separator": ", ?",
    "key_separator": ": ?",
    "whitespace_flexible": False,
    "lenient": False,
    "coerce_one_of": False,
}
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class Grammar:
    """
    What may be generated before, in and after an answer that is JSON of one schema, for any number of
    requests. `matcher` is llguidance's, at the beginning of the JSON; who wants to move takes a copy.
    """

    matcher: Any
    tokens: AnswerTokens
    stop_token_ids: Collection[int]
    vocabulary: int

    @cached_property
    def opening(self) -> Bitmask:
        """Before anything: the thinking begins, or the answer."""
        return only((self.tokens.think, self.tokens.answer), self.vocabulary)

    @cached_property
    def thinking(self) -> Bitmask:
        """Everything that a thought may be made of: only `</think>` leads out of it."""
        tokens = self.tokens
        outside = (tokens.think, tokens.answer, tokens.end_answer, *self.stop_token_ids)
        return all_but(outside, self.vocabulary)

    @cached_property
    def between(self) -> Bitmask:
        """After `</think>`."""
        return only((self.tokens.answer,), self.vocabulary)

    @cached_property
    def ending(self) -> Bitmask:
        """After `</answer>`."""
        return only(self.stop_token_ids, self.vocabulary)


class Grammars:
    """Those of one model. May be asked from several threads."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, stop_token_ids: Collection[int]) -> None:
        """`vocabulary` is how many ids the model chooses from: it may be more than the tokenizer has."""
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._stop_token_ids = stop_token_ids
        self._reading = threading.Lock()
        self._compile = lru_cache(KEPT)(self._compiled)

    def of(self, options: Options) -> Grammar | None:
        """
        That of the schema which a request names. The first one takes a second or two: the vocabulary is read.

        Raises SCHEMA_UNSUPPORTED for what cannot be enforced, by its name.
        """
        return None if options.schema is None else self._compile(options.schema)

    def _compiled(self, schema: str) -> Grammar:
        document = _read(schema)
        tokens, library, vocabulary = self._vocabulary_read
        source = library.LLMatcher.grammar_from_json_schema(
            msgspec.json.encode(document).decode(), overrides=_OPTIONS
        )
        matcher = library.LLMatcher(vocabulary, source, log_level=0)
        if matcher.is_error():
            raise _unsupported(_one_line(matcher.get_error()))
        return Grammar(matcher, tokens, self._stop_token_ids, self._vocabulary)

    @property
    def _vocabulary_read(self) -> tuple[AnswerTokens, Any, Any]:
        with self._reading:
            return self._read_once

    @cached_property
    def _read_once(self) -> tuple[AnswerTokens, Any, Any]:
        library = _library()
        tokens = AnswerTokens.of(self._tokenizer)
        texts = token_bytes(self._tokenizer, self._vocabulary)
        wrapped = library.TokenizerWrapper(_Vocabulary(self._tokenizer, texts, tokens.end_answer))
        return tokens, library, library.LLTokenizer(wrapped, n_vocab=self._vocabulary)


class _Vocabulary:
    """A tokenizer as llguidance takes it. What ends its text ends the answer."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, texts: list[bytes], end: int) -> None:
        self._tokenizer = tokenizer
        self.tokens = texts
        self.eos_token_id = end
        # Special or not, none may stand in a text of the answer, whose characters may spell it.
        self.special_token_ids = sorted(tokenizer.get_added_tokens_decoder())

    def __call__(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _library() -> Any:
    """Imported when it is first needed: a Python environment of one's own need not have it."""
    try:
        import llguidance
    except ImportError as error:
        raise WorkerFailure(
            "PYTHON_DEPS_MISSING",
            f"output: the package llguidance cannot be imported: {error}",
            hint="Run `npx glimpse setup`, or install it into the interpreter that `python` names.",
        ) from error
    return llguidance


def _read(schema: str) -> dict[str, Any]:
    if len(schema) > MAX_SCHEMA_CHARACTERS:
        raise _unsupported(f"it has {len(schema)} characters, more than {MAX_SCHEMA_CHARACTERS}")
    try:
        document = msgspec.json.decode(schema)
        depth = _depth(document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unsupported(f"it is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise _unsupported("it is no object")
    if depth > MAX_SCHEMA_DEPTH:
        raise _unsupported(f"it is {depth} levels deep, more than {MAX_SCHEMA_DEPTH}")
    return {name: value for name, value in document.items() if name != _LIBRARY_OPTIONS}


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _one_line(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"


def _unsupported(why: str) -> WorkerFailure:
    return WorkerFailure(
        "SCHEMA_UNSUPPORTED",
        f"output: the schema cannot be enforced: {why}",
        hint="docs/STRUCTURED.md lists what can be.",
    )
