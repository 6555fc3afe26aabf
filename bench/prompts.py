"""Requests of known length: texts of so many tokens, and pictures that no cache has seen."""

from __future__ import annotations

import io
import string
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from glimpse_worker.prompt import PromptBuilder
from glimpse_worker.protocol import ChatMessage, TextContent

_TRIES = 20
_LETTERS = np.array(list(string.ascii_letters + string.digits))


class Texts:
    """Random letters: no two texts share a beginning that a cache could hold."""

    def __init__(self, prompts: PromptBuilder, seed: int = 0) -> None:
        self._prompts = prompts
        self._random = np.random.default_rng(seed)

    def of(self, tokens: int) -> str:
        """A text whose prompt, chat template included, has exactly so many tokens."""
        for _ in range(_TRIES):
            text = "".join(self._random.choice(_LETTERS, 2 * tokens))
            length = tokens - self._length("")
            for _ in range(_TRIES):
                missing = tokens - self._length(text[:length])
                if missing == 0:
                    return text[:length]
                length += missing
        raise ValueError(f"no random text has a prompt of {tokens} tokens")

    def own(self, tokens: int) -> str:
        """A text that adds so many tokens to a prompt."""
        return self.of(self._length("") + tokens)

    def _length(self, text: str) -> int:
        message = ChatMessage(role="user", content=[TextContent(text=text)])
        return len(self._prompts.build([message], []).ids)


def jpegs(count: int, width: int, height: int, seed: int = 0) -> list[bytes]:
    """Pictures with the smoothness of photographs and some noise, each another."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda number: _jpeg(width, height, seed * 1_000_003 + number), range(count)))


def _jpeg(width: int, height: int, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    noise = random.integers(-8, 9, (height, width, 1), dtype=np.int16)
    picture = np.clip(smooth.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
