"""Whatever comes in, the worker refuses it with a reason or ends it by name; it neither breaks nor grows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
import pytest
from boards import Board, board
from drawing import encode, red_circle
from embedded import Answer
from fuzzing import mutated_frame, mutated_message, packed
from test_transport import Serving
from worker_process import PATIENCE_S, Orchestrator, WorkerProcess

from glimpse_worker.protocol import (
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    Cancel,
    Done,
    Error,
    Fault,
    Generate,
    InvalidMessage,
    Options,
    RequestKey,
    decode_control,
    decode_data,
    decode_start,
)

Spawn = Callable[..., WorkerProcess]
ROOT = Path(__file__).parents[2]
VECTORS = {
    path.stem: json.loads(path.read_text())["value"] for path in (ROOT / "protocol/vectors").glob("*.json")
}
TO_DATA = [VECTORS[name] for name in ("generate", "generate-video", "generate-resumed")]
TO_CONTROL = [VECTORS["cancel"], VECTORS["shutdown"]]


@pytest.mark.parametrize(
    ("decode", "messages"),
    [(decode_control, TO_CONTROL), (decode_data, TO_DATA)],
    ids=["control", "data"],
)
def test_whatever_bytes_come_they_are_a_message_or_are_refused_with_a_reason(
    decode: Callable[[bytes], Any], messages: list[dict[str, Any]]
) -> None:
    reasons: list[str] = []
    for seed in range(4000):
        random = Random(seed)
        message = random.choice([*TO_DATA, *TO_CONTROL] if seed % 4 == 0 else messages)
        frame = packed(mutated_message(message, random) if seed % 2 else message)
        frame = frame if seed % 2 else mutated_frame(frame, random)
        try:
            decode(frame)
        except InvalidMessage as refusal:
            reasons.append(str(refusal))
    assert all(20 < len(reason) < 300 and reason.isprintable() for reason in reasons)
    # If all or none were read, it would not be the border that is tried.
    assert 2000 < len(reasons) < 3980


def test_whatever_line_comes_it_starts_a_worker_or_is_refused_with_a_reason() -> None:
    for seed in range(1000):
        random = Random(seed)
        line = json.dumps(VECTORS["start"]).encode()
        with contextlib.suppress(InvalidMessage):
            decode_start(mutated_frame(line, random))


def bad_generate(random: Random) -> list[bytes]:
    """A request and frames that do not fit together, or a request that is none."""
    message = random.choice(TO_DATA)
    sizes = decode_data(packed(message)).frame_sizes()
    frames = [random.randbytes(size % 50) for size in sizes] + [b""] * random.randint(0, 2)
    random.shuffle(frames)
    fits = [len(frame) for frame in frames] == sizes
    # A map is never one byte shorter and whole.
    return [packed(message)[:-1]] if fits or random.random() < 0.3 else [packed(message), *frames]


@pytest.mark.parametrize("seed", range(12))
def test_after_a_frame_that_is_none_nothing_more_is_taken(socket_directory: Path, seed: int) -> None:
    random = Random(seed)
    serving = Serving(socket_directory)
    serving.thread.start()
    with closing(Orchestrator(socket_directory)) as orchestrator:
        for number in range(5):
            orchestrator.cancel(RequestKey(f"r{number}", number))
        assert [serving.control.get(timeout=PATIENCE_S) for _ in range(5)] == [
            Cancel(request=f"r{number}", attempt=number) for number in range(5)
        ]
        # Holds the receiver back: it would be gone before the second is sent.
        with serving.transport._lock:
            orchestrator.send("data", *bad_generate(random))
            orchestrator.generate("normal 1")
        message = orchestrator.expect(Fault).message
        serving.thread.join(PATIENCE_S)
    assert "media frame" in message or "is not a message" in message
    assert (serving.code, serving.generate.empty(), serving.control.empty()) == (1, True, True)


@pytest.mark.parametrize(("channel", "limit"), [("control", MAX_HEADER_BYTES), ("data", MAX_FILE_BYTES)])
def test_a_worker_that_was_sent_too_large_a_frame_says_so_and_leaves(
    spawn: Spawn, channel: Literal["control", "data"], limit: int
) -> None:
    worker = spawn(heartbeatMs=10)
    worker.ready()
    worker.send(channel, bytes(limit + 1))
    reason = f"the {channel} channel was cut, as by a frame of more than {limit} bytes"
    if channel == "data":
        assert worker.expect(Fault).message == reason
    assert worker.exit_code() == 1
    assert reason in worker.log


def test_a_request_that_is_on_board_already_is_a_fault(worker: WorkerProcess) -> None:
    worker.until_end(worker.generate("normal 1"))
    worker.generate("slow 5000")
    worker.generate("normal 1")
    assert worker.expect(Fault).message == "request r1, attempt 0, is on board already"
    assert worker.exit_code() == 1


def senseless(random: Random, number: int) -> dict[str, Any]:
    """A request that is a message, on the scripted engine."""
    text = random.choice(["normal 2", "dance", "say", "say <|begin_of_box|>[9]", "oom 0", "", "normal 0"])
    message: dict[str, Any] = {
        "type": "generate",
        "request": f"r{number}",
        "attempt": random.choice([0, 7, 2**32]),
        "messages": [
            {"role": random.choice(["user", "system"]), "content": [{"type": "text", "text": text}]}
        ],
        "media": [],
        "options": {"seed": 0, "maxNewTokens": random.choice([1, 3, 2**31])},
    }
    if random.random() < 0.3:
        message["generated"] = random.choice([[0], [260, 73], [260] * 500, [2**40]])
    return message


def test_thousands_of_senseless_messages_end_by_name_and_leave_nothing_behind(spawn: Spawn) -> None:
    worker = spawn(heartbeatMs=10, engine={"kind": "scripted", "load": "normal", "slots": 64})
    worker.ready()
    random = Random(1)

    def play(numbers: range) -> int:
        """The resident memory, after so many requests, each with cancels that nobody understands."""
        open_keys: set[RequestKey] = set()

        def wait_until_open(most: int) -> None:
            while len(open_keys) > most:
                said = worker.next_data()
                if isinstance(said, Done | Error):
                    open_keys.remove(said.key)

        for number in numbers:
            # What waits on either side has to be the same however fast each is.
            wait_until_open(99)
            message = senseless(random, number)
            worker.send("data", packed(message))
            open_keys.add(RequestKey(message["request"], message["attempt"]))
            worker.cancel(RequestKey(f"nobody {number}", random.randrange(9)))
            if number % 3 == 0:
                worker.cancel(RequestKey(f"r{number}", random.randrange(9)))
        wait_until_open(0)
        # Those of before.
        while worker.hears("control", within_ms=0):
            worker.next_heartbeat()
        return max(worker.next_heartbeat().memory.process for _ in range(3))

    held = [play(range(first, first + 1000)) for first in range(0, 4000, 1000)]
    # What is kept of requests grows with each thousand; what the allocator takes once, it takes once.
    assert min(later - earlier for earlier, later in pairwise(held)) < 1024**2
    assert "Traceback" not in worker.log


@pytest.fixture(scope="module")
def engine() -> Iterator[Board]:
    with board() as own:
        yield own


@pytest.mark.parametrize("seed", range(4))
def test_requests_that_make_no_sense_end_by_name_on_the_embedded_model_too(engine: Board, seed: int) -> None:
    picture = encode(red_circle((56, 56)))
    content = [{"type": "media", "index": 0}, {"type": "text", "text": "Describe this image."}]
    message = {
        "type": "generate",
        "request": "r0",
        "attempt": 0,
        "generated": [506, 40],
        "messages": [{"role": "user", "content": content}],
        "media": [{"kind": "image", "bytes": len(picture)}],
        "options": {"seed": 1, "maxNewTokens": 4, "temperature": 1, "topP": 0.5, "topK": 9, "stop": ["red"],
                    "repetitionPenalty": 1.1, "maxThinkingTokens": 1},
    }  # fmt: skip
    random = Random(seed)
    answers: list[Answer] = []
    while len(answers) < 40:
        try:
            request = decode_data(packed(mutated_message(message, random)))
        except InvalidMessage:
            continue
        assert isinstance(request, Generate)
        if sum(request.frame_sizes()) > 10**6:
            # The transport refuses frames that do not have the sizes that were announced.
            continue
        name = f"r{len(engine.answers)}"
        request = msgspec.structs.replace(request, request=name, options=bounded(request))
        answer = engine.answers[name] = Answer(name)
        engine.engine.submit(request, [picture[:size].ljust(size, b"\0") for size in request.frame_sizes()])
        answers.append(answer)
    endings = [answer.wait().messages[-1] for answer in answers]
    refused = [ending for ending in endings if isinstance(ending, Error)]
    assert {ending.code for ending in refused} <= {"INVALID_REQUEST", "IMAGE_UNREADABLE", "VIDEO_UNREADABLE"}
    assert 5 < len(refused) < 35


def bounded(request: Generate) -> Options:
    length = min(request.options.max_new_tokens or 4, 4)
    return msgspec.structs.replace(request.options, max_new_tokens=length)
