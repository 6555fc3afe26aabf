"""Training lowers the loss, goes on where it stopped, and ends in a checkpoint that transformers loads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Glm4vForConditionalGeneration

from models.training.export import configuration, export, new_model
from models.training.optimizer import learning_rate
from models.training.sight import CHECKPOINT
from models.training.train import SMALL, Recipe, Trainer, held_out_batches, load_state, train

CPU = torch.device("cpu")


def test_the_loss_falls_on_one_batch() -> None:
    recipe = replace(SMALL, steps=100)
    trainer = Trainer(recipe, CPU)
    trainer.batch.copy_(held_out_batches(recipe)[0].flat)
    losses = []
    for step in range(10):
        trainer.step(step)
        losses.append((float(trainer.answer_loss), float(trainer.character_loss)))
    assert losses[-1][0] < 0.7 * losses[0][0]
    assert losses[-1][1] < 0.9 * losses[0][1]


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    recipe = replace(SMALL, steps=4)
    whole = train(recipe, tmp_path / "whole", CPU)
    train(recipe, tmp_path / "first", CPU, stop_after=2)
    state = tmp_path / "first" / "state.safetensors"
    resumed = train(recipe, tmp_path / "second", CPU, resume=state)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name
    with pytest.raises(ValueError, match=r"another recipe.*steps: 4, now 5"):
        load_state(Trainer(replace(recipe, steps=5), CPU), state)


def test_a_state_of_the_whole_model_takes_60_megabytes_at_most() -> None:
    state = Trainer(replace(Recipe(), layout=SMALL.layout), CPU).state()
    assert sum(tensor.nbytes for tensor in state.values()) < 59_000_000


def test_the_rate_warms_up_stays_and_falls() -> None:
    rates = [learning_rate(step, 10_000) for step in (0, 299, 1_000, 5_500, 9_999)]
    assert rates == pytest.approx([1 / 300, 1, 1, 0.5, 0.01])


def test_an_exported_checkpoint_has_the_same_logits(tmp_path: Path) -> None:
    trainer = Trainer(SMALL, CPU)
    trainer.round()
    export(trainer.model, tmp_path)
    loaded = Glm4vForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.arange(1, 40)[None]
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, trainer.model(input_ids=ids).logits)


def test_an_exported_checkpoint_says_what_the_shipped_one_does(tmp_path: Path) -> None:
    recipe = Recipe()
    config = configuration(
        vision_layers=recipe.vision_layers,
        text_layers=recipe.text_layers,
        width=recipe.width,
        gated_width=recipe.gated_width,
    )
    export(new_model(config), tmp_path)
    for file in CHECKPOINT.glob("*.json"):
        if file.name != "tokenizer.json":
            assert json.loads((tmp_path / file.name).read_text()) == json.loads(file.read_text()), file.name
    template = "chat_template.jinja"
    assert (tmp_path / template).read_text() == (CHECKPOINT / template).read_text()
    own, shipped = (load_file(folder / "model.safetensors") for folder in (tmp_path, CHECKPOINT))
    assert {name: tensor.shape for name, tensor in own.items()} == {
        name: tensor.shape for name, tensor in shipped.items()
    }


def test_weights_without_room_in_the_repository_are_refused(tmp_path: Path) -> None:
    config = configuration(vision_layers=9, text_layers=4, width=256, gated_width=704)
    with pytest.raises(ValueError, match="train fewer layers"):
        export(new_model(config), tmp_path)
    assert not list(tmp_path.iterdir())
