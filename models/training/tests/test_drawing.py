"""What is drawn is what the answer says, the same for the same seed, and nothing that is held out."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from models.training import lettering, looking, photographs, reading, receipts, show, tables, videos, writing
from models.training.colours import shade
from models.training.conversation import ALPHABET, Clip, Medium, Picture
from models.training.held_out import GROUPS, samples
from models.training.mixture import MIXTURE, Kind, draw
from models.training.page import compose
from models.training.page import show as shown_on_paper
from models.training.scenes import scene
from models.training.sight import CELL, MOST_CELLS, VIDEOS

SEEDS = range(40)
KINDS = list(MIXTURE)


def media(kind: Kind, seed: int) -> list[Medium]:
    return [medium for turn in draw(Random(seed), kind=kind).turns for medium in turn.media]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_conversation(kind: Kind) -> None:
    one, other = draw(Random(3), kind=kind), draw(Random(3), kind=kind)
    assert [(turn.question, turn.thought, turn.answer) for turn in one.turns] == [
        (turn.question, turn.thought, turn.answer) for turn in other.turns
    ]
    for medium, same in zip(media(kind, 3), media(kind, 3), strict=True):
        assert np.array_equal(medium.pixels, same.pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_every_medium_is_as_the_processor_admits_it(kind: Kind) -> None:
    for seed in SEEDS:
        for medium in media(kind, seed):
            height, width = medium.pixels.shape[-3:-1]
            assert height % CELL == 0
            assert width % CELL == 0
            match medium:
                case Picture():
                    assert height * width <= MOST_CELLS * CELL**2
                case Clip():
                    assert len(medium.pixels) % 2 == 0
                    assert len(medium.seconds) == len(medium.pixels) // 2
                    # transformers' rule counts the frames before the last one is repeated.
                    assert len(medium.originals) * height * width <= VIDEOS.max_pixels


def test_a_box_holds_its_shape_and_nothing_else() -> None:
    checked = 0
    for seed in SEEDS:
        seen = scene(Random(seed), 1, (300, 200))
        (thing,) = seen.things
        pixels = np.asarray(seen.picture.original).astype(int)
        ground = pixels[0, 0]
        if len(np.unique(pixels.reshape(-1, 3), axis=0)) > 2:
            continue  # A JPEG, which smears edges.
        checked += 1
        rows, columns = np.nonzero(np.abs(pixels - ground).sum(2) > 40)
        left, top, right, bottom = thing.box
        assert abs(columns.min() - left) <= 1
        assert abs(rows.min() - top) <= 1
        assert abs(columns.max() - right) <= 1
        assert abs(rows.max() - bottom) <= 1
    assert checked > 30


def test_what_is_said_of_a_scene_is_so() -> None:
    for seed in SEEDS:
        rng = Random(seed)
        seen = scene(rng)
        names = [thing.name for thing in seen.things]
        assert json.loads(json.dumps(names)) == list(dict.fromkeys(names)), "each name once"
        asked = looking.existing(rng, seen)
        name = asked.question.rstrip("?").split(" ", 3)[-1]
        assert (asked.answer == "yes") == any(one in asked.question for one in names), name
        assert not any(name in looking.missing(rng, seen).answer for name in names)


def test_marks_lie_where_the_letters_are() -> None:
    for font in lettering.names():
        for seed in range(6):
            line = lettering.letter(Random(seed), "Hamburg 47", font, 24)
            assert [character for character, _, _ in line.marks] == list("Hamburg47")
            for _, x, _ in line.marks:
                around = line.mask[:, max(0, int(x) - 4) : int(x) + 5]
                assert around.max() > 100, (font, x)


def test_the_auxiliary_loss_asks_for_the_letters_of_each_cell_in_reading_order() -> None:
    line = lettering.letter(Random(0), "AB CD", lettering.PILLOWS_OWN, 20)
    block = compose([(line, 0, 0), (line, 0, 40)])
    target = lettering.cells(block.marks, (84, 84), (84, 84))
    asked = ["".join(ALPHABET[code - 1] for code in cell if code) for cell in target]
    assert "".join(asked[:3]) == "ABCD"
    assert sum(map(len, asked)) == 8


def test_a_page_that_is_shown_smaller_says_how_small_its_letters_are() -> None:
    for seed in SEEDS:
        shown = reading.page(Random(seed), reading.Text(("Word",)))
        original, seen = shown.shown.picture.original, shown.shown.picture.pixels
        assert shown.shown.scale == pytest.approx(seen.shape[1] / original.width)


def test_a_receipt_adds_up_and_its_json_is_json() -> None:
    for seed in SEEDS:
        receipt = receipts.some_receipt(Random(seed), held_out=False)
        said = json.loads(receipt.json)
        assert said["total"] == pytest.approx(sum(item["price"] for item in said["items"]))
        assert said["shop"] == receipt.plain.split("\n")[0]


def test_a_table_has_as_many_cells_in_every_row_of_its_markdown() -> None:
    for seed in SEEDS:
        rows = tables.some_table(Random(seed), held_out=False).markdown.split("\n")
        assert len({row.count("|") for row in rows}) == 1
        assert set(rows[1]) == set("| -")


def test_a_video_shows_its_event() -> None:
    for seed in range(120):
        video = videos.video(Random(seed))
        first, last = video.frames[0], video.frames[-1]
        happened = {
            "right": last.x > first.x + 8,
            "left": last.x < first.x - 8,
            "down": last.y > first.y + 8,
            "up": last.y < first.y - 8,
            "still": first == last,
            "grow": last.side > first.side + 8,
            "shrink": last.side < first.side - 8,
            "turn": None not in (first.colour, last.colour) and first.colour != last.colour,
            "appear": first.colour is None and last.colour is not None,
            "disappear": first.colour is not None and last.colour is None,
        }
        assert [event for event, so in happened.items() if so] == [video.event]


def test_text_is_legible_on_what_it_stands_on() -> None:
    line = lettering.letter(Random(0), "Text", lettering.PILLOWS_OWN, 30)
    for seed in SEEDS:
        pixels = shown_on_paper(Random(seed), compose([(line, 0, 0)])).picture.pixels.astype(float)
        brightness = pixels @ np.array((0.3, 0.59, 0.11))
        assert brightness.max() - brightness.min() > 60


def test_words_that_are_held_out_are_never_trained() -> None:
    held_out = set(writing.HELD_OUT)
    assert held_out.isdisjoint(writing.TRAINED)
    rng = Random(0)
    shown = {writing.phrase(rng, 12, held_out=False, invented=0) for _ in range(3000)}
    assert not {text.lower().rstrip(".!?:,") for text in shown} & held_out


def test_pseudo_words_are_mostly_no_words() -> None:
    rng = Random(0)
    made_up = [writing.pseudo_word(rng) for _ in range(500)]
    assert sum(word in writing.WORDS for word in made_up) < 50
    assert len(set(made_up)) > 400


def test_every_group_of_the_evaluation_can_be_drawn() -> None:
    for group, sample in samples(2, 1, list(GROUPS)):
        assert sample.turn.question, group
        assert sample.turn.answer, group
        assert (sample.check == "box") == (sample.box is not None)


def test_photographs_are_answered_without_naming_what_they_show() -> None:
    for seed in SEEDS:
        (turn,) = photographs.turns(Random(seed), photographs.photograph(Random(seed)))
        assert turn.answer in (photographs.MODEST, photographs.NO_TEXT, photographs.NO_SHAPES, "no") or (
            turn.answer.startswith("There is no ")
        )


def test_a_shade_is_near_its_name() -> None:
    red, green, blue = shade(Random(0), "red")
    assert red > 150
    assert max(green, blue) < 80
    assert Image.new("RGB", (1, 1), (red, green, blue))


def test_the_pictures_of_the_readme_can_be_drawn(tmp_path: Path) -> None:
    shown = list(show.tiles(tmp_path))
    assert {tile.group for tile in shown} == set(MIXTURE) - {"talk"}
    assert all(Path(picture).exists() for tile in shown for picture in tile.pictures)
    assert show.characters().size
