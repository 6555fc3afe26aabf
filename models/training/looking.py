"""What may be asked about a picture of shapes, and what is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from .colours import NAMES
from .conversation import Task, Turn
from .phrases import AT_LENGTH, DESCRIBE, READ, article, colour_word
from .scenes import Scene, absent
from .shapes import SHAPES, Thing

NO_TEXT = "There is no text."


def describing(rng: Random, shown: Scene) -> Turn:
    count = len(shown.things)
    thought = "The image is empty." if not count else f"I see {count} shape{'' if count == 1 else 's'}."
    return Turn(Task.DESCRIBE, rng.choice(DESCRIBE), thought, shown.sentence())


def describing_at_length(rng: Random, shown: Scene) -> Turn:
    thought = f"I see {shown.listing(shown.ordered)}."
    return Turn(Task.LONG, rng.choice(AT_LENGTH), thought, shown.at_length())


def counting(rng: Random, shown: Scene) -> Turn:
    chance, things = rng.random(), shown.ordered
    if chance < 0.55 or not things:
        question = rng.choice(
            (
                "How many shapes are there?",
                "How many shapes are in this image?",
                "Count the shapes.",
                "How many objects are there?",
                "How many things do you see?",
            )
        )
    elif chance < 0.8:
        colour = rng.choice(things).colour if rng.random() < 0.8 else rng.choice(NAMES)
        things = [thing for thing in things if thing.colour == colour]
        question = rng.choice((f"How many {colour} shapes are there?", f"How many shapes are {colour}?"))
    else:
        shape = rng.choice(things).shape if rng.random() < 0.8 else rng.choice(SHAPES)
        things = [thing for thing in things if thing.shape == shape]
        question = f"How many {shape}{'es' if shape == 'cross' else 's'} are there?"
    return Turn(Task.COUNT, question, f"I see {shown.listing(things)}.", str(len(things)))


_WHERE = (
    "Where is the {}?",
    "Find the {}.",
    "Locate the {}.",
    "Give the bounding box of the {}.",
    "Where is the {}? Answer with a box.",
    "Detect the {}.",
    "Point to the {}.",
)


def locating(rng: Random, shown: Scene, thing: Thing | None = None) -> Turn:
    thing = thing or rng.choice(shown.things)
    name = thing.name
    if len(shown.things) == 1 and rng.random() < 0.3:
        name = rng.choice(("shape", thing.shape))
    thought = f"The {name} is {shown.place(thing)}."
    return Turn(Task.BOX, rng.choice(_WHERE).format(name), thought, shown.box(thing))


def naming(rng: Random, shown: Scene) -> Turn:
    """A colour by its shape, or a shape by its colour, where only one thing has it."""
    colours = [thing.colour for thing in shown.things]
    shapes = [thing.shape for thing in shown.things]
    thing = rng.choice(shown.things)
    if shapes.count(thing.shape) == 1 and rng.random() < 0.5:
        word = colour_word(rng)
        question = rng.choice((f"What {word} is the {thing.shape}?", f"Which {word} is the {thing.shape}?"))
        return Turn(Task.ATTRIBUTE, question, f"I look at the {thing.shape}.", thing.colour)
    if colours.count(thing.colour) == 1:
        question = rng.choice(("What shape is {}?", "Which shape is {}?", "What is the {} shape?"))
        thought = f"I look for the {thing.colour} shape."
        return Turn(Task.ATTRIBUTE, question.format(thing.colour), thought, thing.shape)
    return background(rng, shown)


def background(rng: Random, shown: Scene) -> Turn:
    word = colour_word(rng)
    questions = [f"What {word} is the background?", f"Which {word} is the background?"]
    if not shown.things:
        questions += [f"What {word} is this image?", f"What {word} is this?"] * 2
    return Turn(Task.ATTRIBUTE, rng.choice(questions), "I look at the background.", shown.ground)


def existing(rng: Random, shown: Scene) -> Turn:
    there = bool(shown.things) and rng.random() < 0.5
    name = rng.choice(shown.things).name if there else absent(rng, shown)
    question = rng.choice(("Is there {}?", "Do you see {}?")).format(article(name))
    return Turn(Task.ATTRIBUTE, question, f"I look for {article(name)}.", "yes" if there else "no")


def missing(rng: Random, shown: Scene) -> Turn:
    name = absent(rng, shown)
    question = rng.choice(_WHERE[:3]).format(name)
    return Turn(Task.ATTRIBUTE, question, f"I see no {name}.", f"There is no {name}.")


def reading_nothing(rng: Random, shown: Scene) -> Turn:
    del shown
    return Turn(Task.ATTRIBUTE, rng.choice(READ), "I see no text.", NO_TEXT)


_LIST_AS_JSON = (
    "List the shapes as JSON.",
    "List the shapes as JSON with the keys shape and color.",
    'Answer as JSON: {"shapes": [{"shape": string, "color": string}]}',
    "Which shapes are there? Answer as JSON.",
    "Return the shapes as a JSON object.",
)
_COUNT_AS_JSON = (
    "How many shapes are there? Answer as JSON.",
    "Count the shapes. Answer as JSON with the key count.",
    'Answer as JSON: {"count": number}',
)


def as_json(rng: Random, shown: Scene) -> Turn:
    thought = f"I see {shown.listing(shown.ordered)}."
    if rng.random() < 0.3:
        return Turn(Task.JSON, rng.choice(_COUNT_AS_JSON), thought, json.dumps({"count": len(shown.things)}))
    shapes = [{"shape": thing.shape, "color": thing.colour} for thing in shown.ordered]
    return Turn(Task.JSON, rng.choice(_LIST_AS_JSON), thought, json.dumps({"shapes": shapes}))


Asking = Callable[[Random, Scene], Turn]


def turns(rng: Random, shown: Scene) -> tuple[Turn, ...]:
    """One to three questions, mostly different ones, that this picture has one answer to."""
    choices: list[tuple[Asking, int]] = [(background, 1), (existing, 2)]
    if shown.order_is_plain:
        choices += [(counting, 3), (as_json, 1)]
        if len(shown.things) <= 3:
            choices.append((describing, 4))
        if all(shown.place_is_plain(thing) for thing in shown.things):
            choices.append((describing_at_length, 1))
    if shown.things:
        choices += [(locating, 12), (naming, 3)]
    if rng.random() < 0.2:
        choices += [(reading_nothing, 1), (missing, 2)]
    askings, weights = zip(*choices, strict=True)
    picked: list[Asking] = []
    for asking in rng.choices(askings, weights, k=rng.choice((1, 2, 2, 3))):
        if asking not in picked or asking is locating:
            picked.append(asking)
    return tuple(asking(rng, shown) for asking in picked)
