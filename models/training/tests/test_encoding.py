"""A sequence is what the chat template and the processor make of the same messages."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from models.training.conversation import Clip, Conversation, Turn
from models.training.encoding import UNTRAINED, encode
from models.training.export import TEMPLATE
from models.training.tests.conversations import CONVERSATIONS, TALK
from models.training.vocabulary import FILE, load_tokenizer

TOKENIZER = PreTrainedTokenizerFast(tokenizer_file=str(FILE), chat_template=TEMPLATE)  # type: ignore[no-untyped-call]


def messages(conversation: Conversation) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    if conversation.system is not None:
        said.append({"role": "system", "content": conversation.system})
    for number, turn in enumerate(conversation.turns):
        media = [{"type": "video" if isinstance(medium, Clip) else "image"} for medium in turn.media]
        text = [{"type": "text", "text": turn.question}]
        is_first = number == 0 and conversation.text_first
        said.append({"role": "user", "content": text + media if is_first else media + text})
        is_plain = conversation.plain_history and turn is not conversation.turns[-1]
        said.append({"role": "assistant", "content": answer(turn, is_plain)})
    return said


def answer(turn: Turn, is_plain: bool) -> str:
    """Callers send earlier answers without box tokens."""
    if is_plain:
        return turn.answer.replace("<|begin_of_box|>", "").replace("<|end_of_box|>", "")
    return f"<think>{turn.thought}</think><answer>{turn.answer}</answer>"


def expanded(text: str, conversation: Conversation) -> str:
    """As Glm4vProcessor puts as many tokens as there are cells."""
    for medium in (medium for turn in conversation.turns for medium in turn.media):
        cells = medium.pixels.shape[-3] * medium.pixels.shape[-2] // 784
        if isinstance(medium, Clip):
            frame = f"<|begin_of_image|>{'#' * cells}<|end_of_image|>"
            shown = "".join(f"{frame}{second}" for second in medium.seconds)
            text = text.replace("<|video|>", shown, 1)
        else:
            text = text.replace("<|image|>", "#" * cells, 1)
    return text.replace("#", "<|image|>")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_it_is_what_template_and_processor_make(name: str) -> None:
    conversation = CONVERSATIONS[name]
    text = TOKENIZER.apply_chat_template(messages(conversation), tokenize=False)
    expected = TOKENIZER(expanded(str(text), conversation) + "<|user|>", add_special_tokens=False).input_ids
    assert encode(conversation, load_tokenizer(), None).ids.tolist() == expected


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_exactly_thoughts_answers_and_stops_are_trained(name: str) -> None:
    conversation = CONVERSATIONS[name]
    encoded = encode(conversation, load_tokenizer(), None)
    trained = [int(id) for id in encoded.labels if id != UNTRAINED]
    turns = conversation.turns[-1:] if conversation.plain_history else conversation.turns
    text = "".join(answer(turn, is_plain=False) + "<|user|>" for turn in turns)
    assert load_tokenizer().decode(trained, skip_special_tokens=False) == text


def test_a_thought_that_is_cut_carries_no_loss_and_its_answer_does() -> None:
    shares = []
    for seed in range(400):
        encoded = encode(Conversation((TALK,)), load_tokenizer(), Random(seed))
        (span,) = encoded.spans
        assert (encoded.labels[span.answer : span.end] == encoded.ids[span.answer : span.end]).all()
        carries = encoded.labels[span.thought : span.answer] != UNTRAINED
        assert carries.all() or not carries.any()
        whole = load_tokenizer().encode(f"<think>{TALK.thought}</think><answer>").ids
        assert (encoded.ids[span.thought : span.answer].tolist() == whole) == carries.all()
        shares.append(not carries.any())
    assert 0.04 < sum(shares) / len(shares) < 0.13
