"""The embedded model's grammars, and JSON as its ids."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from embedded import MODEL, start_line

from glimpse_worker.answer_tokens import AnswerTokens, token_bytes
from glimpse_worker.checkpoint import load_tokenizer, open_checkpoint
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.grammar import Grammar, Grammars
from glimpse_worker.guide import Guide
from glimpse_worker.protocol import Options
from glimpse_worker.tokenizer import SpanEncoder

VOCABULARY = 512
STOP = 497
"""`<|user|>`."""


@cache
def tokenizer() -> Any:
    return load_tokenizer(open_checkpoint(start_line(str(MODEL)), lambda *_: None)).backend_tokenizer


@cache
def grammars() -> Grammars:
    return Grammars(tokenizer(), VOCABULARY, [STOP])


@cache
def tags() -> AnswerTokens:
    return AnswerTokens.of(tokenizer())


def grammar(schema: Any) -> Grammar:
    found = grammars().of(Options(seed=0, schema=schema if isinstance(schema, str) else json.dumps(schema)))
    assert found is not None
    return found


@cache
def _encoder() -> SpanEncoder:
    return SpanEncoder(tokenizer())


def written(text: str) -> list[int]:
    """The ids of `text` as the tokenizer cuts it, none of them an added token."""
    return _encoder().ordinary(text)


@cache
def _bytes() -> dict[bytes, int]:
    texts = token_bytes(tokenizer(), VOCABULARY)
    added = tokenizer().get_added_tokens_decoder()
    return {text: id for id, text in enumerate(texts) if len(text) == 1 and id not in added}


def spelled(text: str) -> list[int]:
    """One id for each byte, none of them an added token."""
    return [_bytes()[bytes([byte])] for byte in text.encode()]


def allows(guide: Guide, ids: list[int], id: int) -> bool:
    return bool(int(guide(ids)[id // 32]) >> id % 32 & 1)


def follows(found: Grammar, text: str) -> bool:
    """Whether `text` is an answer of the grammar, and a whole one."""
    try:
        Guide(found, 0)([tags().answer, *spelled(text), tags().end_answer])
    except WorkerFailure:
        return False
    return True


def is_allowed(found: Grammar, text: str) -> bool:
    """Whether `text` can be generated, token by token."""
    guide = Guide(found, 0)
    ids = [tags().answer, *written(text), tags().end_answer]
    return all(allows(guide, ids[:index], id) for index, id in enumerate(ids) if index)
