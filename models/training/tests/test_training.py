"""Training lowers the loss, goes on where it stopped, and ends in a checkpoint that transformers loads."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Glm4vForConditionalGeneration

from models.training.export import configuration, export, new_model
from models.training.figures import held_out_batches
from models.training.optimizer import learning_rate
from models.training.recipe import SMALL, Recipe
from models.training.sight import CHECKPOINT
from models.training.state import load_state
from models.training.train import Call, train
from models.training.trainer import Trainer
from models.training.world import ProcessFailed, World, run_together

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The model is so small that threads do nothing but wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("models.training.train._cores", lambda _: 1)
    yield
    torch.set_num_threads(before)


def test_the_loss_falls_on_one_batch() -> None:
    recipe = replace(SMALL, steps=100)
    trainer = Trainer(recipe, CPU)
    trainer.batches.copy_(held_out_batches(recipe)[0].flat)
    losses = []
    for step in range(10):
        trainer.step(step)
        losses.append((float(trainer.answer_loss), float(trainer.character_loss)))
    assert losses[-1][0] < 0.7 * losses[0][0]
    assert losses[-1][1] < 0.9 * losses[0][1]


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    recipe = replace(SMALL, steps=4)
    whole = train(recipe, Call(tmp_path / "whole"), CPU)
    train(recipe, Call(tmp_path / "first", stop_after=2), CPU)
    state = tmp_path / "first" / "state.safetensors"
    resumed = train(recipe, Call(tmp_path / "second", resume=state), CPU)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name
    with pytest.raises(ValueError, match=r"another recipe.*steps: 4, now 5"):
        load_state(Trainer(replace(recipe, steps=5), CPU), state)


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    recipe = replace(SMALL, steps=2)
    alone = train(recipe, Call(tmp_path / "alone"), CPU)

    def work(world: World) -> None:
        train(recipe, Call(tmp_path / "together"), CPU, world)

    run_together(2, work)
    together = load_file(tmp_path / "together" / "checkpoint" / "model.safetensors")
    for name, tensor in alone.model.state_dict().items():
        assert torch.allclose(tensor, together[name].float(), atol=2e-3), name


def test_a_process_that_fails_ends_the_others() -> None:
    def work(world: World) -> None:
        if not world.is_first:
            raise SystemExit(3)
        signal.pause()

    with pytest.raises(ProcessFailed, match="process 1 ended with exit code 3"):
        run_together(2, work)


def test_a_step_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(ValueError, match="4 parts of a step cannot be shared evenly by 3 GPUs"):
        World(size=3).share(4)


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
