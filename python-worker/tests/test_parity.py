"""The engine gives the token ids that a plain transformers script gives for the same messages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from drawing import encode, moving_circle, photo, red_circle, shapes, text
from embedded import MODEL, Video, assistant, caller, system, user
from PIL import Image
from plain_script import Media, PlainScript

from glimpse_worker.pixels import (
    Pixels,
    image_pixels,
    patches,
    resize,
    to_tensor,
    video_frame_size,
    video_pixels,
)
from glimpse_worker.preprocessing import Preprocessing, read_preprocessing
from glimpse_worker.protocol import ChatMessage, MediaContent, TextContent

TWO = shapes((224, 196), ("circle", "red", (20, 30, 80, 90)), ("square", "blue", (130, 110, 190, 170)))
HELLO, WORLD = text("Hello", (112, 112)), text("World", (168, 84))
MAX_NEW_TOKENS = 48


@dataclass(frozen=True)
class Case:
    messages: Sequence[ChatMessage]
    images: Sequence[Image.Image] = ()
    frames: Sequence[Image.Image] = ()
    fps: float = 0


# No picture here has to be resized: both sides are multiples of 28 and within the checkpoint's limits.
CASES = {
    "describe a circle": Case([user(0, "Describe this image.")], [red_circle()]),
    "describe two shapes": Case([user(0, "Describe this image.")], [TWO]),
    "count": Case([user(0, "How many shapes are there?")], [TWO]),
    "point": Case([user(0, "Where is the blue square?")], [TWO]),
    "colour": Case([user(0, "What colour is the circle?")], [TWO]),
    "no such object": Case([user(0, "Is there a green star?")], [TWO]),
    "read": Case([user(0, "Read the text in this image.")], [text("GLIMPSE")]),
    "read digits": Case([user(0, "What does it say?")], [text("2041", (140, 84))]),
    "text before the picture": Case([user("Read the text.", 0)], [HELLO]),
    "text on both sides": Case([user("Look: ", 0, " Describe this image.")], [TWO]),
    "wide picture": Case([user(0, "Read the text.")], [text("wide and short", (448, 56), 24)]),
    "smooth colours": Case([user(0, "Describe this image.")], [photo(252, 168)]),
    "two pictures": Case([user(0, 1, "Read the text in the second image.")], [HELLO, WORLD]),
    "two sizes": Case(
        [user(0, 1, "Describe each image.")], [TWO, shapes((84, 84), ("circle", "red", (20, 20, 60, 60)))]
    ),
    "three pictures": Case(
        [user(0, 1, 2, "Which image has a circle?")], [HELLO, WORLD, red_circle((112, 112))]
    ),
    "shown out of order": Case([user(1, 0, "Read the text in the first image.")], [HELLO, WORLD]),
    "video": Case([user(0, "What happens in this video?")], frames=moving_circle(), fps=2),
    "video backwards": Case([user(0, "What happens in this video?")], frames=moving_circle()[::-1], fps=2.5),
    "video of odd length": Case([user(0, "Describe this video.")], frames=moving_circle(7), fps=1),
    "long pauses": Case([user(0, "Describe this video.")], frames=moving_circle(4, (112, 140)), fps=0.07),
    "text only": Case([user("What is 7 + 8?")]),
    "borders of white space": Case([user("\n  Hello \n\n")]),
    "not ASCII": Case([user("你好, Grüße 🙂")]),
    "system prompt": Case([system("You are a helpful assistant."), user(0, "Describe this image.")], [TWO]),
    "two turns": Case(
        [user(0, "Describe this image."), assistant("A red circle."), user("How many shapes are there?")],
        [TWO],
    ),
    "two turns, two pictures": Case(
        [user(0, "Read the text."), assistant("Hello"), user(1, "Read the text in the second image.")],
        [HELLO, WORLD],
    ),
}


@cache
def script() -> PlainScript:
    return PlainScript()


def template_messages(case: Case) -> list[dict[str, Any]]:
    kind = "video" if case.frames else "image"
    return [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part.text} if isinstance(part, TextContent) else {"type": kind}
                for part in message.content
            ],
        }
        for message in case.messages
    ]


def shown_images(case: Case) -> list[Image.Image]:
    """In the order of the messages, which is how a script hands them to the processor."""
    return [
        case.images[part.index]
        for message in case.messages
        for part in message.content
        if isinstance(part, MediaContent) and case.images
    ]


def ask_engine(case: Case) -> tuple[list[int], str]:
    media: list[bytes | Video] = [encode(image) for image in case.images]
    if case.frames:
        media = [Video([encode(frame) for frame in case.frames], case.fps)]
    answer = caller().ask(case.messages, media, max_new_tokens=MAX_NEW_TOKENS)
    return answer.ids, answer.raw


def ask_script(
    case: Case, images: Callable[[list[Image.Image]], Media], video: Callable[[], Media]
) -> tuple[list[int], str]:
    media = video() if case.frames else images(shown_images(case)) if case.images else None
    answer = script().ask(template_messages(case), media, MAX_NEW_TOKENS)
    return answer["ids"], answer["text"]


@pytest.mark.parametrize("name", CASES)
def test_same_ids_as_a_plain_script(name: str) -> None:
    case = CASES[name]
    plain = ask_script(case, script().images, lambda: script().video(case.frames, case.fps))
    assert ask_engine(case) == plain


def our_images(pictures: list[Image.Image]) -> Media:
    numbers, _ = read_preprocessing(MODEL)
    return joined([image_pixels(to_tensor(picture), numbers) for picture in pictures], numbers)


def joined(pixels: Sequence[Pixels], numbers: Preprocessing, seconds: list[int] | None = None) -> Media:
    made = torch.cat([patches(one.frames, numbers) for one in pixels])
    return Media(made, [list(one.grid) for one in pixels], seconds)


RESIZED = {
    "photo": Case([user(0, "Describe this image.")], [photo(641, 479)]),
    "tiny": Case([user(0, "Describe this image.")], [photo(5, 3)]),
    "199:1": Case([user(0, "Describe this image.")], [photo(199 * 3, 3)]),
    "4K": Case([user(0, "Describe this image.")], [photo(3840, 2160)]),
    "several": Case([user(0, 1, "Describe each image.")], [red_circle((301, 199)), photo(97, 211)]),
}


@pytest.mark.parametrize("name", RESIZED)
def test_same_ids_for_pictures_that_are_resized_when_the_script_is_fed_our_tensors(name: str) -> None:
    case = RESIZED[name]
    assert ask_engine(case) == ask_script(case, our_images, lambda: pytest.fail("no video here"))


def test_same_ids_for_a_video_that_is_resized_when_the_script_is_fed_our_tensors() -> None:
    case = Case([user(0, "What happens in this video?")], frames=moving_circle(5, (150, 131)), fps=3)

    def video() -> Media:
        _, numbers = read_preprocessing(MODEL)
        size = video_frame_size(5, 131, 150, numbers)
        frames = [resize(to_tensor(frame), *size) for frame in case.frames]
        return joined([video_pixels(frames, numbers)], numbers, [0, 0, 1])

    assert ask_engine(case) == ask_script(case, lambda _: pytest.fail("no pictures here"), video)


def test_the_plain_script_runs_as_a_command(tmp_path: Path) -> None:
    TWO.save(tmp_path / "two.png")
    paths = []
    for number, frame in enumerate(moving_circle(4)):
        paths.append(str(tmp_path / f"{number}.png"))
        frame.save(paths[-1])
    requests = [
        {
            "messages": template_messages(CASES["count"]),
            "images": [str(tmp_path / "two.png")],
            "max_new_tokens": MAX_NEW_TOKENS,
        },
        {
            "messages": template_messages(CASES["video"]),
            "video": {"frames": paths, "fps": 2},
            "max_new_tokens": MAX_NEW_TOKENS,
        },
    ]
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    program = [sys.executable, str(Path(__file__).with_name("plain_script.py"))]
    subprocess.run([*program, str(tmp_path / "requests.json"), str(tmp_path / "results.json")], check=True)
    results = json.loads((tmp_path / "results.json").read_text())
    video = Case(CASES["video"].messages, frames=moving_circle(4), fps=2)
    assert [(result["ids"], result["text"]) for result in results] == [
        ask_engine(CASES["count"]),
        ask_engine(video),
    ]
