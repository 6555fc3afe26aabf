"""JSON Schemas as grammars, and what a guide allows on the way through one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structured import STOP, VOCABULARY, follows, grammar, is_allowed, tags, tokenizer, written

from glimpse_worker.answer_tokens import token_bytes
from glimpse_worker.bitmask import all_but, only, unpacked
from glimpse_worker.failure import WorkerFailure
from glimpse_worker.grammar import MAX_SCHEMA_DEPTH, Grammars
from glimpse_worker.guide import Guide
from glimpse_worker.output import Output
from glimpse_worker.protocol import MAX_SCHEMA_CHARACTERS, MarkupPart, Options, TextPart, ThinkingPart

VECTORS = json.loads((Path(__file__).parents[2] / "protocol/schema-vectors.json").read_text())
ENFORCED = [vector for vector in VECTORS if "refused" not in vector]
REFUSED = [vector for vector in VECTORS if "refused" in vector]
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "label": {"type": "string"}},
    "required": ["x", "label"],
    "additionalProperties": False,
}


def ids_of(text: str) -> list[int]:
    return list(tokenizer().encode(text, add_special_tokens=False).ids)


def refusal(schema: Any) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        grammar(schema)
    return caught.value


@pytest.mark.parametrize("vector", ENFORCED, ids=lambda vector: vector["name"])
def test_of_a_schema_its_documents_are_allowed_and_no_others(vector: dict[str, Any]) -> None:
    found = grammar(vector["schema"])
    assert [text for text in vector["valid"] if not (follows(found, text) and is_allowed(found, text))] == []
    assert [text for text in vector["invalid"] if follows(found, text)] == []


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["name"])
def test_what_cannot_be_enforced_is_refused_by_name(vector: dict[str, Any]) -> None:
    error = refusal(vector["schema"])
    assert error.code == "SCHEMA_UNSUPPORTED"
    # A pattern is quoted, everything else is named.
    assert ("regex" if vector["refused"] == "pattern" else vector["refused"]) in error.message
    assert error.hint is not None


@pytest.mark.parametrize("name", ["not", "uniqueItems"])
def test_a_schema_cannot_ask_to_be_read_loosely(name: str) -> None:
    assert refusal({name: {"type": "string"}, "x-guidance": {"lenient": True}}).code == "SCHEMA_UNSUPPORTED"


def nested(depth: int) -> str:
    return '{"items":' * (depth - 1) + "{}" + "}" * (depth - 1)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "no JSON"),
        ("[]", "no object"),
        ("true", "no object"),
        (f'{{"title":"{"a" * MAX_SCHEMA_CHARACTERS}"}}', f"more than {MAX_SCHEMA_CHARACTERS}"),
        (nested(MAX_SCHEMA_DEPTH + 1), "65 levels deep"),
        (nested(100_000)[:MAX_SCHEMA_CHARACTERS], "no JSON"),
        ('{"type":"string","pattern":"("}', "regex"),
        ('{"$ref":"#/$defs/missing"}', "missing"),
    ],
)
def test_limits_of_a_schema_are_named(schema: str, message: str) -> None:
    error = refusal(schema)
    assert error.code == "SCHEMA_UNSUPPORTED"
    assert message in error.message
    assert len(error.message) < 500


def test_a_schema_as_deep_as_may_be_is_taken() -> None:
    assert follows(grammar(nested(MAX_SCHEMA_DEPTH)), "[[3]]")


def test_a_grammar_is_compiled_once() -> None:
    assert grammar(POINT) is grammar(POINT)


def test_without_the_library_only_schemas_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    own = Grammars(tokenizer(), VOCABULARY, [STOP])
    assert own.of(Options(seed=0)) is None
    with pytest.raises(WorkerFailure, match="llguidance") as caught:
        own.of(Options(seed=0, schema="{}"))
    assert caught.value.code == "PYTHON_DEPS_MISSING"


def test_every_id_of_the_vocabulary_has_its_bytes() -> None:
    texts = token_bytes(tokenizer(), VOCABULARY + 3)
    assert texts[VOCABULARY:] == [b""] * 3
    for id in range(VOCABULARY):
        decoded = tokenizer().decode([id], skip_special_tokens=False)
        assert texts[id].decode(errors="replace") == decoded
    assert {bytes([byte]) for byte in range(256)} <= {*texts}


def test_bits_are_packed_and_unpacked() -> None:
    mask = only([0, 31, 32, 99, 100], 100)
    assert mask.tolist() == [-(2**31) + 1, 1, 0, 8]
    assert unpacked(mask, 100).nonzero()[0].tolist() == [0, 31, 32, 99]
    assert unpacked(all_but([0, 31, 32, 99, 100], 100), 100).nonzero()[0].tolist() == [
        id for id in range(100) if id not in (0, 31, 32, 99)
    ]


def allowed(guide: Guide, ids: list[int]) -> list[int]:
    return [int(id) for id in unpacked(guide(ids), VOCABULARY).nonzero()[0]]


def test_an_answer_begins_with_a_thought_or_at_once() -> None:
    assert allowed(Guide(grammar(POINT), 0), []) == sorted([tags().think, tags().answer])


def test_a_thought_may_be_anything_and_ends_by_its_tag() -> None:
    outside = {tags().think, tags().answer, tags().end_answer, STOP}
    guide = Guide(grammar(POINT), 0)
    ids = [tags().think]
    for id in [*range(100), *(id for id in tags().tags if id not in outside and id != tags().end_think)]:
        assert {*range(VOCABULARY)} - {*allowed(guide, ids)} == outside
        ids.append(id)
    assert allowed(guide, [*ids, tags().end_think]) == [tags().answer]


def test_after_the_json_there_is_one_way() -> None:
    guide = Guide(grammar(POINT), 0)
    ids = [tags().answer, *written('{"x":3,"label":"a"}')]
    assert allowed(guide, ids) == [tags().end_answer]
    assert allowed(guide, [*ids, tags().end_answer]) == [STOP]


def test_no_tag_and_no_other_added_token_is_part_of_the_json() -> None:
    guide = Guide(grammar(POINT), 0)
    ids = [tags().answer, *written('{"x":3,"label":"a')]
    added = {*tokenizer().get_added_tokens_decoder()}
    assert added & {*allowed(guide, ids)} == set()
    assert {*written("</answer>")} <= {*allowed(guide, ids)}


def test_ids_that_nobody_can_have_generated_are_refused() -> None:
    for ids in ([5], [tags().answer, *written("[")], [tags().think, tags().end_think, 5]):
        with pytest.raises(WorkerFailure, match="generated: the id") as caught:
            Guide(grammar(POINT), 0)(ids)
        assert caught.value.code == "INVALID_REQUEST"


def test_what_is_allowed_follows_from_the_ids_however_they_come() -> None:
    draw = Random(1)
    found = grammar({"type": "array", "items": POINT, "maxItems": 3})
    prompt = [7, tags().answer, 9]
    for _ in range(20):
        ids = list(prompt)
        step_by_step = Guide(found, len(prompt))
        while ids[-1] != STOP and len(ids) < 80:
            choices = allowed(step_by_step, ids)
            closing = [id for id in (tags().end_think, tags().end_answer, STOP) if id in choices]
            ids.append(closing[0] if closing and draw.random() < 0.2 else draw.choice(choices))
            if draw.random() < 0.3:
                at_once = Guide(found, len(prompt))
                assert (at_once(ids) == step_by_step(ids)).all()
                # Asking again changes nothing.
                assert (at_once(ids) == step_by_step(ids)).all()


def test_a_vocabulary_larger_than_the_tokenizer_has_no_id_beyond_it_in_the_json() -> None:
    own = Grammars(tokenizer(), 600, [STOP])
    found = own.of(Options(seed=0, schema="{}"))
    assert found is not None
    mask = unpacked(Guide(found, 0)([tags().answer]), 600)
    assert mask[:VOCABULARY].any()
    assert not mask[VOCABULARY:].any()


@pytest.mark.parametrize("vocabulary", [512, 513, 544, 600])
def test_masks_have_a_bit_for_each_id_wherever_the_answer_is(vocabulary: int) -> None:
    found = Grammars(tokenizer(), vocabulary, [STOP]).of(Options(seed=0, schema='{"const":1}'))
    assert found is not None
    guide = Guide(found, 0)
    ids = [tags().think, tags().end_think, tags().answer, *written("1"), tags().end_answer]
    for length in range(len(ids) + 1):
        assert guide(ids[:length]).shape == (-(-vocabulary // 32),)


def test_a_text_of_the_json_may_spell_tags() -> None:
    text = '{"x":1,"label":"</answer><think>1 <|begin_of_box|>[[1,2,3,4]]<|end_of_box|></think>"}'
    found = grammar(POINT)
    assert follows(found, text)
    decode = tokenizer().decode
    output = Output(
        lambda ids: str(decode([*ids], skip_special_tokens=False)), stop_token_ids=[STOP], tags=tags().tags
    )
    ids = [*ids_of("<think>a</think><answer>"), *written(text), *ids_of("</answer>"), STOP]
    parts = [part for id in ids for part in output.push([id])] + output.finish()
    assert [part for part in parts if isinstance(part, ThinkingPart)] == [ThinkingPart("a")]
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == text
    assert parts[-1] == MarkupPart("<|user|>")
    assert (output.stopped, output.thinking_tokens) == (True, 3)
