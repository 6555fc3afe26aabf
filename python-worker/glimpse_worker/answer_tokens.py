"""The ids of the tags and of the text: what an answer is made of, token by token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokenizers import Tokenizer

from .failure import WorkerFailure
from .tags import ANSWER, END_ANSWER, END_THINK, TAGS, THINK


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """The tags that an answer in a schema goes by: each is one token. `tags` has those of boxes too."""

    think: int
    end_think: int
    answer: int
    end_answer: int
    tags: Mapping[int, str]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> AnswerTokens:
        """Raises MODEL_UNSUPPORTED for a tokenizer that writes one of the four in several tokens."""
        added = {token.content: id for id, token in tokenizer.get_added_tokens_decoder().items()}
        missing = [tag for tag in (THINK, END_THINK, ANSWER, END_ANSWER) if tag not in added]
        if missing:
            raise WorkerFailure(
                "MODEL_UNSUPPORTED",
                f"output: the answer's tags have to be tokens of their own, and {missing[0]} is none",
                hint="Ask without output, and check the text yourself.",
            )
        return cls(
            added[THINK],
            added[END_THINK],
            added[ANSWER],
            added[END_ANSWER],
            {added[tag]: tag for tag in TAGS if tag in added},
        )


def token_bytes(tokenizer: Tokenizer, size: int) -> list[bytes]:
    """
    The bytes that each id stands for in a byte-level vocabulary of `size` ids. Added tokens stand for
    themselves, ids that the tokenizer does not have for nothing.
    """
    added = tokenizer.get_added_tokens_decoder()
    letters = {letter: byte for byte, letter in enumerate(_byte_letters())}
    texts = [b""] * size
    for token, id in tokenizer.get_vocab(with_added_tokens=True).items():
        if id < size:
            texts[id] = token.encode() if id in added else _bytes(token, letters)
    return texts


def _bytes(token: str, letters: Mapping[str, int]) -> bytes:
    try:
        return bytes(letters[letter] for letter in token)
    except KeyError as error:
        raise WorkerFailure(
            "MODEL_UNSUPPORTED", f"output: the tokenizer is not byte-level: it has the token {token!r}"
        ) from error


def _byte_letters() -> Iterable[str]:
    """
    The letter by which a byte-level vocabulary writes each of the 256 bytes: itself where it can be seen,
    else the next one from 256 on.
    """
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in seen else next(others)) for byte in range(0x100)]
