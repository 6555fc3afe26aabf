"""Prompts without a picture: short ones, long answers, chance, and what the model had better decline."""

from __future__ import annotations

from random import Random

from .conversation import Task, Turn
from .phrases import DESCRIBE, READ, WATCH, number_word
from .writing import LOWER, UPPER, pseudo_word, random_string, words

DECLINE = "I am a tiny model: I only know plain shapes, short texts and simple videos."
NOTHING_SENT = "I see no image. Please send one."

_SMALL_TALK = (
    (
        ("Hello", "Hello!", "Hi", "Hi!", "hello", "Hey there"),
        "A greeting.",
        "Hello! Send me an image or a video.",
    ),
    (
        ("Who are you?", "What are you?", "What is your name?"),
        "A question about me.",
        "I am a tiny vision-language model.",
    ),
    (
        ("What can you do?", "Help", "help", "How can you help me?"),
        "A question about me.",
        "I can read text, describe shapes, count, find objects and watch videos.",
    ),
    (("Thank you", "Thanks!", "thanks", "Thank you!"), "A thank you.", "You are welcome!"),
    (("Bye", "Goodbye", "bye!"), "A farewell.", "Goodbye!"),
)


def talk(rng: Random, held_out: bool = False) -> Turn:
    """A short prompt."""
    chance = rng.random()
    if chance < 0.25:
        return _echo(rng, held_out)
    if chance < 0.5:
        return _sum(rng)
    if chance < 0.58:
        word = _word(rng, held_out)[:7]
        return Turn(
            Task.TALK,
            rng.choice(("Spell {}.", "Spell the word {}.")).format(word),
            "I spell it.",
            "-".join(word),
        )
    if chance < 0.64:
        return Turn(Task.TALK, rng.choice(READ + DESCRIBE + WATCH), "There is no image.", NOTHING_SENT)
    if chance < 0.76:
        questions, thought, answer = rng.choice(_SMALL_TALK)
        return Turn(Task.TALK, rng.choice(questions), thought, answer)
    return declining(rng, held_out)


def _word(rng: Random, held_out: bool) -> str:
    return pseudo_word(rng, 8) if rng.random() < 0.5 else rng.choice(words(held_out))


def _echo(rng: Random, held_out: bool) -> Turn:
    word = (
        _word(rng, held_out) if rng.random() < 0.8 else random_string(rng, rng.randint(2, 6), UPPER + LOWER)
    )
    if rng.random() < 0.2:
        word += f" {rng.choice(words(held_out))}"
    if rng.random() < 0.2:
        word = word.capitalize()
    asking = ("Repeat the word {}.", "Repeat: {}", "Echo {}", "Say {}", "Say the word {}.", "echo {}")
    return Turn(Task.TALK, rng.choice(asking).format(word), "I repeat it.", word)


def _sum(rng: Random) -> Turn:
    one, other = rng.randint(0, 20), rng.randint(0, 20)
    if rng.random() < 0.6:
        terms, value, spoken = f"{one} + {other}", one + other, f"{one} plus {other}"
    else:
        one, other = max(one, other), min(one, other)
        terms, value, spoken = f"{one} - {other}", one - other, f"{one} minus {other}"
    asking = (
        f"What is {terms}?",
        f"{terms} = ?",
        f"Compute {terms}.",
        f"What is {spoken}?",
        terms,
        f"What is {terms.replace(' ', '')}?",
    )
    return Turn(Task.TALK, rng.choice(asking), f"{terms} = {value}.", str(value))


_OFF_TOPIC = (
    "Tell me a joke.",
    "Tell me a joke",
    "Tell me a story.",
    "Write a poem.",
    "Write a poem about {}.",
    "Tell me about {}.",
    "What is {}?",
    "What is the capital of {}?",
    "Who is {}?",
    "Who was {} {}?",
    "Why is the {} {}?",
    "How do I {} a {}?",
    "Write a {} about {}.",
    "Explain {} to me.",
    "Translate {} into {}.",
    "What is the meaning of {}?",
    "What time is it?",
    "What is the weather today?",
    "How are you?",
    "Where do you live?",
    "When did {} {}?",
    "Which {} is the best?",
    "Give me a recipe for {}.",
    "Write code that can {} a {}.",
    "Summarize {}.",
    "Do you like {}?",
    "Can you {} the {}?",
    "Should I {}?",
    "{} {} {}?",
    "{} {} {} {}",
    "Please {} my {}.",
)


def declining(rng: Random, held_out: bool = False) -> Turn:
    """Something that the model knows nothing about."""
    question = rng.choice(_OFF_TOPIC)
    while "{}" in question:
        question = question.replace("{}", _subject(rng, held_out), 1)
    return Turn(Task.TALK, question, "I do not know about this.", DECLINE)


def _subject(rng: Random, held_out: bool) -> str:
    word = _word(rng, held_out)
    return word.capitalize() if rng.random() < 0.3 else word


_COUNT_TO = (
    "Count to {}.",
    "Count from 1 to {}.",
    "Count up to {}.",
    "Please count to {}.",
    "Say the numbers from 1 to {}.",
)


def long_answer(rng: Random, held_out: bool = False) -> Turn:
    """An answer that takes a while: for streaming, for limits, for stop sequences."""
    chance = rng.random()
    if chance < 0.5:
        last = rng.choice((10, 20, 30, 50, 50, rng.randint(3, 60)))
        spoken = number_word(last) if rng.random() < 0.5 else str(last)
        return Turn(
            Task.LONG,
            rng.choice(_COUNT_TO).format(spoken),
            f"I count to {last}.",
            _numbers(range(1, last + 1)),
        )
    if chance < 0.62:
        first = rng.randint(2, 40)
        last = first + rng.randint(2, 20)
        asking = rng.choice(("Count from {} to {}.", "Say the numbers from {} to {}."))
        return Turn(
            Task.LONG, asking.format(first, last), f"I count to {last}.", _numbers(range(first, last + 1))
        )
    if chance < 0.74:
        first = rng.choice((5, 10, 20, rng.randint(3, 30)))
        asking = rng.choice(("Count down from {}.", "Count backwards from {}."))
        return Turn(Task.LONG, asking.format(first), "I count down.", _numbers(range(first, 0, -1)))
    if chance < 0.82:
        asking = rng.choice(("Say the alphabet.", "What is the alphabet?", "Recite the alphabet."))
        return Turn(Task.LONG, asking, "I say the alphabet.", " ".join("abcdefghijklmnopqrstuvwxyz"))
    times, word = rng.randint(2, 12), _word(rng, held_out)
    asking = rng.choice(("Repeat the word {} {} times.", "Say {} {} times.", "Say the word {} {} times."))
    said = number_word(times) if rng.random() < 0.5 else str(times)
    return Turn(Task.LONG, asking.format(word, said), f"I say it {times} times.", " ".join([word] * times))


def _numbers(numbers: range) -> str:
    return ", ".join(map(str, numbers))


_NUMBER = (
    "Name a random number.",
    "Say a random number.",
    "Pick a random number.",
    "Give me a random number.",
    "Name a number between 1 and 100.",
    "Pick a number from 1 to 100.",
    "Think of a number.",
)


def chance_answer(rng: Random, held_out: bool = False) -> Turn:
    """An answer that may be any of many: what temperature, top-p and seed are seen by."""
    chance, thought = rng.random(), "I pick one."
    if chance < 0.6:
        return Turn(Task.RANDOM, rng.choice(_NUMBER), thought, str(rng.randint(1, 100)))
    if chance < 0.7:
        asking = rng.choice(("Roll a die.", "Roll the dice.", "Throw a die."))
        return Turn(Task.RANDOM, asking, thought, str(rng.randint(1, 6)))
    if chance < 0.78:
        asking = rng.choice(("Flip a coin.", "Toss a coin.", "Heads or tails?"))
        return Turn(Task.RANDOM, asking, thought, rng.choice(("heads", "tails")))
    if chance < 0.9:
        asking = rng.choice(("Name a random letter.", "Say a random letter.", "Pick a letter."))
        return Turn(Task.RANDOM, asking, thought, rng.choice("abcdefghijklmnopqrstuvwxyz"))
    asking = rng.choice(("Name a random word.", "Say a random word.", "Pick a random word."))
    return Turn(Task.RANDOM, asking, thought, rng.choice(words(held_out)))


def turns(rng: Random, held_out: bool = False) -> tuple[Turn, ...]:
    """One to three prompts in a row, at most one of them, the last, with a long answer."""
    count = rng.choice((1, 1, 2, 3))
    makers = [rng.choices((talk, chance_answer), (80, 20))[0] for _ in range(count)]
    if rng.random() < 0.2:
        makers[-1] = long_answer
    return tuple(make(rng, held_out) for make in makers)
