"""Ids become text without half characters, and nothing is lost or changed on the way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from glimpse_worker.text import WINDOW, Decode, Detokenizer

EMBEDDED = Path(__file__).parents[2] / "models/embedded/tokenizer.json"


def decode_bytes(ids: Sequence[int]) -> str:
    """Ids from 256 on have no text."""
    return bytes(token for token in ids if token < 256).decode(errors="replace")


def stream(decode: Decode, ids: Sequence[int], cuts: Sequence[int] = ()) -> list[str]:
    detokenizer = Detokenizer(decode)
    edges = [0, *sorted(cuts), len(ids)]
    texts = [detokenizer.push(ids[a:b]) for a, b in itertools.pairwise(edges)]
    return [*texts, detokenizer.finish()]


@pytest.fixture(scope="module")
def decode_embedded() -> Decode:
    tokenizer = Tokenizer.from_file(str(EMBEDDED))
    return lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=False))


@given(st.text(), st.data())
def test_a_character_arrives_whole(text: str, data: st.DataObject) -> None:
    ids = text.encode()
    texts = stream(decode_bytes, ids, data.draw(st.lists(st.integers(0, len(ids)))))
    assert "".join(texts) == text
    # Every piece can be shown as it comes: a U+FFFD appears in one only where the text itself has it.
    assert sum(piece.count("\ufffd") for piece in texts) == text.count("\ufffd")


@given(st.binary(max_size=200), st.data())
def test_bytes_that_never_become_a_character_come_as_decode_gives_them(
    ids: bytes, data: st.DataObject
) -> None:
    texts = stream(decode_bytes, ids, data.draw(st.lists(st.integers(0, len(ids)))))
    assert "".join(texts) == decode_bytes(ids)


def test_a_broken_character_at_the_end_is_flushed() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert detokenizer.push("né".encode()[:-1]) == "n"
    assert detokenizer.finish() == "\ufffd"


def test_the_end_of_a_character_releases_it_at_once() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert [detokenizer.push([byte]) for byte in "🙂!".encode()] == ["", "", "", "🙂", "!"]


def test_ids_without_text_do_not_break_a_character() -> None:
    ids = [*"é".encode()[:1], *[256] * 2 * WINDOW, *"é".encode()[1:]]
    assert "".join(stream(decode_bytes, ids, range(len(ids)))) == "é"


@pytest.mark.parametrize(
    "ids", [[0x41] * 8192, [0x80] * 8192, [0xE4] * 8192], ids=["letters", "stray bytes", "broken starts"]
)
def test_a_long_output_costs_a_bounded_amount_per_token(ids: list[int]) -> None:
    decoded = 0

    def counting(window: Sequence[int]) -> str:
        nonlocal decoded
        decoded += len(window)
        return decode_bytes(window)

    texts = stream(counting, ids, range(len(ids)))
    assert "".join(texts) == decode_bytes(ids)
    assert decoded < 3 * WINDOW * len(ids)


@given(st.lists(st.integers(0, 511), max_size=60), st.data())
def test_the_embedded_tokenizer_streams_what_it_decodes(
    decode_embedded: Decode, ids: list[int], data: st.DataObject
) -> None:
    texts = stream(decode_embedded, ids, data.draw(st.lists(st.integers(0, len(ids)))))
    assert "".join(texts) == decode_embedded(ids)


@given(text=st.text())
def test_the_embedded_tokenizer_streams_text_in_any_script(decode_embedded: Decode, text: str) -> None:
    ids = Tokenizer.from_file(str(EMBEDDED)).encode(text, add_special_tokens=False).ids if text else []
    assert "".join(stream(decode_embedded, ids, range(len(ids)))) == decode_embedded(ids)
