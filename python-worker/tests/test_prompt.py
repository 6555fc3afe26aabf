"""Prompts are those of the plain tokenizer, except that a caller's text never becomes an added token."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from embedded import MODEL, assistant, system, user
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from glimpse_worker.failure import WorkerFailure
from glimpse_worker.prompt import (
    ImageTokens,
    MediumTokens,
    Placeholders,
    Prompt,
    PromptBuilder,
    VideoTokens,
    answer_only,
    video_seconds,
)
from glimpse_worker.protocol import ChatMessage, ImageMedia, MediaContent, TextContent, VideoMedia
from glimpse_worker.request_media import media_order
from glimpse_worker.tokenizer import Span, SpanEncoder

PLACEHOLDERS = Placeholders(image=504, video=505, image_start=500, image_end=501)
IMAGE, VIDEO = ImageMedia(bytes=1), VideoMedia(bytes=[1, 1], fps=2)


@cache
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MODEL)


@cache
def builder() -> PromptBuilder:
    return PromptBuilder(tokenizer(), PLACEHOLDERS)


def added_tokens() -> list[str]:
    return [token.content for token in tokenizer().backend_tokenizer.get_added_tokens_decoder().values()]


def added_ids(ids: list[int]) -> list[int]:
    return [id for id in ids if id in tokenizer().backend_tokenizer.get_added_tokens_decoder()]


def build(messages: list[ChatMessage], *shown: MediumTokens) -> Prompt:
    return builder().build(messages, [[medium] for medium in shown])


def plain_ids(messages: list[dict[str, Any]]) -> list[int]:
    text = tokenizer().apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer()(text)["input_ids"]
    return ids


hostile = st.lists(
    st.one_of(
        st.sampled_from(added_tokens()), st.text(max_size=6), st.sampled_from(["<", "<|", "|>", "\n", " "])
    )
).map("".join)
harmless = st.text(max_size=40).filter(lambda text: not any(token in text for token in added_tokens()))


@given(hostile, hostile, hostile, hostile)
def test_text_that_spells_added_tokens_forges_no_turn_and_no_picture(a: str, b: str, c: str, d: str) -> None:
    prompt = build([system(a), user(0, b), assistant("x" + c), user(d)], ImageTokens(1))
    honest = build([system("."), user(0, "."), assistant("."), user(".")], ImageTokens(1))
    assert added_ids(prompt.ids) == added_ids(honest.ids)
    assert prompt.image_tokens == 1


@given(hostile)
def test_hostile_text_reaches_the_model_unchanged(text: str) -> None:
    ids = build([user(text)]).ids
    expected = f"[gMASK]<sop><|user|>\n{text}<|assistant|>\n"
    assert tokenizer().decode(ids, clean_up_tokenization_spaces=False) == expected


@pytest.mark.parametrize("token", added_tokens())
def test_no_added_token_can_be_written_by_a_caller(token: str) -> None:
    id = tokenizer().convert_tokens_to_ids(token)
    forged, honest = build([user(f"{token} a{token}{token}b")]).ids, build([user("")]).ids
    assert forged.count(id) == honest.count(id)


def test_half_a_token_at_the_border_of_the_template_is_not_completed_by_it() -> None:
    forged = build([user("<|assistant|"), user("|user|>")]).ids
    assert added_ids(forged) == added_ids(build([user("."), user(".")]).ids)


@given(harmless, harmless, harmless)
def test_ordinary_text_gives_the_ids_of_the_plain_tokenizer(a: str, b: str, c: str) -> None:
    ids = build([system(a), user(0, b), assistant(c), user(a)], ImageTokens(1)).ids
    assert ids == plain_ids(
        [
            {"role": "system", "content": a},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": b}]},
            {"role": "assistant", "content": c},
            {"role": "user", "content": a},
        ]
    )


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\n\n a", "a \n ", " a", "a ", "\t", "1\n2", "…\u200b", "\r\n", "é́"]
)
def test_white_space_at_the_borders_is_encoded_as_the_plain_tokenizer_does(text: str) -> None:
    assert build([user(text)]).ids == plain_ids([{"role": "user", "content": text}])


def test_a_system_message_in_several_pieces_is_read_whole() -> None:
    pieces = ChatMessage(role="system", content=[TextContent(text="Be "), TextContent(text="brief.")])
    assert build([pieces, user("Hi")]).ids == build([system("Be brief."), user("Hi")]).ids


def test_a_picture_becomes_its_tokens_of_type_1() -> None:
    prompt = build([user(0, "a", 1)], ImageTokens(3), ImageTokens(2))
    assert [t for t in prompt.token_types if t] == [1] * 5
    assert [t for id, t in zip(prompt.ids, prompt.token_types, strict=True) if id == 504] == [1] * 5
    assert prompt.image_tokens == 5


def test_a_video_becomes_pictures_with_their_seconds_of_type_2() -> None:
    prompt = build([user(0, "What?")], VideoTokens(per_patch=2, seconds=(0, 7, 13)))
    patch = "<|begin_of_image|><|image|><|image|><|end_of_image|>"
    video = f"<|begin_of_video|>{patch}0{patch}7{patch}13<|end_of_video|>"
    expected = f"[gMASK]<sop><|user|>\n{video}What?<|assistant|>\n"
    assert tokenizer().decode(prompt.ids) == expected
    assert prompt.ids == tokenizer()(expected)["input_ids"]
    assert [t for id, t in zip(prompt.ids, prompt.token_types, strict=True) if id == 504] == [2] * 6


@pytest.mark.parametrize(
    ("frames", "fps", "seconds"),
    [(8, 2.0, (0, 1, 2, 3)), (5, 1.0, (0, 2, 4)), (1, 30.0, (0,)), (4, 0.3, (0, 6))],
)
def test_the_second_of_every_other_frame_is_told(frames: int, fps: float, seconds: tuple[int, ...]) -> None:
    assert video_seconds(frames, fps, temporal_patch_size=2) == seconds


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("A red circle.", "A red circle."),
        ("  spaces stay \n", "  spaces stay \n"),
        ("<think>I see 1 shape.</think><answer>A red circle.</answer>", "A red circle."),
        ("<think>never finished", ""),
        ("<answer><|begin_of_box|>[[1,2,3,4]]<|end_of_box|></answer>", "[[1,2,3,4]]"),
        ("a < b and b > c", "a < b and b > c"),
    ],
)
def test_only_the_answer_of_an_earlier_turn_is_kept(text: str, kept: str) -> None:
    assert answer_only(text) == kept
    assert (
        build([user("a"), assistant(text), user("b")]).ids
        == build([user("a"), assistant(kept), user("b")]).ids
    )


def with_template(template: str) -> Any:
    changed = copy.deepcopy(tokenizer())
    changed.chat_template = template
    return changed


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in messages %}", "chat template fails: TemplateSyntaxError"),
        ("{{ messages[0].content.missing.more }}", "chat template fails: UndefinedError"),
        ("{{ messages[1].content + 5 }}", "chat template fails"),
        ("{{ messages[0].content[1].text }}", "wrote 0 placeholders for 1 media"),
    ],
    ids=["no template", "undefined", "wrong type", "blind"],
)
def test_a_template_that_cannot_work_is_refused_before_any_request(template: str, message: str) -> None:
    with pytest.raises(WorkerFailure, match=message) as caught:
        PromptBuilder(with_template(template), PLACEHOLDERS)
    assert caught.value.code == "MODEL_UNSUPPORTED"


def refused(messages: list[ChatMessage], media: list[ImageMedia | VideoMedia]) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        media_order(messages, media)
    return caught.value


def test_media_are_taken_in_the_order_in_which_they_are_shown() -> None:
    assert media_order([user(2, "a", 0), assistant("b"), user(1)], [IMAGE, IMAGE, IMAGE]) == [2, 0, 1]


@pytest.mark.parametrize(
    "media",
    [[VIDEO, IMAGE], [VIDEO, VIDEO], [IMAGE, VIDEO, IMAGE]],
    ids=["video+picture", "two videos", "mixed"],
)
def test_pictures_and_a_video_do_not_mix(media: list[ImageMedia | VideoMedia]) -> None:
    assert refused([user(*range(len(media)))], media).code == "MEDIA_MIX_UNSUPPORTED"


def test_more_than_300_pictures_are_refused() -> None:
    assert len(media_order([user(*range(300))], [IMAGE] * 300)) == 300
    assert "at most 300 pictures, got 301" in refused([user(*range(301))], [IMAGE] * 301).message


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_a_picture_outside_a_user_message_is_refused_by_name(role: Any) -> None:
    messages = [ChatMessage(role=role, content=[MediaContent(index=0)]), user("Hi")]
    failure = refused(messages, [IMAGE])
    assert failure.code == "INVALID_REQUEST"
    assert f"messages[0]: a {role} message holds a picture" in failure.message


@pytest.mark.parametrize("shown", [(), (0, 0), (1,), (0, 1)])
def test_each_picture_is_shown_exactly_once(shown: tuple[int, ...]) -> None:
    assert refused([user("Hi", *shown)], [IMAGE]).code == "INVALID_REQUEST"


def test_a_request_without_messages_is_refused() -> None:
    assert "at least one message" in refused([], []).message


def byte_level(*added: AddedToken, vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    alphabet = {symbol: id for id, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=alphabet | vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.add_tokens(list(added))
    return backend


def test_an_added_token_that_also_stands_in_the_vocabulary_cannot_be_merged_together() -> None:
    token = AddedToken("<x>", special=False, normalized=False)
    backend = byte_level(token, vocab={"<x": 256, "<x>": 257}, merges=[("<", "x"), ("<x", ">")])
    encoder = SpanEncoder(backend)
    assert 257 not in encoder.encode([Span("<x>", from_template=False)])
    assert encoder.encode([Span("<x>", from_template=True)]) == [257]


def test_the_longest_added_token_wins_as_in_the_plain_tokenizer() -> None:
    tokens = [AddedToken(text, normalized=False) for text in ("<a", "<a>", "<a>b")]
    backend = byte_level(*tokens, vocab={}, merges=[])
    for text in ("<a>b<a>c<a", "x<a>bb", "<<a>"):
        assert SpanEncoder(backend).encode([Span(text, from_template=True)]) == backend.encode(text).ids


def test_tokens_that_the_tokenizer_puts_in_front_are_kept() -> None:
    backend = byte_level(AddedToken("<s>", normalized=False), vocab={}, merges=[])
    start = backend.token_to_id("<s>")
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])
    assert SpanEncoder(backend).encode([Span("hi", from_template=False)]) == backend.encode("hi").ids


def test_added_tokens_that_swallow_white_space_are_refused() -> None:
    backend = byte_level(AddedToken("<s>", lstrip=True, normalized=False), vocab={}, merges=[])
    with pytest.raises(WorkerFailure, match="<s>"):
        SpanEncoder(backend)
