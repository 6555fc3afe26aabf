"""
The tokenizer: `python -m models.training.vocabulary` makes `tokenizer.json` anew.

Bytes, 234 merges, and GLM-4.1V's special tokens. The merges are learnt from questions, thoughts and answers
that are templates, and not from what pictures say: a text that is read stays nearly one token per character,
so the model learns letters and not words.

The `tokenizer.json` that is here is older than some of what is drawn. One that is made anew has other merges:
a model has to be trained anew for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

FILE = Path(__file__).parent / "tokenizer.json"
SIZE = 512

MARKS = ("<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>")
"""They are no special tokens, so that `skip_special_tokens` keeps them, as with GLM-4.1V."""

SPECIALS = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|image|>",
    "<|video|>",
)

# GLM-4's, but single digits: numbers are read and counted digit by digit.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SAMPLES = 12_000
_SEED = 1


@cache
def load_tokenizer() -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_file(str(FILE))
    return tokenizer


def make() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - len(SPECIALS) - len(MARKS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_templates(), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKS])
    return tokenizer


def _templates() -> Iterator[str]:
    """What is said around the texts of pictures, and in answers that are no such text."""
    # Imported here: drawing needs the tokenizer of no sample.
    from .mixture import draw

    rng = Random(_SEED)
    for _ in range(_SAMPLES):
        for turn in draw(rng).turns:
            yield turn.question
            yield turn.thought
            if turn.task in ("describe", "count", "attribute", "video", "long", "photograph", "talk"):
                yield re.sub(r'"[^"]*"', '""', turn.answer)
            elif turn.task == "json":
                yield re.sub(r'("(?:name|shop)": )"[^"]*"', r'\1""', turn.answer)


if __name__ == "__main__":
    made = make()
    made.save(str(FILE))
    pieces = sorted(json.loads(made.to_str())["model"]["vocab"].items(), key=lambda item: item[1])
    print(f"{made.get_vocab_size()} tokens; merges: {' '.join(piece for piece, _ in pieces[256:])}")
