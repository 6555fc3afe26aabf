"""
Held-out samples for the evaluation: `python -m models.training.held_out --out DIR [--samples 500]`.

Writes pictures as PNG and `samples.jsonl`, a line per sample, group after group. Words come from those that
are never trained, everything else from another seed.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from . import looking, reading, receipts, several, tables, talking, videos
from .conversation import Clip, Picture, Turn
from .mixture import shown
from .reading import Text
from .scenes import Scene, scene
from .writing import WORDS, pseudo_word, text_line

Check = Literal["exact", "box", "json"]
Facts = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Sample:
    """One question to a fresh model. `box` is in pixels of the picture, for `check` "box"."""

    turn: Turn
    check: Check = "exact"
    facts: Facts = field(default_factory=dict)
    box: tuple[int, int, int, int] | None = None


def _until(draw: Callable[[], Sample | None]) -> Sample:
    while True:
        sample = draw()
        if sample:
            return sample


def _scene_sample(rng: Random, ask: Callable[[Random, Scene], Turn], fits: Callable[[Scene], bool]) -> Sample:
    def draw() -> Sample | None:
        seen = scene(rng)
        if not fits(seen):
            return None
        (turn,) = shown(seen.picture, (ask(rng, seen),))
        return Sample(turn, "json" if turn.task == "json" else "exact", _size_facts(seen))

    return _until(draw)


def _size_facts(seen: Scene) -> Facts:
    return {"width": seen.size[0], "height": seen.size[1], "shapes": len(seen.things)}


def _describe(rng: Random) -> Sample:
    return _scene_sample(rng, looking.describing, lambda seen: seen.order_is_plain and len(seen.things) <= 3)


def _at_length(rng: Random) -> Sample:
    def fits(seen: Scene) -> bool:
        return seen.order_is_plain and all(seen.place_is_plain(thing) for thing in seen.things)

    return _scene_sample(rng, looking.describing_at_length, fits)


def _count(rng: Random) -> Sample:
    return _scene_sample(rng, looking.counting, lambda seen: seen.order_is_plain)


def _attribute(rng: Random) -> Sample:
    ask = rng.choice(
        (looking.naming, looking.background, looking.existing, looking.existing, looking.missing)
    )
    return _scene_sample(rng, ask, lambda seen: bool(seen.things))


def _shapes_as_json(rng: Random) -> Sample:
    return _scene_sample(rng, looking.as_json, lambda seen: seen.order_is_plain)


_SIDES = (64, 128, 256, 512, 1024)


def _box(rng: Random) -> Sample:
    """Sizes are spread evenly over a grid of widths and heights, each cell evenly in the logarithm."""

    def draw() -> Sample | None:
        column, row = rng.randrange(4), rng.randrange(4)
        width, height = (
            round(math.exp(rng.uniform(math.log(_SIDES[index]), math.log(_SIDES[index + 1]))))
            for index in (column, row)
        )
        seen = scene(rng, rng.choices((1, 2, 3, 4), (3, 3, 2, 1))[0], (width, height))
        if not seen.things:
            return None
        thing = rng.choice(seen.things)
        (turn,) = shown(seen.picture, (looking.locating(rng, seen, thing),))
        left, top, right, bottom = thing.box
        return Sample(turn, "box", _size_facts(seen), (left, top, right + 1, bottom + 1))

    return _until(draw)


_ALIKE = frozenset("cCoOsSvVwWxXzZ0lI1|")
"""What by itself nobody can tell for certain: only its neighbours' size says whether a `c` is a `C`."""


def _line(rng: Random, shortest: int, longest: int) -> str:
    """Every length is as likely as the other."""
    length = rng.randint(shortest, longest)
    while True:
        text = text_line(rng, length, held_out=True)
        if len(text) == length and not _ALIKE.issuperset(text):
            return text


def _read(
    rng: Random, lines: int, shortest: int, longest: int, smallest: float = 10, largest: float = 200
) -> Sample:
    """`smallest` and `largest` bound the letters' size in pixels per em as the model sees them."""

    def draw() -> Sample | None:
        text = Text(tuple(_line(rng, shortest, longest) for _ in range(lines)))
        page = reading.page(rng, text)
        if not smallest <= page.pixels_per_em < largest:
            return None
        (turn,) = shown(page.shown.picture, (reading.reading(rng, page),))
        facts: Facts = {
            "characters": sum(map(len, text.lines)),
            "lines": lines,
            "px": round(page.pixels_per_em, 1),
        }
        return Sample(turn, facts=facts)

    return _until(draw)


def _pseudo_word(rng: Random) -> Sample:
    length = rng.randint(4, 12)

    def draw() -> Sample | None:
        word = pseudo_word(rng, length)
        if len(word) != length or word in WORDS:
            return None
        text = Text((rng.choice((word, word.upper())),))
        page = reading.page(rng, text)
        if page.pixels_per_em < 10:
            return None
        (turn,) = shown(page.shown.picture, (reading.reading(rng, page),))
        return Sample(turn, facts={"characters": len(word), "lines": 1, "px": round(page.pixels_per_em, 1)})

    return _until(draw)


def _titled(rng: Random) -> Sample:
    lines = tuple(text_line(rng, 12, held_out=True) for _ in range(rng.randint(3, 4)))
    page = reading.page(rng, Text(lines, title=True, listed=rng.random() < 0.5), least=10)
    (turn,) = shown(page.shown.picture, (reading.as_markdown(rng, page),))
    return Sample(turn, facts={"lines": len(lines), "px": round(page.pixels_per_em, 1)})


def _table(rng: Random) -> Sample:
    table = tables.table_page(rng, tables.some_table(rng, held_out=True))
    (turn,) = shown(table.shown.picture, tables.turns(rng, table))
    return Sample(turn, facts={"cells": len(table.table.rows) * len(table.table.rows[0])})


def _receipt(rng: Random, as_json: bool) -> Sample:
    receipt = receipts.receipt_page(rng, receipts.some_receipt(rng, held_out=True))
    turn = receipts.as_json(rng, receipt) if as_json else receipts.as_lines(rng, receipt)
    (turn,) = shown(receipt.shown.picture, (turn,))
    return Sample(turn, "json" if as_json else "exact", {"items": len(receipt.receipt.items)})


def _video(rng: Random) -> Sample:
    video = videos.video(rng)
    (turn,) = shown(video.clip, (videos.watching(rng, video),))
    return Sample(turn, facts={"event": video.event, "frames": len(video.clip.originals)})


def _text_video(rng: Random) -> Sample:
    video = videos.text_video(rng, held_out=True)
    (turn,) = shown(video.clip, (videos.reading(rng, video),))
    return Sample(turn, facts={"characters": len(video.text)})


def _several(rng: Random) -> Sample:
    return _until(lambda: _alone(several.turns(rng, held_out=True)))


def _alone(turns: tuple[Turn, ...]) -> Sample | None:
    return Sample(turns[0]) if len(turns) == 1 else None


def _nothing_to_read(rng: Random) -> Sample:
    return _scene_sample(rng, looking.reading_nothing, lambda seen: bool(seen.things))


GROUPS: dict[str, Callable[[Random], Sample]] = {
    "describe": _describe,
    "describe at length": _at_length,
    "count": _count,
    "attributes": _attribute,
    "boxes": _box,
    "read: up to 12 characters": lambda rng: _read(rng, 1, 1, 12),
    "read: 13 to 24 characters": lambda rng: _read(rng, 1, 13, 24),
    "read: pseudo-words": _pseudo_word,
    "read: two to four lines": lambda rng: _read(rng, rng.randint(2, 4), 1, 12),
    "read: letters of 8 and 9 px": lambda rng: _read(rng, 1, 1, 12, smallest=0, largest=10),
    "read: title and lines as Markdown": _titled,
    "table as Markdown": _table,
    "receipt as lines": lambda rng: _receipt(rng, as_json=False),
    "receipt as JSON": lambda rng: _receipt(rng, as_json=True),
    "shapes as JSON": _shapes_as_json,
    "no text to read": _nothing_to_read,
    "video": _video,
    "text in a video": _text_video,
    "several pictures": _several,
    "talk": lambda rng: Sample(talking.talk(rng, held_out=True)),
    "off topic": lambda rng: Sample(talking.declining(rng, held_out=True)),
    "long answers": lambda rng: Sample(talking.long_answer(rng, held_out=True)),
}


def samples(count: int, seed: int, groups: list[str]) -> Iterator[tuple[str, Sample]]:
    for group in groups:
        rng = Random(f"held out/{seed}/{group}")
        for _ in range(count):
            yield group, GROUPS[group](rng)


def _save(folder: Path, number: int, sample: Sample) -> dict[str, Any]:
    images: list[str] = []
    video: dict[str, Any] | None = None
    for index, medium in enumerate(sample.turn.media):
        match medium:
            case Picture():
                images.append(f"{number:06}-{index}.png")
                medium.original.save(folder / images[-1], compress_level=1)
            case Clip():
                frames = [f"{number:06}-{frame}.png" for frame in range(len(medium.originals))]
                for name, frame in zip(frames, medium.originals, strict=True):
                    frame.save(folder / name, compress_level=1)
                video = {"frames": frames, "fps": medium.fps}
    line = {"images": images, "video": video, "check": sample.check, "facts": sample.facts}
    return line if sample.box is None else {**line, "box": sample.box}


def write(folder: Path, count: int, seed: int, groups: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
        for number, (group, sample) in enumerate(samples(count, seed, groups)):
            turn = sample.turn
            asked = {"group": group, "question": turn.question, "answer": turn.answer}
            file.write(json.dumps({**asked, **_save(folder, number, sample)}) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m models.training.held_out")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--out", type=Path, help="the folder to write to")
    task.add_argument("--list", action="store_true", help="print the names of the groups, and draw nothing")
    parser.add_argument("--samples", type=int, default=500, help="of each group")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--groups", default=",".join(GROUPS), help="which, by name, with commas between them")
    options = parser.parse_args()
    if options.list:
        print("\n".join(GROUPS))
        parser.exit()
    asked_for = options.groups.split(",")
    unknown = [group for group in asked_for if group not in GROUPS]
    if unknown:
        parser.error(f"--groups: there is no {unknown[0]!r}; there are: {', '.join(GROUPS)}")
    write(options.out, options.samples, options.seed, asked_for)
