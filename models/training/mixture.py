"""How often each kind of sample is drawn, and how conversations about it begin."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Literal

from . import looking, photographs, reading, receipts, several, tables, talking, videos
from .conversation import Conversation, Medium, Task, Turn
from .phrases import SYSTEM, varied
from .scenes import scene

Kind = Literal["page", "table", "receipt", "scene", "video", "text video", "talk", "several", "photograph"]

# Reading takes by far the longest to learn, so it gets the most.
MIXTURE: dict[Kind, int] = {
    "page": 410,
    "table": 35,
    "receipt": 35,
    "scene": 310,
    "video": 80,
    "text video": 20,
    "talk": 70,
    "several": 45,
    "photograph": 20,
}


def draw(rng: Random, *, held_out: bool = False, kind: Kind | None = None) -> Conversation:
    """
    One conversation. `held_out` takes its words from those that are never trained; everything else is drawn
    anew each time.
    """
    if kind is None:
        kind = rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
    return conversation(rng, turns(rng, kind, held_out))


def turns(rng: Random, kind: Kind, held_out: bool) -> tuple[Turn, ...]:
    """Questions about one new thing, their media with the first that is about it."""
    match kind:
        case "page":
            page = reading.page(rng, reading.some_text(rng, held_out, reading.line_count(rng)))
            return shown(page.shown.picture, reading.turns(rng, page))
        case "table":
            table = tables.table_page(rng, tables.some_table(rng, held_out))
            return shown(table.shown.picture, tables.turns(rng, table))
        case "receipt":
            receipt = receipts.receipt_page(rng, receipts.some_receipt(rng, held_out))
            return shown(receipt.shown.picture, receipts.turns(rng, receipt))
        case "scene":
            seen = scene(rng)
            asked = looking.turns(rng, seen)
            if rng.random() < 0.02:
                asked = (*asked, talking.declining(rng, held_out))
            return shown(seen.picture, asked)
        case "video":
            video = videos.video(rng)
            return shown(video.clip, videos.turns(rng, video))
        case "text video":
            text = videos.text_video(rng, held_out)
            return shown(text.clip, videos.text_turns(rng, text))
        case "talk":
            return talking.turns(rng, held_out)
        case "several":
            return several.turns(rng, held_out)
        case "photograph":
            photograph = photographs.photograph(rng)
            return shown(photograph.picture, photographs.turns(rng, photograph))


def shown(medium: Medium, asked: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns, the first of them with the medium."""
    return replace(asked[0], media=(medium,)), *asked[1:]


def conversation(rng: Random, asked: tuple[Turn, ...]) -> Conversation:
    """In the many ways in which callers put the same questions."""
    said = tuple(
        turn if turn.task is Task.TALK else replace(turn, question=varied(rng, turn.question))
        for turn in asked
    )
    return Conversation(
        said,
        system=rng.choice(SYSTEM) if rng.random() < 0.12 else None,
        text_first=rng.random() < 0.1,
        plain_history=rng.random() < 0.5,
    )
