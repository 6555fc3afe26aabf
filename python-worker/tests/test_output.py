"""Ids in, parts out: what an engine relies on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from neighbours import edges_of, merged

from glimpse_worker.engine.script import STOP_TOKEN_ID, decode, encode
from glimpse_worker.geometry import Geometry
from glimpse_worker.output import Output
from glimpse_worker.protocol import BoxPart, MarkupPart, Part, RequestKey, TextPart, ThinkingPart
from glimpse_worker.tags import TAGS

KEY = RequestKey("a", 0)
TAG_IDS = {encode(tag)[0]: tag for tag in TAGS}
ANSWER = "<think>Hm 🙂</think><answer>A cat.</answer><|user|>"


def output(stop: Sequence[str] = (), pictures: int = 0, tags: Mapping[int, str] | None = None) -> Output:
    return Output(
        decode,
        stop_token_ids=[STOP_TOKEN_ID],
        stop=stop,
        geometries=[Geometry.unpadded(1000, 1000)] * pictures,
        tags=tags,
    )


def raw(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts if not isinstance(part, BoxPart))


def test_an_answer_is_taken_apart() -> None:
    out = output()
    parts = out.push(encode(ANSWER)) + out.finish()
    assert parts == [
        MarkupPart("<think>"),
        ThinkingPart("Hm 🙂"),
        MarkupPart("</think><answer>"),
        TextPart("A cat."),
        MarkupPart("</answer><|user|>"),
    ]
    assert out.stopped
    assert out.completion_tokens == len(encode(ANSWER))


def test_thinking_tokens_count_the_tags() -> None:
    out = output()
    out.push(encode(ANSWER))
    out.finish()
    assert out.thinking_tokens == len(encode("<think>Hm 🙂</think>"))


def test_thinking_tokens_do_not_count_a_split_character_beside_the_tags() -> None:
    out = output()
    out.push(encode("🙂<think>🙂</think>🙂"))
    out.finish()
    assert out.thinking_tokens == len(encode("<think>🙂</think>"))


def test_thinking_that_is_cut_off_counts_up_to_the_cut() -> None:
    out = output()
    out.push(encode("<think>Hm"))
    out.finish()
    assert out.thinking_tokens == 3
    assert not out.stopped


def test_an_answer_that_fakes_tags_with_other_tokens_counts_them_all() -> None:
    out = output()
    out.push(list(b"a<think>b</think>c"))
    out.finish()
    assert out.thinking_tokens == len(b"<think>b</think>")


def test_a_thought_is_as_long_as_the_ids_between_its_tags() -> None:
    out = output()
    lengths = [(out.push([token]), out.thinking, out.thought_length)[1:] for token in encode(ANSWER)]
    thought = [(True, length) for length in range(len(encode("Hm 🙂")) + 1)]
    rest = [(False, len(encode("Hm 🙂")))] * len(encode("</think><answer>A cat.</answer><|user|>"))
    assert lengths == thought + rest


def test_only_what_is_thought_makes_a_thought_longer() -> None:
    out = output()
    out.push(encode("Well, <think>Hm"))
    assert (out.thinking, out.thought_length) == (True, 2)
    out.push(encode("<answer>Yes. <think>No!"))
    assert (out.thinking, out.thought_length) == (True, 5)
    out.push([STOP_TOKEN_ID])
    assert (out.thinking, out.thought_length) == (False, 5)


def test_a_tag_that_is_spelled_out_is_thought_until_it_is_whole() -> None:
    out = output()
    out.push([*encode("<think>"), *b"<answer"])
    assert (out.thinking, out.thought_length) == (True, len(b"<answer"))
    out.push(b">")
    out.finish()
    assert (out.thinking, out.thought_length, out.thinking_tokens) == (False, len(b"<answer"), 1)


def test_a_thought_ends_with_the_output() -> None:
    out = output()
    out.push(encode("<think>Hm"))
    out.finish()
    assert (out.thinking, out.thought_length) == (False, 2)


def test_a_stop_token_is_known_by_its_id_and_not_by_its_text() -> None:
    out = output()
    assert out.push(list(b"<|user|> is a token")) == [TextPart("<|user|> is a token")]
    assert not out.stopped
    assert out.push([STOP_TOKEN_ID]) + out.finish() == [MarkupPart("<|user|>")]
    assert out.stopped


def test_a_stop_token_after_half_a_character_and_white_space() -> None:
    out = output()
    ids = [*b"a \xf0\x9f", STOP_TOKEN_ID]
    parts = out.push(ids) + out.finish()
    assert parts == [TextPart("a \ufffd"), MarkupPart("<|user|>")]
    assert raw(parts) == decode(ids)


def test_a_stop_string_stops() -> None:
    out = output(stop=["cat"])
    parts = out.push(encode("<answer>A cat")) + out.finish()
    assert parts == [MarkupPart("<answer>"), TextPart("A"), MarkupPart(" cat")]
    assert out.stopped


def test_a_box_among_several_pictures_is_flagged_once() -> None:
    text = "<answer><|begin_of_box|>[0,0,10,10]<|end_of_box|></answer>"
    for pictures, assumed in ((1, False), (2, True)):
        out = output(pictures=pictures)
        parts = out.push(encode(text)) + out.finish()
        assert BoxPart(image=pictures - 1, box=(0.0, 0.0, 10.0, 10.0)) in parts
        warning = out.take_warning(KEY)
        assert (warning is not None) is assumed
        assert warning is None or (warning.key, warning.code) == (KEY, "BOX_IMAGE_ASSUMED")
        assert out.take_warning(KEY) is None


WRITTEN = st.sampled_from(
    [
        *sorted(TAGS),
        "<|user|>",
        *("<", "</", "<thi", "nk>", "<|begin_of_"),
        *(" ", "\n\n", "a", "END", "EN", "D", "é", "🙂", "日本"),
        "<|begin_of_box|>[10,20,500,999]<|end_of_box|>",
        *("[10,20,500,999]", "(1,2),(3,4)", '{"bbox_2d": [1,2,3,4], "label": "é"}', '{"bbox_2d": ', "}"),
    ]
)
IDS = st.lists(
    # What the model writes, tags by their ids or spelled out, and what no text would ever make.
    WRITTEN.map(encode)
    | WRITTEN.map(lambda text: list(text.encode()))
    | st.lists(st.integers(0, 262), max_size=3),
    max_size=30,
).map(lambda pieces: [token for piece in pieces for token in piece])


@settings(max_examples=500)
@given(
    ids=IDS,
    stop=st.lists(st.sampled_from(["a", "\n\n", "END", "🙂", "<"]), max_size=2),
    tags=st.sampled_from([None, TAG_IDS]),
    data=st.data(),
)
def test_replaying_the_ids_gives_the_same_however_they_were_cut(
    ids: list[int], stop: list[str], tags: dict[int, str] | None, data: st.DataObject
) -> None:
    whole = output(stop, pictures=1, tags=tags)
    expected = whole.push(ids) + whole.finish()
    assert raw(expected) == decode(ids)
    pieces = output(stop, pictures=1, tags=tags)
    edges = data.draw(edges_of(ids))
    parts = [part for a, b in itertools.pairwise(edges) for part in pieces.push(ids[a:b])]
    parts += pieces.finish()
    assert merged(parts) == merged(expected)
    assert (pieces.stopped, pieces.completion_tokens) == (whole.stopped, whole.completion_tokens)
    assert pieces.thinking_tokens == whole.thinking_tokens
    # An `<answer>` that is spelled out is thought until it is whole, and is none of the thinking then.
    spelled_out = 0 if tags else len("<answer") * decode(ids).count("<answer>")
    assert pieces.thought_length == whole.thought_length <= whole.thinking_tokens + spelled_out
