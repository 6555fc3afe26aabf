"""The checkpoint's tokenizer, able to say which text may become an added token and which never may."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer

from .failure import WorkerFailure


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the rendered prompt. Only a template's own text may become added tokens."""

    text: str
    from_template: bool


class SpanEncoder:
    """
    Encodes spans to the ids that the plain tokenizer gives for their joined text, with one difference:
    added tokens (special or not) are recognised in the template's spans only. Text of a caller that spells
    one becomes ordinary tokens.
    """

    def __init__(self, backend: Tokenizer) -> None:
        added = backend.get_added_tokens_decoder()
        _refuse_white_space_rules(added)
        self._ids = {token.content: id for id, token in added.items()}
        # The plain tokenizer takes the leftmost added token, and of several the longest.
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._any_added = re.compile("|".join(map(re.escape, longest_first)))
        self._ordinary = _without_added_tokens(backend, set(self._ids))
        self._prefix = _prefix(backend)

    def encode(self, spans: Iterable[Span]) -> list[int]:
        ids = list(self._prefix)
        run: list[str] = []
        for span in spans:
            end = 0
            if span.from_template:
                for match in self._any_added.finditer(span.text):
                    run.append(span.text[end : match.start()])
                    ids += self._take(run)
                    ids.append(self._ids[match[0]])
                    end = match.end()
            run.append(span.text[end:])
        return ids + self._take(run)

    def ordinary(self, text: str) -> list[int]:
        """The ids of text that stands between two added tokens."""
        return self._ordinary.encode(text, add_special_tokens=False).ids if text else []

    def _take(self, run: list[str]) -> list[int]:
        # Text between two added tokens is encoded in one piece, whoever wrote it, as the plain tokenizer
        # does.
        text = "".join(run)
        run.clear()
        return self.ordinary(text)


def _refuse_white_space_rules(added: dict[int, AddedToken]) -> None:
    for token in added.values():
        if token.lstrip or token.rstrip or token.single_word:
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                f"tokenizer.json: the added token {token.content!r} has lstrip, rstrip or single_word set; "
                "the tokenizers of this model family have none of them",
            )


def _without_added_tokens(backend: Tokenizer, added: set[str]) -> Tokenizer:
    spec: dict[str, Any] = json.loads(backend.to_str())
    spec.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    model = spec["model"]
    if model["type"] != "BPE":
        raise WorkerFailure(
            "MODEL_UNSUPPORTED",
            f"tokenizer.json: the model is {model['type']}; this family's tokenizers are BPE",
        )
    model["vocab"] = {token: id for token, id in model["vocab"].items() if token not in added}
    model["merges"] = [[a, b] for a, b in model["merges"] if not added & {a, b, a + b}]
    return Tokenizer.from_str(json.dumps(spec))


def _prefix(backend: Tokenizer) -> list[int]:
    """What the tokenizer's post-processor puts before every text (usually nothing)."""
    bare = backend.encode("a", add_special_tokens=False).ids
    processed = backend.encode("a").ids
    if processed[-len(bare) :] != bare:
        raise WorkerFailure(
            "MODEL_UNSUPPORTED", "tokenizer.json: the post-processor appends tokens to the text"
        )
    return processed[: -len(bare)]
