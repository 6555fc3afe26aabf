"""Short videos of one shape that does one thing, or of a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

from .colours import Rgb, differs, ground, ink, on_ground, shade
from .conversation import Task, Turn
from .lettering import any_font, letter
from .phrases import READ, WATCH, WATCH_MOTION, article, colour_word
from .shapes import SHAPES, Box, draw, place_word
from .sight import clip, seen_frame_size
from .writing import text_line

if TYPE_CHECKING:
    from .conversation import Clip

Event = Literal["right", "left", "up", "down", "still", "grow", "shrink", "turn", "appear", "disappear"]
_EVENTS: tuple[Event, ...] = get_args(Event)
_WEIGHTS = (3, 3, 3, 3, 2, 2, 2, 3, 2, 2)
_MOVES = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the shape is (its middle and its side, in pixels) and its colour; none where it is not there."""

    x: float
    y: float
    side: float
    colour: str | None

    @property
    def box(self) -> Box:
        left, top, side = round(self.x - self.side / 2), round(self.y - self.side / 2), round(self.side)
        return left, top, left + side, top + side


@dataclass(frozen=True, slots=True)
class Video:
    clip: Clip
    shape: str
    event: Event
    frames: tuple[Frame, ...]

    @property
    def size(self) -> Size:
        return self.clip.originals[0].size

    @property
    def colour(self) -> str:
        """The first one that is seen."""
        return next(frame.colour for frame in self.frames if frame.colour)

    def thought(self) -> str:
        first, last, subject = self.frames[0], self.frames[-1], f"The {self.colour} {self.shape}"
        match self.event:
            case "still":
                return f"{subject} stays {self._place(first)}."
            case "grow":
                return f"{subject} starts small and ends big."
            case "shrink":
                return f"{subject} starts big and ends small."
            case "turn":
                return f"The {self.shape} starts {first.colour} and ends {last.colour}."
            case "appear":
                return f"{subject} is not there at the start."
            case "disappear":
                return f"{subject} is not there at the end."
            case _:
                return f"{subject} starts {self._place(first)} and ends {self._place(last)}."

    def sentence(self) -> str:
        subject = f"The {self.colour} {self.shape}"
        match self.event:
            case "still":
                return f"{subject} does not move."
            case "grow" | "shrink" | "appear" | "disappear":
                return f"{subject} {self.event}s."
            case "turn":
                return f"{subject} turns {self.frames[-1].colour}."
            case _:
                return f"{subject} moves {self.event}."

    def _place(self, frame: Frame) -> str:
        return place_word((frame.x, frame.y), self.size)


def video(rng: Random, event: Event | None = None) -> Video:
    event = event or rng.choices(_EVENTS, _WEIGHTS)[0]
    count = rng.choice((2, 4, 4, 6, 6, 8, 8, 10, 12)) - (1 if rng.random() < 0.15 else 0)
    count = max(2, count)
    size = _frame_size(rng, count)
    background = ground(rng)
    colour = on_ground(rng, background)
    frames = _frames(rng, event, count, size, colour, background)
    shape = rng.choice(SHAPES)
    shades = {frame.colour: shade(rng, frame.colour) for frame in frames if frame.colour}
    paper = shade(rng, background)
    shown = clip([_drawn(frame, shape, size, shades, paper) for frame in frames], _fps(rng))
    return Video(shown, shape, event, tuple(frames))


def _fps(rng: Random) -> float:
    return rng.choice((1, 2, 2, 2, 4, 8, 24))


def _frame_size(rng: Random, count: int) -> Size:
    """As frames are seen, or a little larger or smaller: any rectangle up to twice as long as it is wide."""
    if rng.random() < 0.5:
        width, height = rng.choice(
            ((84, 84), (84, 112), (112, 84), (112, 112), (140, 112), (168, 112), (112, 140))
        )
    else:
        width = rng.randint(80, 260)
        height = min(260, max(80, round(width * rng.uniform(0.5, 2))))
    seen_width, seen_height = seen_frame_size(count, width, height)
    if width * height > 2 * seen_height * seen_width:
        return _frame_size(rng, count)
    return width, height


def _drawn(frame: Frame, shape: str, size: Size, shades: dict[str, Rgb], paper: Rgb) -> Image.Image:
    image = Image.new("RGB", size, paper)
    if frame.colour:
        draw(ImageDraw.Draw(image), shape, frame.box, shades[frame.colour])
    return image


def _frames(rng: Random, event: Event, count: int, size: Size, colour: str, background: str) -> list[Frame]:
    if event in ("grow", "shrink"):
        return _growing(rng, event, count, size, colour)
    side = rng.uniform(0.2, 0.4) * min(size)
    if event in _MOVES:
        return _moving(rng, event, count, size, side, colour)
    x, y = _inside(rng, size, side)
    change = rng.randint(1, count - 1)
    before, after = colour, colour
    colours: list[str | None] = [colour] * count
    if event == "turn":
        while not differs(before, after):
            after = on_ground(rng, background)
        colours = [before if index < change else after for index in range(count)]
    elif event == "appear":
        colours = [None if index < change else colour for index in range(count)]
    elif event == "disappear":
        colours = [colour if index < change else None for index in range(count)]
    return [Frame(x, y, side, shown) for shown in colours]


def _inside(rng: Random, size: Size, side: float) -> tuple[float, float]:
    margin = side / 2 + 2
    return rng.uniform(margin, size[0] - margin - 1), rng.uniform(margin, size[1] - margin - 1)


def _growing(rng: Random, event: Event, count: int, size: Size, colour: str) -> list[Frame]:
    small = rng.uniform(0.16, 0.28) * min(size)
    large = rng.uniform(small / min(size) + 0.2, 0.75) * min(size)
    first, last = (small, large) if event == "grow" else (large, small)
    x, y = _inside(rng, size, large)
    return [Frame(x, y, side, colour) for side in np.linspace(first, last, count).tolist()]


def _moving(rng: Random, event: Event, count: int, size: Size, side: float, colour: str) -> list[Frame]:
    axis = 0 if event in ("left", "right") else 1
    sign = _MOVES[event][axis]
    margin = side / 2 + 2
    free = size[axis] - 2 * margin - 1
    way = rng.uniform(min(free, max(20, 0.2 * size[axis])), free)
    start = margin + rng.uniform(0, free - way)
    along = np.linspace(start, start + way, count)[::sign].tolist()
    x, y = _inside(rng, size, side)
    other = x if axis == 1 else y
    # A straight way is seldom quite straight.
    limit = size[1 - axis] - margin - 1
    drifted = min(limit, max(margin, other + rng.uniform(-4, 4)))
    across = np.linspace(other, drifted, count).tolist()
    pairs = zip(along, across, strict=True)
    return [Frame(a, b, side, colour) if axis == 0 else Frame(b, a, side, colour) for a, b in pairs]


_AS_JSON = (
    "What happens in this video? Answer as JSON.",
    "Describe the event as JSON with the keys color, shape and event.",
)


def watching(rng: Random, shown: Video) -> Turn:
    questions = WATCH + WATCH_MOTION if shown.event in (*_MOVES, "still") else WATCH
    return Turn(Task.VIDEO, rng.choice(questions), shown.thought(), shown.sentence())


def turns(rng: Random, shown: Video) -> tuple[Turn, ...]:
    thought, chance = shown.thought(), rng.random()
    if chance < 0.08:
        event = {"color": shown.colour, "shape": shown.shape, "event": shown.event}
        return (Turn(Task.JSON, rng.choice(_AS_JSON), thought, json.dumps(event)),)
    if chance < 0.16:
        name = article(f"{shown.colour} {shown.shape}")
        question = rng.choice(("What shape is in the video?", "What is in the video?"))
        return (Turn(Task.ATTRIBUTE, question, f"I see {name}.", name),)
    if chance < 0.24 and shown.event != "turn":
        question = f"What {colour_word(rng)} is the {shown.shape}?"
        return watching(rng, shown), Turn(
            Task.ATTRIBUTE, question, f"I look at the {shown.shape}.", shown.colour
        )
    return (watching(rng, shown),)


@dataclass(frozen=True, slots=True)
class TextVideo:
    clip: Clip
    text: str
    front: str
    back: str


def text_video(rng: Random, held_out: bool) -> TextVideo:
    """A text that stands still or moves along."""
    while True:
        count = rng.choice((2, 4, 4, 6, 8))
        size = _frame_size(rng, count)
        text = text_line(rng, rng.choice((4, 7, 10)), held_out)
        line = letter(rng, text, any_font(rng), rng.randint(14, 30))
        seen_width, _ = seen_frame_size(count, *size)
        if line.width + 6 <= size[0] and line.height + 6 <= size[1] and seen_width > 0.8 * size[0]:
            break
    front, letters, back, paper = ink(rng)
    places = _ways(rng, count, size[0] - line.width, size[1] - line.height)
    frames = []
    for left, top in places:
        image = Image.new("RGB", size, paper)
        image.paste(letters, (left, top), Image.fromarray(line.mask))
        frames.append(image)
    return TextVideo(clip(frames, _fps(rng)), text, front, back)


def _ways(rng: Random, count: int, free_x: int, free_y: int) -> Sequence[tuple[int, int]]:
    start = rng.randint(0, free_x), rng.randint(0, free_y)
    end = start if rng.random() < 0.5 else (rng.randint(0, free_x), rng.randint(0, free_y))
    xs, ys = (np.linspace(a, b, count).round().astype(int).tolist() for a, b in zip(start, end, strict=True))
    return list(zip(xs, ys, strict=True))


_READ_VIDEO = (
    "Read the text in this video.",
    "What does the text in the video say?",
    "What text is shown in this video?",
    *READ[:2],
)


_TEXT_THOUGHT = "The video shows one line of text."


def reading(rng: Random, shown: TextVideo) -> Turn:
    return Turn(Task.VIDEO_TEXT, rng.choice(_READ_VIDEO), _TEXT_THOUGHT, shown.text)


def text_turns(rng: Random, shown: TextVideo) -> tuple[Turn, ...]:
    if rng.random() < 0.3:
        sentence = f'The text "{shown.text}" in {shown.front} on {article(shown.back)} background.'
        return (Turn(Task.VIDEO_TEXT, rng.choice(WATCH), _TEXT_THOUGHT, sentence),)
    return (reading(rng, shown),)
