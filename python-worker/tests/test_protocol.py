"""Both languages speak the same messages: the golden vectors of protocol/vectors hold for Python."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from glimpse_worker import protocol
from glimpse_worker.protocol import (
    ControlToWorker,
    CountTokens,
    ErrorCode,
    Generate,
    InvalidMessage,
    Message,
    Start,
    WarningCode,
    decode_control,
    decode_data,
    decode_start,
    encode,
)

ROOT = Path(__file__).parents[2]
VECTORS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "protocol/vectors").glob("*.json")}
PACKED = [name for name, vector in VECTORS.items() if vector["value"]["type"] != "start"]
STARTS = [name for name in VECTORS if name not in PACKED]
# JavaScript writes integers from 2^32 on as floats. Only the worker sends such, so only the test reads them.
from_javascript = msgspec.msgpack.Decoder(Message, strict=False)


def test_every_message_has_a_vector() -> None:
    tags = {message.__struct_config__.tag for message in (*get_args(Message), Start)}
    assert {vector["value"]["type"] for vector in VECTORS.values()} == tags


@pytest.mark.parametrize("name", PACKED)
def test_every_accepted_encoding_is_read(name: str) -> None:
    vector = VECTORS[name]
    assert vector["encodings"]
    for encoding in vector["encodings"]:
        assert from_javascript.decode(bytes.fromhex(encoding)) == msgspec.convert(vector["value"], Message)


@pytest.mark.parametrize("name", PACKED)
def test_what_python_writes_is_an_accepted_encoding(name: str) -> None:
    vector = VECTORS[name]
    assert encode(msgspec.convert(vector["value"], Message)).hex() in vector["encodings"]


@pytest.mark.parametrize("name", PACKED)
def test_the_worker_reads_each_encoding_of_what_it_is_sent(name: str) -> None:
    vector = VECTORS[name]
    message = msgspec.convert(vector["value"], Message)
    for encoding in map(bytes.fromhex, vector["encodings"]):
        if isinstance(message, ControlToWorker):
            assert decode_control(encoding) == message
        elif isinstance(message, Generate | CountTokens):
            assert decode_data(encoding) == message


@pytest.mark.parametrize("name", STARTS)
def test_the_start_line_is_json(name: str) -> None:
    value = VECTORS[name]["value"]
    start = decode_start(json.dumps(value).encode())
    assert json.loads(msgspec.json.encode(start)) == value


def test_the_protocol_version_and_limits_are_those_of_the_library() -> None:
    source = (ROOT / "protocol/messages.ts").read_text() + (ROOT / "protocol/codec.ts").read_text()
    for name in ("PROTOCOL_VERSION", "MAX_HEADER_BYTES", "MAX_FILE_BYTES", "MAX_SCHEMA_CHARACTERS"):
        written = re.search(rf"export const {name} = ([\d *]+);", source)
        assert written is not None
        factors = [int(factor) for factor in written[1].split("*")]
        product = 1
        for factor in factors:
            product *= factor
        assert getattr(protocol, name) == product


def test_the_worker_says_only_codes_that_the_library_knows() -> None:
    errors = set(
        re.findall(r"^  ([A-Z_]+): \{\s+retryable", (ROOT / "protocol/errors.ts").read_text(), re.MULTILINE)
    )
    assert errors
    assert set(get_args(ErrorCode)) <= errors
    source = (ROOT / "protocol/partial-result.ts").read_text()
    listed = re.search(r"warningCodes = \[(.*?)\]", source, re.DOTALL)
    assert listed is not None
    assert set(get_args(WarningCode)) == set(re.findall(r'"(\w+)"', listed[1]))


def generate(**changes: Any) -> bytes:
    return msgspec.msgpack.encode({**VECTORS["generate"]["value"], **changes})


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (msgspec.msgpack.encode({"type": "gibberish"}), "gibberish"),
        (generate(surprise=1), "surprise"),
        (generate(attempt=-1), "attempt"),
        (generate(attempt="0"), "attempt"),
        (generate(request=""), "request"),
        (generate(options={}), "seed"),
        (generate(options={"seed": 2**32}), "seed"),
        (generate(options={"seed": 1, "topP": 0}), "topP"),
        (generate(options={"seed": 1, "maxThinkingTokens": -1}), "maxThinkingTokens"),
        (generate(generated=[]), "generated"),
        (generate(generated=[3, -1]), "generated"),
        (generate(messages=[{"role": "user", "content": []}]), "content"),
        (generate() + b"\x00", "trailing"),
        (generate()[:-3], "truncated"),
        (b"", "truncated"),
        (b"\xc1", "invalid"),
        (b"\xdd\xff\xff\xff\xff", "array"),
        (b"\x91" * 5000, "array"),
        (b"\x81\xa4type\xa1\xff", "utf-8"),
        (b"\x00" * (protocol.MAX_HEADER_BYTES + 1), "bytes, more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_message_is_refused_with_the_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(InvalidMessage, match=f"data channel is not a message.*{reason}"):
        decode_data(frame)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ({"kind": "paged", "kvCacheMemoryBytes": 0}, "engine.kvCacheMemoryBytes"),
        ({"kind": "reference", "kvCacheMemoryBytes": 1}, "kvCacheMemoryBytes"),
        ({"kind": "reference", "deviceMap": "balanced"}, "engine.deviceMap"),
        ({"kind": "scripted", "load": "normal", "slots": 0}, "engine.slots"),
        ({"kind": "steam"}, "steam"),
    ],
    ids=["no memory", "another engine's memory", "unknown map", "no slots", "unknown"],
)
def test_an_engine_that_cannot_be_is_refused_with_the_reason(engine: dict[str, Any], reason: str) -> None:
    line = json.dumps({**VECTORS["start"]["value"], "engine": engine}).encode()
    with pytest.raises(InvalidMessage, match=f"start line is not a message.*{reason}"):
        decode_start(line)


def test_a_refusal_does_not_repeat_secrets() -> None:
    line = json.dumps({**VECTORS["start"]["value"], "hubToken": 5, "token": "hunter2"}).encode()
    with pytest.raises(InvalidMessage) as refusal:
        decode_start(line)
    assert "hunter2" not in str(refusal.value)


def test_whole_numbers_are_read_where_fractions_are_meant() -> None:
    request = decode_data(generate(options={"seed": 1, "temperature": 1, "topP": 1, "repetitionPenalty": 2}))
    assert isinstance(request, Generate)
    options = request.options
    assert (options.temperature, options.top_p, options.repetition_penalty) == (1.0, 1.0, 2.0)
    assert isinstance(options.temperature, float)
