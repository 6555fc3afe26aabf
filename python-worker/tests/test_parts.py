"""The generated text is taken apart in the same way, however it arrives, and nothing of it is lost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from neighbours import edges_of, merged

from glimpse_worker.boxes import BoxReader
from glimpse_worker.geometry import Geometry
from glimpse_worker.parts import Parser
from glimpse_worker.protocol import BoxPart, MarkupPart, Part, TextPart, ThinkingPart
from glimpse_worker.tags import TAGS

BOXED = "<|begin_of_box|>", "<|end_of_box|>"
PICTURE = Geometry.unpadded(2000, 500)


def parse(
    *chunks: str, stop: Sequence[str] = (), pictures: Sequence[Geometry] = (PICTURE,)
) -> tuple[list[Part], Parser]:
    parser = Parser(stop, BoxReader(pictures))
    parts: list[Part] = []
    for chunk in chunks:
        parser.push(chunk)
        parts += parser.drain()
    parser.end()
    return merged([*parts, *parser.drain()]), parser


def joined(parts: Sequence[Part], *kinds: type[Part]) -> str:
    kept = kinds or (ThinkingPart, TextPart, MarkupPart)
    return "".join(part.text for part in parts if not isinstance(part, BoxPart) and isinstance(part, kept))


def brief(parts: Sequence[Part]) -> list[str]:
    marks = {ThinkingPart: "?", TextPart: "!", MarkupPart: "-"}
    return [f"{marks[type(part)]}{part.text}" for part in parts if not isinstance(part, BoxPart)]


def boxes(text: str, pictures: Sequence[Geometry] = (PICTURE,)) -> list[tuple[float, float, float, float]]:
    return [part.box for part in parse(text, pictures=pictures)[0] if isinstance(part, BoxPart)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>Hm.</think><answer>A cat.</answer>", "-<think> ?Hm. -</think><answer> !A cat. -</answer>"),
        ("A cat.", "!A cat."),
        ("<answer>A cat.</answer>", "-<answer> !A cat. -</answer>"),
        ("<think>Hm.</think>A cat.", "-<think> ?Hm. -</think> !A cat."),
        ("<think>Hm.</think><answer>A cat.", "-<think> ?Hm. -</think><answer> !A cat."),
        ("<think>Hm.<answer>A cat.</answer>", "-<think> ?Hm. -<answer> !A cat. -</answer>"),
        ("<think>Hm.", "-<think> ?Hm."),
        ("<think>Hm.</answer>", "-<think> ?Hm. -</answer>"),
        ("Hm.</think><answer>A cat.</answer>", "!Hm. -</think><answer> !A cat. -</answer>"),
        ("", ""),
    ],
    ids=[
        "as trained",
        "no tags",
        "no thinking",
        "answer without its tag",
        "no closing answer tag",
        "no closing think tag",
        "only thinking",
        "closed by the wrong tag",
        "no opening think tag",
        "nothing",
    ],
)
def test_tags_part_thinking_from_answer(text: str, expected: str) -> None:
    assert " ".join(brief(parse(text)[0])) == expected


def test_white_space_at_the_borders_of_a_section_is_markup() -> None:
    parts, _ = parse("<think>\n a  b \n</think>\n<answer> \n c d\n</answer>\n")
    assert brief(parts) == ["-<think>\n ", "?a  b", "- \n</think>\n<answer> \n ", "!c d", "-\n</answer>\n"]


def test_white_space_beside_box_tokens_inside_an_answer_is_text() -> None:
    parts, _ = parse(f"<answer>It is {BOXED[0]} 5 {BOXED[1]} . </answer>")
    assert joined(parts, TextPart) == "It is  5  ."


def test_white_space_around_a_boxed_answer_is_markup() -> None:
    parts, _ = parse(f"<answer>\n{BOXED[0]} 5 {BOXED[1]}\n</answer>")
    assert joined(parts, TextPart) == "5"


def test_something_that_only_looks_like_a_tag_is_text() -> None:
    assert brief(parse("a <thin> b <|begin_of_", "bo c < d")[0]) == ["!a <thin> b <|begin_of_bo c < d"]


def test_text_is_given_as_soon_as_it_is_certain() -> None:
    parser = Parser(("END",), BoxReader(()))
    seen = []
    for chunk in ("a ", "b", "<", "i", " E", "N", "d", "</ans", "wer>"):
        parser.push(chunk)
        seen.append(brief(parser.drain()))
    assert seen == [["!a"], ["! b"], [], ["!<i"], [], [], ["! ENd"], [], ["-</answer>"]]


def test_whether_the_text_ends_inside_the_thinking_is_known_with_the_tag() -> None:
    parser = Parser((), BoxReader(()))
    thinking = []
    for chunk in ("<thi", "nk>", "Hm.", "<think>", "</think", ">", "<answer>a", "<think>", "<answer>"):
        parser.push(chunk)
        thinking.append(parser.thinking)
    assert thinking == [False, True, True, True, True, False, False, True, False]


def test_nothing_is_thought_when_the_text_is_over() -> None:
    parser = Parser((), BoxReader(()))
    parser.push("<think>Hm")
    parser.end()
    parser.push("<think>")
    assert not parser.thinking
    assert parser.thoughts() == [(0, 9)]


def test_a_stop_string_ends_the_answer_and_is_markup() -> None:
    parts, parser = parse("<answer>one, two. ", "Three</answer>", stop=("Th", "x"))
    assert brief(parts) == ["-<answer>", "!one, two.", "- Three</answer>"]
    assert parser.stop_met


def test_a_stop_string_sleeps_while_the_model_thinks() -> None:
    parts, parser = parse("<think>one\n\ntwo</think>\n\n<answer>three</answer>", stop=("\n\n",))
    assert joined(parts, ThinkingPart) == "one\n\ntwo"
    assert joined(parts, TextPart) == "three"
    assert not parser.stop_met


def test_a_stop_string_is_met_across_a_box_token() -> None:
    parts, parser = parse(f"<answer>{BOXED[0]}5{BOXED[1]}.", " More", stop=("5. ",))
    assert joined(parts, TextPart) == ""
    assert parser.stop_met


def test_the_stop_string_that_is_complete_first_counts() -> None:
    assert joined(parse("abcd", stop=("bcd", "c"))[0], TextPart) == "ab"
    assert joined(parse("abcd", stop=("c", "bc"))[0], TextPart) == "a"


SHAPES = [
    "[10,20,500,999]",
    "[[10, 20, 500, 999]]",
    "box (10,20 ,500,999).",
    "<10,20,500,999>",
    "{10, 20, 500, 999}",
    "[10 20 500 999]",
    "[ 10.0,\n20,\t500 , 999 ]",
    "(10,20),(500,999)",
    "[[10, 20], [500, 999]]",
    "<10,20><500,999>",
    "[500,999,10,20]",
    '{"bbox_2d": [10, 20, 500, 999]}',
    '{"box": "[10,20,500,999]"}',
]


@pytest.mark.parametrize("content", SHAPES)
def test_a_box_comes_in_pixels_of_the_picture(content: str) -> None:
    text = f"<answer>{BOXED[0]}{content}{BOXED[1]}</answer>"
    assert boxes(text) == [(20.0, 10.0, 1000.0, 499.5)]
    assert joined(parse(text)[0], TextPart) == content


def test_every_group_of_four_numbers_is_a_box() -> None:
    assert len(boxes(f"{BOXED[0]}[[0,0,10,10],[5,5,9,9.5]]{BOXED[1]} and {BOXED[0]}[1,1,2,2]{BOXED[1]}")) == 3


def labelled(text: str) -> list[tuple[float, str | None]]:
    return [(part.box[0], part.label) for part in parse(text)[0] if isinstance(part, BoxPart)]


JSON_BOXES = '[{"bbox_2d": [10,20,500,999], "label": "a cup"}, {"label": "é", "bbox_2d": [30,40,50,60]}]'


@pytest.mark.parametrize(
    "text",
    [
        f"{BOXED[0]}{JSON_BOXES}{BOXED[1]}",
        f"<answer>{BOXED[0]}```json\n{JSON_BOXES}\n```{BOXED[1]}</answer>",
        f"<answer>Here they are:\n```json\n{JSON_BOXES}\n```</answer>",
        JSON_BOXES.strip("[]"),
        f'{{"objects": {JSON_BOXES}}}',
        f"{JSON_BOXES[:-1]}, {{",
    ],
    ids=["boxed", "fenced", "not boxed", "no list", "in an object", "cut off"],
)
def test_the_label_that_json_gives_a_box_comes_with_it(text: str) -> None:
    assert labelled(text) == [(20.0, "a cup"), (60.0, "é")]
    assert joined(parse(text)[0]) == text


def test_a_label_belongs_to_every_box_of_its_object() -> None:
    text = '{"label": "cups", "bbox_2d": [[10,20,30,40], [50,60,70,80]]}'
    assert labelled(text) == [(20.0, "cups"), (100.0, "cups")]


@pytest.mark.parametrize("label", ["5", '""', '" "', "null", '["a"]'])
def test_what_is_no_name_is_no_label(label: str) -> None:
    assert labelled(f'{{"bbox_2d": [10,20,30,40], "label": {label}}}') == [(20.0, None)]


def test_half_a_character_in_a_label_is_replaced() -> None:
    assert labelled('{"bbox_2d": [10,20,30,40], "label": "\\ud83dx"}') == [(20.0, "?x")]


def test_a_box_of_json_follows_its_brace() -> None:
    parts, _ = parse('<answer>a {"bbox_2d": [0,0,9,9]} b</answer>')
    kinds = [type(part) for part in parts]
    assert kinds == [MarkupPart, TextPart, BoxPart, TextPart, MarkupPart]
    assert brief(parts)[1:3] == ['!a {"bbox_2d": [0,0,9,9]}', "! b"]


def test_json_that_does_not_speak_of_boxes_has_none() -> None:
    assert boxes('{"box": [1,2,3,4]} {"size": [1,2,3,4]} {"bbox_2d": [1,2]} {"bbox_2d": [1,2,3,4]') == []


def test_an_object_of_unusual_length_is_not_searched() -> None:
    assert boxes(f'{{"label": "{"x" * 1_000}", "bbox_2d": [1,2,3,4]}}') == []


@pytest.mark.parametrize("content", ["5", "[1,2]", "[1,2,3,4,5]", "1,2,3,4", "[1,2,3,four]", "[1,2,3,"])
def test_other_boxed_text_is_no_box(content: str) -> None:
    assert boxes(f"{BOXED[0]}{content}{BOXED[1]}") == []


def test_a_box_without_its_closing_token_counts_at_the_end() -> None:
    assert boxes(f"<answer>{BOXED[0]}[0,0,500,500]</answer>") == [(0.0, 0.0, 1000.0, 250.0)]


def test_numbers_outside_box_tokens_or_in_thinking_are_no_boxes() -> None:
    assert boxes(f"<think>{BOXED[0]}[1,2,3,4]{BOXED[1]}</think>[1,2,3,4]") == []
    assert boxes(f"<think>{BOXED[0]}<answer>[1,2,3,4]{BOXED[1]}") == []


def test_without_pictures_there_are_no_boxes() -> None:
    assert boxes(f"{BOXED[0]}[1,2,3,4]{BOXED[1]}", pictures=()) == []


def test_with_several_pictures_a_box_is_assumed_to_be_in_the_last() -> None:
    reader = BoxReader([PICTURE, Geometry.unpadded(100, 100)])
    reader.open()
    reader.read("[0,0,500,500]")
    assert reader.close() == [BoxPart(image=1, box=(0.0, 0.0, 50.0, 50.0))]
    assert reader.image_assumed


STOPS = ("END", "\n\n", "b b", "NDA", "</x>", "<", " ")
PIECES = st.sampled_from(
    [
        *sorted(TAGS),
        " ",
        "\n",
        "\n\n",
        "a",
        "b",
        "b b",
        "<",
        "</",
        "<|",
        "think>",
        "E",
        "ND",
        "END",
        "[1,2,3,4]",
        f"{BOXED[0]}[1,2,3,4]{BOXED[1]}",
        f"{BOXED[0]}(1,2),(3,4)",
        '{"bbox_2d": [1,2,3,4], "label": "é"}',
        '{"bbox_2d": ',
        "{",
        "}",
        "(1,2),(3,4)",
        "5",
        "é",
    ]
)
EXAMPLES = 1_000
"""So many that each of the parser's reasons to wait is met, with a cut where it matters."""
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=25).map("".join)


@settings(max_examples=EXAMPLES)
@given(text=TEXTS, stop=st.lists(st.sampled_from(STOPS), max_size=3), data=st.data())
@example(text="<answer> \n\n", stop=["\n\n"], data=None)
@example(text=f"{BOXED[0]}[1,2,3,4]< more", stop=["<"], data=None)
@example(text=f"{BOXED[0]}[1,2,3,4] more", stop=[" "], data=None)
def test_the_way_text_is_cut_changes_nothing(text: str, stop: list[str], data: st.DataObject | None) -> None:
    whole, one = parse(text, stop=stop)
    edges = data.draw(edges_of(text)) if data else range(len(text) + 1)
    pieces, other = parse(*(text[a:b] for a, b in itertools.pairwise(edges)), stop=stop)
    assert pieces == whole
    assert (other.stop_met, other.thoughts()) == (one.stop_met, one.thoughts())


@settings(max_examples=EXAMPLES)
@given(text=TEXTS, stop=st.lists(st.sampled_from(STOPS), max_size=3))
def test_nothing_is_lost_and_borders_are_clean(text: str, stop: list[str]) -> None:
    parts, _ = parse(text, stop=stop)
    assert joined(parts) == text
    for kind in (ThinkingPart, TextPart):
        section = joined(parts, kind)
        assert section == section.strip()
        assert not any(tag in part.text for part in parts if isinstance(part, kind) for tag in TAGS)


@settings(max_examples=EXAMPLES)
@given(text=TEXTS, stop=st.lists(st.sampled_from(STOPS), min_size=1, max_size=3))
def test_no_answer_contains_a_stop_string(text: str, stop: list[str]) -> None:
    plain = text.translate(str.maketrans("", "", "<>"))
    assert not any(string in joined(parse(plain, stop=stop)[0], TextPart) for string in stop)
