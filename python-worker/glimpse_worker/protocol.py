"""The messages of the wire, as protocol/messages.ts defines them; the golden vectors hold the two together.

Every message is one MessagePack map whose `type` names it, except the start line (JSON) and the raw frames
that follow `generate`. Absent fields are left out, never sent as nil. Field names travel in camelCase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

PROTOCOL_VERSION = 3

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""A header larger than this is no message; pictures travel in frames of their own."""
MAX_FILE_BYTES = 256 * 1024 * 1024
"""The most that a video file or a PDF may weigh, and so any frame on the data channel."""
MAX_SCHEMA_CHARACTERS = 128 * 1024
"""The longest JSON Schema, as JSON."""

MAX_REASON = 200
"""Characters of a refusal's reason."""

T = TypeVar("T")
Frame = bytes | memoryview
"""What one frame of a socket holds; a memoryview keeps its frame alive."""

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[float, Meta(ge=0)]
NonEmptyString = Annotated[str, Meta(min_length=1)]

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
LoadingStage = Literal["import", "download", "weights", "graphs"]
"""`graphs` comes after `ready`: the worker serves already, and becomes faster."""
HeartbeatPhase = Literal["loading", "idle", "step"]
"""`idle`: nothing is computed. `step`: a step is under way; a hang before the first token of a request counts
as one.
"""
Progress = Callable[[LoadingStage, int | None, int | None], None]
"""
Reports a stage of loading, with bytes done and total where known, or the number of graphs. Safe to call
from any thread.
"""
FinishReason = Literal["stop", "length", "cancelled"]
WarningCode = Literal["IMAGE_PADDED", "IMAGE_FIRST_FRAME", "BOX_IMAGE_ASSUMED", "MAX_NEW_TOKENS_CUT"]
ErrorCode = Literal[
    "INVALID_REQUEST",
    "SCHEMA_UNSUPPORTED",
    "MEDIA_MIX_UNSUPPORTED",
    "IMAGE_UNREADABLE",
    "IMAGE_TOO_LARGE",
    "VIDEO_UNREADABLE",
    "PDF_UNREADABLE",
    "CONTEXT_TOO_LONG",
    "GPU_OUT_OF_MEMORY",
    "GENERATION_FAILED",
    "WORKER_START_FAILED",
    "PYTHON_DEPS_MISSING",
    "MODEL_NOT_FOUND",
    "MODEL_UNSUPPORTED",
    "MODEL_DOWNLOAD_FAILED",
    "DISK_FULL",
    "DEVICE_NOT_FOUND",
    "PROTOCOL_MISMATCH",
]
"""Those of protocol/errors.ts that a worker can say."""


class InvalidMessage(ValueError):
    """A frame is not a message of this protocol; the text says why, without repeating the frame's content."""


class RequestKey(NamedTuple):
    """Names one attempt at one request: what `cancel` points at and every answer repeats."""

    request: str
    attempt: int


class _Record(
    Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """A map without a tag of its own."""


class _Message(_Record, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """A map whose `type` is the name of the class in lower case."""


class _Keyed(_Message, frozen=True, kw_only=True):
    request: Annotated[str, Meta(min_length=1, max_length=64)]
    attempt: Count

    @property
    def key(self) -> RequestKey:
        return RequestKey(self.request, self.attempt)


class _Kind(_Record, frozen=True, tag_field="kind"):
    """A map that `kind` tells from its siblings."""


class PagedEngine(_Kind, frozen=True, kw_only=True, tag="paged"):
    """All requests in one batch, their keys and values in pages."""

    kv_cache_memory_bytes: Positive | None = None
    """How many bytes of the device's memory hold keys and values; absent: the engine chooses."""


class ReferenceEngine(_Kind, frozen=True, kw_only=True, tag="reference"):
    """transformers' own `generate`."""

    device_map: Literal["auto"] | None = None
    """Lets accelerate spread the layers over all devices that the process sees."""


class ScriptedEngine(_Kind, frozen=True, tag="scripted"):
    """No model: plays the faults that the tests need."""

    load: Literal["normal", "slow", "hang", "fail", "crash", "babble"]
    slots: Positive | None = None
    """Those of `ready`; absent: a few."""


class Start(_Message, frozen=True, kw_only=True):
    """The first and only line on stdin (JSON). Holds secrets: never log it."""

    protocol: Count
    generation: Count
    token: str
    """One-time secret, repeated in `hello`."""
    control: str
    data: str
    parent_pid: Count
    """The process whose death ends the worker."""
    model: str
    """A directory, or an id on the Hugging Face hub."""
    revision: str | None = None
    hub_token: str | None = None
    device: str
    """`auto`, `cpu`, or `cuda:N` (torch's name for an AMD GPU too)."""
    dtype: Dtype
    engine: PagedEngine | ReferenceEngine | ScriptedEngine
    heartbeat_ms: Positive
    """How often the worker sends `heartbeat`."""
    threads: Positive | None = None
    """How many threads torch computes with on a CPU; absent: torch's own choice."""


class Cancel(_Keyed, frozen=True):
    """Control. Stop generating; answered with `done` unless the request has ended already."""


class Shutdown(_Message, frozen=True):
    """Control. Leave, without finishing what is on board."""


class TextContent(_Message, frozen=True, tag="text"):
    text: str


class MediaContent(_Message, frozen=True, tag="media"):
    index: Count
    """Counts in the request's `media`."""


class ChatMessage(_Record, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: Annotated[Sequence[TextContent | MediaContent], Meta(min_length=1)]


class PixelCap(_Record, frozen=True, kw_only=True):
    """
    A bound of the caller's, below the model's own, on the pixels of a picture, of each page or each frame.
    """

    max_pixels: Positive
    """Width × height."""
    on_too_large: Literal["downscale", "refuse"]


class ImageMedia(_Kind, frozen=True, kw_only=True, tag="image"):
    bytes: Count
    cap: PixelCap | None = None


class VideoMedia(_Kind, frozen=True, kw_only=True, tag="video"):
    """A video as pictures, one for each frame."""

    bytes: Annotated[Sequence[Count], Meta(min_length=1)]
    """One entry per frame."""
    fps: Annotated[float, Meta(gt=0)]
    """Frames a second."""
    cap: PixelCap | None = None


class VideoFileMedia(_Kind, frozen=True, kw_only=True, tag="videoFile"):
    """A video as its file's bytes, of which the worker takes some frames."""

    bytes: Count
    fps: Annotated[float, Meta(gt=0)] | None = None
    """How many frames of each second are taken; absent: as many as the checkpoint's preprocessor says."""
    max_frames: Positive | None = None
    cap: PixelCap | None = None


class PdfMedia(_Kind, frozen=True, kw_only=True, tag="pdf"):
    """A PDF document, of which each page becomes a picture."""

    bytes: Count
    dpi: Annotated[float, Meta(gt=0)]
    pages: Annotated[Sequence[Positive], Meta(min_length=1)] | None = None
    """Counted from 1, in the order in which they are shown; absent: all."""
    cap: PixelCap | None = None


Media = ImageMedia | VideoMedia | VideoFileMedia | PdfMedia


class Options(_Record, frozen=True, kw_only=True):
    """What is absent comes from the checkpoint's generation_config; a `temperature` below 1e-5 is greedy."""

    seed: Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
    max_new_tokens: Positive | None = None
    max_thinking_tokens: Count | None = None
    """The most tokens between `<think>` and `</think>`: when they are used up the engine writes
    `</think><answer>`; 0 writes `<think></think><answer>` before the first token.
    """
    temperature: Annotated[float, Meta(ge=0)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Positive | None = None
    repetition_penalty: Annotated[float, Meta(gt=0)] | None = None
    stop: Sequence[NonEmptyString] | None = None
    schema: NonEmptyString | None = None
    """A JSON Schema, as JSON: the answer is JSON that it describes."""


class _Asked(_Keyed, frozen=True, kw_only=True):
    """
    Data. Followed by one raw frame per picture, video frame, video file or PDF, in the order of `media`.
    """

    messages: Sequence[ChatMessage]
    media: Sequence[Media]

    def frame_sizes(self) -> list[int]:
        """The bytes of each raw frame that follows this message."""
        sizes: list[int] = []
        for medium in self.media:
            sizes.extend(medium.bytes if isinstance(medium, VideoMedia) else [medium.bytes])
        return sizes


class Generate(_Asked, frozen=True, kw_only=True):
    """Data. Answered with tokens, until `done` or `error`."""

    generated: Annotated[Sequence[Count], Meta(min_length=1)] | None = None
    """What an earlier attempt has generated and sent: the engine goes on after these ids, its first
    TokensItem has their number as `index`, and bounds and usage count them as generated.
    """
    options: Options


class CountTokens(_Asked, frozen=True, kw_only=True, tag="count"):
    """Data. Answered with `counted`: nothing is generated."""


class Hello(_Message, frozen=True, kw_only=True):
    """Control. The first message of a worker, before it imports anything heavy."""

    protocol: Count
    generation: Count
    token: str
    pid: Count


class Loading(_Message, frozen=True, kw_only=True):
    """Control. `done` and `total` are bytes, of `graphs` how many of them."""

    stage: LoadingStage
    done: Count | None = None
    total: Count | None = None


class Device(_Record, frozen=True, kw_only=True):
    kind: Literal["cpu", "cuda", "rocm"]
    id: str
    """torch's name: `cpu`, `cuda:0`."""
    name: str
    """The marketing name, or the processor's."""
    memory_bytes: Count | None = None


class PixelLimits(_Record, frozen=True, kw_only=True):
    """The checkpoint's preprocessor numbers; pixels count height × width × frames, as transformers does."""

    patch_size: Count
    merge_size: Count
    temporal_patch_size: Count
    min_pixels: Count
    max_pixels: Count


class Ready(_Message, frozen=True, kw_only=True):
    """Control. From here on the worker takes requests."""

    model: str
    revision: str | None = None
    """The commit of the checkpoint, when it came from the hub."""
    engine: Literal["paged", "reference", "scripted"]
    dtype: str
    device: Device
    slots: Positive
    """How many requests the orchestrator may have on board at once."""
    kv_cache_tokens: Positive | None = None
    """How many tokens the KV cache holds, of all requests together; absent when the engine has none."""
    context_length: Count
    image_limits: PixelLimits
    video_limits: PixelLimits
    stop_token_ids: Sequence[Count]
    versions: Mapping[str, str]
    """Names and versions of what the worker runs on: python, torch, transformers …"""


class Failed(_Message, frozen=True, kw_only=True):
    """Control. The worker cannot start; it leaves after this message."""

    code: ErrorCode
    message: str
    hint: str | None = None
    traceback: str | None = None


class Fault(_Message, frozen=True, kw_only=True):
    """Control. The worker can serve no longer: a frame from the orchestrator was not a message, or the engine
    broke. It leaves after this message.
    """

    reason: Literal["frame refused", "engine broken"]
    message: str


class Memory(_Record, frozen=True, kw_only=True):
    """Bytes. `process` is the resident memory; `used` and `total` those of the device, absent on a CPU."""

    process: Count
    used: Count | None = None
    total: Count | None = None


class Heartbeat(_Message, frozen=True, kw_only=True):
    """Control. Sent every `heartbeat_ms` from `hello` on, by a thread that neither loading nor a step can
    hold up, unless they hold the interpreter's lock or the process is stopped.
    """

    phase: HeartbeatPhase
    steps: Count
    """How many steps the engine has ended."""
    age_ms: Milliseconds
    """How long the present phase, and in `step` the present step, has lasted."""
    running: Count
    """Requests that have a place in the engine."""
    waiting: Count
    """Requests that wait for one."""
    memory: Memory


class ThinkingPart(_Kind, frozen=True, kw_only=False, tag="thinking"):
    text: str


class TextPart(_Kind, frozen=True, kw_only=False, tag="text"):
    text: str


class MarkupPart(_Kind, frozen=True, kw_only=False, tag="markup"):
    """Belongs to neither: tags, box tokens, the stop token, white space at the borders."""

    text: str


class BoxPart(_Kind, frozen=True, tag="box"):
    """Pixels of medium `image` after EXIF orientation: left, top, right, bottom."""

    image: Count
    box: tuple[float, float, float, float]
    page: Positive | None = None
    """Of a PDF: the number of the page, whose pixels at the `dpi` of the medium these are."""
    label: NonEmptyString | None = None
    """What the model calls it, where it says so."""


Part = ThinkingPart | TextPart | MarkupPart | BoxPart
"""The `text` of thinking, text and markup parts, joined in order, is the raw text."""


class RequestPrepared(_Keyed, frozen=True, kw_only=True, tag="prepared"):
    """Data. The media of the request were read and its prompt was built: from here on their bytes no longer
    count as in flight, and the true number of tokens replaces the orchestrator's estimate.
    """

    prompt_tokens: Count
    image_tokens: Count


class CountedImage(_Kind, frozen=True, kw_only=True, tag="image"):
    tokens: Count


class CountedVideo(_Kind, frozen=True, kw_only=True, tag="video"):
    tokens: Count
    frames: Count
    """How many the model sees."""
    duration_ms: Milliseconds


class CountedPdf(_Kind, frozen=True, kw_only=True, tag="pdf"):
    tokens: Count
    pages: Count
    """Those of the whole document."""
    page_tokens: Sequence[Count]
    """One entry per page that is shown."""


CountedMedium = CountedImage | CountedVideo | CountedPdf


class Counted(_Keyed, frozen=True, kw_only=True):
    """Data. The good ending of `count`. `tokens` of all media add up to `image_tokens`."""

    prompt_tokens: Count
    image_tokens: Count
    context_length: Count
    media: Sequence[CountedMedium]


class TokensItem(_Record, frozen=True, kw_only=True):
    request: Annotated[str, Meta(min_length=1, max_length=64)]
    attempt: Count
    index: Count
    """That of the first id among the request's generated ids."""
    ids: Sequence[Count]
    parts: Sequence[Part]


class Tokens(_Message, frozen=True, kw_only=True):
    """Data. One per engine step: the new tokens of every request that got some."""

    items: Sequence[TokensItem]


class RequestWarning(_Keyed, frozen=True, kw_only=True, tag="warning"):
    """Data. The request goes on; its caller should know."""

    code: WarningCode
    message: str
    media: Count | None = None


class Usage(_Record, frozen=True, kw_only=True):
    prompt_tokens: Count
    """All tokens of the prompt, those of pictures and video included."""
    image_tokens: Count
    """The part of `prompt_tokens` that stands for pictures or video frames."""
    cached_tokens: Count
    """The part of `prompt_tokens` whose keys and values were reused from an earlier request."""
    cached_image_tokens: Count
    """The part of `image_tokens` that did not go through the vision tower again."""
    thinking_tokens: Count
    """The part of `completion_tokens` spent on thinking, its tags included."""
    completion_tokens: Count
    """Everything generated, the stop token included."""


class Timing(_Record, frozen=True, kw_only=True):
    """Waiting in the worker; media and prompt; prompt to first token; first token to last."""

    queue_ms: Milliseconds
    preprocess_ms: Milliseconds
    prefill_ms: Milliseconds
    decode_ms: Milliseconds


class Done(_Keyed, frozen=True, kw_only=True):
    """Data. The one good ending of a request."""

    finish_reason: FinishReason
    usage: Usage
    timing: Timing


class Error(_Keyed, frozen=True, kw_only=True):
    """Data. The one bad ending of a request; the worker goes on. `media` is the medium at fault, when there
    is one.
    """

    code: ErrorCode
    message: str
    hint: str | None = None
    traceback: str | None = None
    media: Count | None = None


ControlToWorker = Cancel | Shutdown
DataToWorker = Generate | CountTokens
ControlFromWorker = Hello | Loading | Ready | Failed | Fault | Heartbeat
DataFromWorker = RequestPrepared | Tokens | RequestWarning | Counted | Done | Error
Message = ControlToWorker | DataToWorker | ControlFromWorker | DataFromWorker

_start = msgspec.json.Decoder(Start)
_control: msgspec.msgpack.Decoder[ControlToWorker] = msgspec.msgpack.Decoder(ControlToWorker)
_data: msgspec.msgpack.Decoder[DataToWorker] = msgspec.msgpack.Decoder(DataToWorker)


def encode(message: Message) -> bytes:
    """Packs a message of either direction; safe to call from any thread."""
    return msgspec.msgpack.encode(message)


def decode_start(line: bytes) -> Start:
    """Raises InvalidMessage."""
    return _decode(_start.decode, line, "the start line")


def decode_control(frame: Frame) -> ControlToWorker:
    """Raises InvalidMessage."""
    return _decode(_control.decode, frame, "a frame on the control channel")


def decode_data(frame: Frame) -> DataToWorker:
    """Raises InvalidMessage."""
    return _decode(_data.decode, frame, "a frame on the data channel")


def _decode(decode: Callable[[Frame], T], source: Frame, name: str) -> T:
    if len(source) > MAX_HEADER_BYTES:
        raise InvalidMessage(
            f"{name} is not a message: it has {len(source)} bytes, more than {MAX_HEADER_BYTES}"
        )
    try:
        return decode(source)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage(f"{name} is not a message: {_harmless(str(error))}") from error


def _harmless(text: str) -> str:
    """A decoder's words, which may quote a key or a tag of the frame, fit to be shown on a terminal."""
    short = text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"
    return "".join(character if character.isprintable() else "\ufffd" for character in short)
