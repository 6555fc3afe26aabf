"""Tokens stand where transformers' Glm4v puts them, in the prompt and while it generates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from embedded import MODEL
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Glm4vConfig, Glm4vForConditionalGeneration, Glm4vModel

from glimpse_worker.engine.paged.positions import prompt_positions
from glimpse_worker.engine.paged.sequence import Sequence
from glimpse_worker.engine.paged.spans import Patchwork, find_spans
from glimpse_worker.sampling import Sampling

MERGE = 2
TEXT, IMAGE, VIDEO = 0, 1, 2
GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, seed=0)


@dataclass(frozen=True)
class Shown:
    """A picture or a video: `frames` temporal patches of `height` x `width` patches."""

    kind: int
    frames: int
    height: int
    width: int

    @property
    def patchworks(self) -> list[Patchwork]:
        return [Patchwork(b"any", self.height, self.width)] * self.frames


@dataclass(frozen=True)
class Composed:
    """A prompt of text and media as the chat template lays it out, with text between a video's patches."""

    types: list[int]
    media: list[Shown]

    @property
    def patchworks(self) -> list[Patchwork]:
        return [patchwork for shown in self.media for patchwork in shown.patchworks]

    def grid(self, kind: int) -> torch.Tensor | None:
        rows = [[shown.frames, shown.height, shown.width] for shown in self.media if shown.kind == kind]
        return torch.tensor(rows) if rows else None


_sides = st.integers(1, 9).map(lambda side: side * MERGE)
_pictures = st.builds(Shown, kind=st.just(IMAGE), frames=st.just(1), height=_sides, width=_sides)
_videos = st.builds(Shown, kind=st.just(VIDEO), frames=st.integers(1, 4), height=_sides, width=_sides)


@st.composite
def _prompts(draw: st.DrawFn) -> Composed:
    """Media may come first and last, with as little as one token between them."""
    media = draw(st.lists(st.one_of(_pictures, _videos), max_size=4))
    types = [TEXT] * draw(st.integers(0 if media else 1, 5))
    for index, shown in enumerate(media):
        for frame in range(shown.frames):
            if index or frame:
                types += [TEXT] * draw(st.integers(1, 5))
            types += [shown.kind] * (shown.height * shown.width // MERGE**2)
    return Composed(types + [TEXT] * draw(st.integers(0, 5)), media)


@cache
def _model() -> Any:
    with torch.device("meta"):
        model: Any = Glm4vModel(Glm4vConfig.from_pretrained(MODEL))
    assert model.config.vision_config.spatial_merge_size == MERGE
    return model


def _of_transformers(prompt: Composed) -> tuple[Any, int]:
    ids = torch.zeros((1, len(prompt.types)), dtype=torch.int64)
    positions, deltas = _model().get_rope_index(
        ids, torch.tensor([prompt.types]), prompt.grid(IMAGE), prompt.grid(VIDEO)
    )
    return positions[:, 0].numpy(), int(deltas.item())


def _sequence(prompt: Composed, generated: int) -> Sequence:
    return Sequence(
        0,
        [0] * len(prompt.types),
        find_spans(prompt.types, prompt.patchworks, MERGE),
        merge_size=MERGE,
        page_size=4,
        max_new_tokens=100,
        sampling=GREEDY,
        generated=[0] * generated,
    )


@settings(max_examples=100)
@given(prompt=_prompts())
def test_a_prompt_of_text_pictures_and_videos_has_the_positions_of_transformers(prompt: Composed) -> None:
    spans = find_spans(prompt.types, prompt.patchworks, MERGE)
    positions, delta = prompt_positions(len(prompt.types), spans, MERGE)
    expected, expected_delta = _of_transformers(prompt)
    np.testing.assert_array_equal(positions, expected)
    assert positions.dtype == np.int32
    assert delta == expected_delta


@settings(max_examples=100)
@given(prompt=_prompts(), generated=st.integers(0, 6), data=st.data())
def test_any_part_of_a_prompt_and_its_answer_has_the_positions_of_the_whole(
    prompt: Composed, generated: int, data: st.DataObject
) -> None:
    of_prompt, delta = _of_transformers(prompt)
    # As compute_3d_position_ids of transformers goes on after the prompt.
    of_answer = np.arange(len(prompt.types), len(prompt.types) + generated) + delta
    expected = np.concatenate([of_prompt, np.tile(of_answer, (3, 1))], axis=1)
    sequence = _sequence(prompt, generated)
    cuts = st.one_of(
        st.integers(0, sequence.length), st.integers(len(prompt.types) - 1, len(prompt.types) + generated)
    )
    start, end = sorted([data.draw(cuts), data.draw(cuts)])
    np.testing.assert_array_equal(sequence.positions(start, end), expected[:, start:end])
    for index in range(len(prompt.types), sequence.length):
        assert [sequence.position(index)] * 3 == expected[:, index].tolist()


@pytest.mark.parametrize(
    "prompt",
    [
        Composed([TEXT] * 5, []),
        Composed([TEXT] * 3 + [IMAGE] * 6 + [TEXT] * 2, [Shown(IMAGE, 1, 4, 6)]),
        Composed(
            [IMAGE] * 2 + [TEXT] + [IMAGE] * 4 + [TEXT] * 2, [Shown(IMAGE, 1, 4, 2), Shown(IMAGE, 1, 4, 4)]
        ),
    ],
    ids=["text", "a picture", "a picture first, and another"],
)
def test_an_answer_goes_on_at_the_positions_that_generate_uses(prompt: Composed) -> None:
    model, seen = _watched_model()
    types = torch.tensor([prompt.types])
    ids = torch.where(types == IMAGE, model.config.image_token_id, 10)
    media: dict[str, torch.Tensor] = {}
    if (grid := prompt.grid(IMAGE)) is not None:
        patch = model.config.vision_config
        numbers = patch.in_channels * patch.temporal_patch_size * patch.patch_size**2
        media = {
            "image_grid_thw": grid,
            "pixel_values": torch.zeros(int(grid.prod(dim=1).sum()), numbers),
            "mm_token_type_ids": types,
        }
    seen.clear()
    generated = 4
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=generated + 1,
            min_new_tokens=generated + 1,
            **media,
        )
    expected = torch.cat(seen, dim=1).numpy()
    sequence = _sequence(prompt, generated)
    np.testing.assert_array_equal(sequence.positions(0, sequence.length), expected)
    for index in range(len(prompt.types), sequence.length):
        assert [sequence.position(index)] * 3 == expected[:, index].tolist()


@cache
def _watched_model() -> tuple[Any, list[torch.Tensor]]:
    """The embedded model, and the (3, tokens) positions that its text layers are given."""
    model: Any = Glm4vForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32)
    seen: list[torch.Tensor] = []

    def watch(_module: object, _arguments: object, keywords: dict[str, Any]) -> None:
        # Four rows in generate: an index first, which attention masks are made from.
        seen.append(keywords["position_ids"][-3:, 0])

    model.model.language_model.register_forward_pre_hook(watch, with_kwargs=True)
    return model, seen


@pytest.mark.parametrize(
    ("types", "shown"),
    [
        ([TEXT, IMAGE, IMAGE, TEXT], [Patchwork(b"any", 2, 2)]),
        ([TEXT, IMAGE, TEXT], []),
        ([TEXT, IMAGE, TEXT], [Patchwork(b"any", 2, 2)] * 2),
        ([IMAGE, IMAGE], [Patchwork(b"any", 2, 2)] * 2),
    ],
    ids=["too many placeholders", "nothing to show", "nowhere to show it", "no text between two pictures"],
)
def test_a_chat_template_that_does_not_fit_the_pictures_is_an_error(
    types: list[int], shown: list[Patchwork]
) -> None:
    with pytest.raises(ValueError, match=r"placeholder|zip"):
        find_spans(types, shown, MERGE)
