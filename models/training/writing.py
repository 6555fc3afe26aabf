"""Texts that pictures show: words, words that are none, numbers, codes. Every twelfth word is held out."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from random import Random

WORDS = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
HELD_OUT = WORDS[7::12]
TRAINED = [word for word in WORDS if word not in set(HELD_OUT)]

# In many fonts I, O and Q of a random string cannot be told from l, 0 and O.
UPPER, LOWER, DIGITS = "ABCDEFGHJKLMNPRSTUVWXYZ", "abcdefghijkmnopqrstuvwxyz", "0123456789"
_PUNCTUATION = ".,:;!?-+/()&%#@*=_'\"<>[]$"


def words(held_out: bool) -> list[str]:
    return HELD_OUT if held_out else TRAINED


@cache
def _followers() -> dict[str, str]:
    """For every two letters of English words, those that may follow, as often as they do; a blank ends."""
    table: dict[str, list[str]] = defaultdict(list)
    for word in WORDS:
        padded = f"  {word} "
        for index in range(len(padded) - 2):
            table[padded[index : index + 2]].append(padded[index + 2])
    return {pair: "".join(letters) for pair, letters in table.items()}


def pseudo_word(rng: Random, most: int = 10) -> str:
    """
    A word that sounds like one and (but for chance) is none. Reading it needs the letters: a model that has
    only learnt words reads the nearest one it knows.
    """
    flat = rng.random() < 0.4
    word = ""
    while len(word) < most:
        following = _followers()[f"  {word}"[-2:]]
        letter = rng.choice(sorted(set(following)) if flat else following)
        if letter == " ":
            if len(word) >= 2:
                break
            following = following.replace(" ", "")
            letter = rng.choice(following or LOWER)
        word += letter
        if f"  {word}"[-2:] not in _followers():
            break
    return word


def random_string(rng: Random, length: int, alphabet: str) -> str:
    return "".join(rng.choices(alphabet, k=length))


def _cased(rng: Random, text: str) -> str:
    chance = rng.random()
    if chance < 0.3:
        return text.upper()
    if chance < 0.5:
        return text.title()
    return text.capitalize() if chance < 0.7 else text


def phrase(rng: Random, most: int, held_out: bool, invented: float = 0.55) -> str:
    """One to five words, `most` characters in all; the share `invented` of them is of pseudo-words."""
    vocabulary = words(held_out)
    made_up = rng.random() < invented

    def word() -> str:
        return pseudo_word(rng, min(10, most)) if made_up else rng.choice(vocabulary)

    text = word()
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3, 4))):
        following = word()
        if len(text) + 1 + len(following) > most:
            break
        text = f"{text} {following}"
    text = _cased(rng, text[:most].strip())
    if made_up and text[0] == "I" and len(text) > 1 and text[1].islower():
        # In most fonts nobody could tell it from an l.
        text = "A" + text[1:]
    if rng.random() < 0.1 and len(text) < most:
        text += rng.choice(".!?:,")
    return text


def price(rng: Random, most: int = 999) -> str:
    return f"{rng.randint(0, most)}.{rng.randint(0, 99):02d}"


def _date(rng: Random) -> str:
    year, month, day = rng.randint(1950, 2039), rng.randint(1, 12), rng.randint(1, 28)
    return rng.choice(
        (f"{year}-{month:02d}-{day:02d}", f"{day:02d}.{month:02d}.{year}", f"{month}/{day}/{year}")
    )


def _code(rng: Random) -> str:
    number = rng.randint(1, 9999)
    return rng.choice(
        (
            _date(rng),
            f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}",
            f"${price(rng)}",
            f"{price(rng, 99)} EUR",
            f"{rng.randint(0, 100)}%",
            f"{random_string(rng, rng.randint(1, 3), UPPER)}-{random_string(rng, rng.randint(2, 5), DIGITS)}",
            f"{rng.randint(1, 99)}/{rng.randint(1, 99)}",
            f"No. {number}",
            f"#{number}",
            f"{pseudo_word(rng, 6)}@{pseudo_word(rng, 5)}.com",
            f"+{rng.randint(1, 99)} {rng.randint(100, 999)} {rng.randint(1000, 9999)}",
            f"v{rng.randint(0, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}",
        )
    )


def _punctuated(rng: Random, most: int, held_out: bool) -> str:
    """Signs among words and digits, each as likely as the other: few texts hold enough of them."""
    parts = [pseudo_word(rng, 5) if rng.random() < 0.6 else random_string(rng, rng.randint(1, 3), DIGITS)]
    while rng.random() < 0.6:
        parts.append(rng.choice(_PUNCTUATION))
        parts.append(
            rng.choice(words(held_out))
            if rng.random() < 0.3
            else random_string(rng, rng.randint(1, 4), DIGITS)
        )
    parts.append(rng.choice(_PUNCTUATION))
    return "".join(parts)[:most]


def text_line(rng: Random, most: int, held_out: bool = False) -> str:
    """One line of at most `most` characters and at least one, without blanks at its ends."""
    chance = rng.random()
    if chance < 0.52:
        return phrase(rng, most, held_out)
    if chance < 0.6:
        alphabet = rng.choice((UPPER, UPPER, LOWER))
        return random_string(rng, rng.randint(1, min(10, most)), alphabet)
    if chance < 0.68:
        return random_string(rng, rng.randint(1, min(12, most)), DIGITS)
    if chance < 0.8:
        return random_string(rng, rng.randint(min(3, most), min(18, most)), UPPER + LOWER + DIGITS)
    if chance < 0.89:
        return _code(rng)[:most].strip()
    if chance < 0.94:
        return _punctuated(rng, most, held_out)
    word = (pseudo_word(rng, 8) if rng.random() < 0.5 else rng.choice(words(held_out))).capitalize()
    return f"{word} {random_string(rng, rng.randint(1, 4), DIGITS)}"[:most].strip()
