"""A page is used again exactly where a prompt begins with the same words and shows the same."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from glimpse_worker.engine.paged.prefix import PrefixKeys
from glimpse_worker.engine.paged.spans import Patchwork, Span

PLACEHOLDER = 9
Piece = int | tuple[bytes, int]
"""An id, or a picture: its key and how many placeholder tokens it has."""

# Few ids and pictures, so that prompts often have a beginning in common. A key covers the picture's size.
_ids = st.integers(0, 1)
_pictures = st.sampled_from([(b"sunrise", 5), (b"harbour", 5), (b"thumbnail", 2), (b"icon", 2), (b"dot", 1)])
_pieces = st.lists(st.one_of(_ids, _pictures), max_size=8)


def _prompt(pieces: Sequence[Piece]) -> tuple[list[int], list[Span], list[object]]:
    """Ids, spans, and for every token what it stands for: what the keys are to tell apart."""
    ids: list[int] = []
    spans: list[Span] = []
    meaning: list[object] = []
    for piece in pieces:
        if isinstance(piece, int):
            ids.append(piece)
            meaning.append(piece)
        else:
            key, count = piece
            spans.append(Span(len(ids), count, Patchwork(key, 1, count)))
            ids += [PLACEHOLDER] * count
            meaning += [(key, offset) for offset in range(count)]
    return ids, spans, meaning


def _separated(pieces: Sequence[Piece]) -> list[Piece]:
    """As in a chat template, pictures never touch."""
    return [part for piece in pieces for part in ((piece,) if isinstance(piece, int) else (7, piece, 8))]


@settings(max_examples=250)
@given(begin=_pieces, one=_pieces, other=_pieces, page_size=st.integers(1, 6))
def test_pages_are_shared_exactly_as_far_as_prompts_agree(
    begin: list[Piece], one: list[Piece], other: list[Piece], page_size: int
) -> None:
    first_ids, first_spans, first_meaning = _prompt(_separated([*begin, *one]))
    second_ids, second_spans, second_meaning = _prompt(_separated([*begin, *other]))
    first = PrefixKeys(first_spans, page_size).up_to(first_ids)
    second = PrefixKeys(second_spans, page_size).up_to(second_ids)
    assert len(first) == len(first_ids) // page_size
    assert len(second) == len(second_ids) // page_size
    for index, key in enumerate(first):
        end = (index + 1) * page_size
        for other_index, other_key in enumerate(second):
            # The same tokens further on stand for something else: all that is before them counts.
            same = index == other_index and first_meaning[:end] == second_meaning[:end]
            assert (key == other_key) == same


@settings(max_examples=100)
@given(pieces=_pieces, page_size=st.integers(1, 5), data=st.data())
def test_keys_do_not_depend_on_when_tokens_become_known(
    pieces: list[Piece], page_size: int, data: st.DataObject
) -> None:
    ids, spans, _ = _prompt(_separated(pieces))
    at_once = PrefixKeys(spans, page_size).up_to(ids)
    bit_by_bit = PrefixKeys(spans, page_size)
    for end in sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=4))):
        assert bit_by_bit.up_to(ids[:end]) == at_once[: end // page_size]
    assert bit_by_bit.up_to(ids) == at_once


@settings(max_examples=100)
@given(pieces=_pieces, page_size=st.integers(1, 5), data=st.data())
def test_another_picture_changes_every_page_from_where_it_begins(
    pieces: list[Piece], page_size: int, data: st.DataObject
) -> None:
    pictures = [index for index, piece in enumerate(pieces) if not isinstance(piece, int)]
    assume(pictures)
    changed = list(pieces)
    index = data.draw(st.sampled_from(pictures))
    piece = changed[index]
    assert isinstance(piece, tuple)
    changed[index] = (b"portrait", piece[1])
    ids, spans, _ = _prompt(_separated(pieces))
    same_ids, other_spans, _ = _prompt(_separated(changed))
    assert ids == same_ids
    begin = spans[pictures.index(index)].start // page_size
    keys = PrefixKeys(spans, page_size).up_to(ids)
    others = PrefixKeys(other_spans, page_size).up_to(ids)
    assert keys[:begin] == others[:begin]
    assert not set(keys[begin:]) & set(others[begin:])


def test_the_same_picture_under_another_question_is_shared_up_to_the_question() -> None:
    shown = [Span(2, 4, Patchwork(b"sunrise", 2, 2))]
    begin = [7, 7, *[PLACEHOLDER] * 4, 8, 1]
    one = PrefixKeys(shown, 4).up_to([*begin, 0, 0, 0, 0])
    other = PrefixKeys(shown, 4).up_to([*begin, 0, 0, 0, 1])
    assert one[:2] == other[:2]
    assert one[2] != other[2]


def test_a_picture_that_ends_with_a_page_is_no_part_of_the_next() -> None:
    """The next page's key differs all the same: it covers all that was before."""
    ids = [*[PLACEHOLDER] * 4, 1, 1, 1, 1]
    one = PrefixKeys([Span(0, 4, Patchwork(b"sunrise", 2, 2))], 4).up_to(ids)
    other = PrefixKeys([Span(0, 4, Patchwork(b"harbour", 2, 2))], 4).up_to(ids)
    assert not set(one) & set(other)


def test_pages_inside_one_picture_are_told_apart() -> None:
    keys = PrefixKeys([Span(0, 8, Patchwork(b"sunrise", 2, 4))], 2).up_to([PLACEHOLDER] * 8)
    assert len(set(keys)) == 4


def test_ids_beyond_sixteen_bits_are_told_apart() -> None:
    assert PrefixKeys([], 1).up_to([1]) != PrefixKeys([], 1).up_to([1 + 2**16])
