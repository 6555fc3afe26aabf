"""Which pictures and videos a request may hold, and in which order its messages show them."""

from __future__ import annotations

from collections.abc import Sequence

from .failure import WorkerFailure
from .media import MediaKind
from .protocol import ChatMessage, Media, TextContent, VideoFileMedia, VideoMedia

MAX_IMAGES = 300
"""What the model's authors allow in one input."""


def media_order(messages: Sequence[ChatMessage], media: Sequence[Media]) -> list[int]:
    """
    The indices of `media` in the order in which the messages show them.

    Raises INVALID_REQUEST or MEDIA_MIX_UNSUPPORTED for what the model cannot take, before anything is
    decoded.
    """
    if not messages:
        raise WorkerFailure("INVALID_REQUEST", "messages: expected at least one message, got none")
    order = []
    for number, message in enumerate(messages):
        for content in message.content:
            if isinstance(content, TextContent):
                continue
            if message.role != "user":
                raise WorkerFailure(
                    "INVALID_REQUEST",
                    f"messages[{number}]: a {message.role} message holds a picture; only user messages may",
                    hint="Move the picture into a user message.",
                )
            order.append(content.index)
    if sorted(order) != list(range(len(media))):
        raise WorkerFailure(
            "INVALID_REQUEST",
            f"messages: expected each of the {len(media)} media exactly once, got the indices {order}",
        )
    _check_mix(media)
    return order


def media_kind(media: Sequence[Media]) -> MediaKind:
    """What the media of a request are for the model, to which the pages of a PDF are pictures."""
    return "video" if any(map(_is_video, media)) else "image"


def _is_video(medium: Media) -> bool:
    return isinstance(medium, VideoMedia | VideoFileMedia)


def _check_mix(media: Sequence[Media]) -> None:
    videos = sum(map(_is_video, media))
    images = len(media) - videos
    if videos > 1 or (videos and images):
        raise WorkerFailure(
            "MEDIA_MIX_UNSUPPORTED",
            f"expected pictures (PDFs among them) or one video, got {images} pictures and {videos} videos",
            hint="Send the video in a request of its own, or some of its frames as pictures.",
        )
    if images > MAX_IMAGES:
        raise WorkerFailure("INVALID_REQUEST", f"expected at most {MAX_IMAGES} pictures, got {images}")
