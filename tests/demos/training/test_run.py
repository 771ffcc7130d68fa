"""A training of several stages: each builds on those before it, with checkpoints on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.demos.training.toy import Body, Notes, Recipe, Tail, build

from demos.training.run import run, train
from demos.training.state import read_state


def test_stages_build_on_one_another(tmp_path: Path) -> None:
    straight = train(Notes().trainee(), Recipe(), tmp_path / "straight", quiet=True)
    train(Notes().trainee(), Recipe(), tmp_path / "parts", stages=("body",), quiet=True)
    resumed = train(Notes().trainee(), Recipe(), tmp_path / "parts", resume=True, quiet=True)
    untrained = build(Recipe()).state_dict()
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
        assert not torch.equal(weight, untrained[name]), name


def test_a_stage_alone_reads_what_earlier_ones_learned(tmp_path: Path) -> None:
    straight = train(Notes().trainee(), Recipe(), tmp_path, quiet=True)
    (tmp_path / "tail.safetensors").unlink()
    alone = train(Notes().trainee(), Recipe(), tmp_path, stages=("tail",), quiet=True)
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, alone.state_dict()[name]), name


def test_an_interrupted_stage_goes_on(tmp_path: Path) -> None:
    recipe = Recipe(steps=4)
    straight = train(Notes().trainee(), recipe, tmp_path / "straight", quiet=True)
    stage = Body(build(recipe), recipe, "cpu")
    stage.step(), stage.step()
    stage.save(tmp_path / "parts" / "body.safetensors")
    resumed = train(Notes().trainee(), recipe, tmp_path / "parts", resume=True, quiet=True)
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_what_is_learned_is_the_average_and_is_settled(tmp_path: Path) -> None:
    notes = Notes()
    parts = train(notes.trainee(), Recipe(), tmp_path, quiet=True)
    assert [id(module) for module in notes.settled] == [id(parts["body"])]
    average = read_state(tmp_path / "body.safetensors", missing="")["average"]
    assert set(average) == {f"body.{name}" for name in parts["body"].state_dict()}
    for name, weight in average.items():
        assert torch.equal(notes.exported[-1][name], weight), name


def test_a_stage_is_saved_and_exported_now_and_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes, recipe = Notes(), Recipe(steps=5)
    stage = Tail(build(recipe), recipe, "cpu")
    run(stage, tmp_path, notes.trainee().export, every=2)
    assert len(notes.exported) == 2  # after 2 and 4 steps; at its end the training exports
    assert read_state(tmp_path / "tail.safetensors", missing="")["done"] == 5
    assert capsys.readouterr().out.count("saved in") == 3


def test_a_finished_training_is_left_as_it_is(tmp_path: Path) -> None:
    train(Notes().trainee(), Recipe(), tmp_path, quiet=True)
    before = (tmp_path / "tail.safetensors").read_bytes()
    notes = Notes()
    train(notes.trainee(), Recipe(), tmp_path, resume=True, quiet=True)
    assert (tmp_path / "tail.safetensors").read_bytes() == before and len(notes.exported) == 1


def test_resuming_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no training state"):
        train(Notes().trainee(), Recipe(), tmp_path, resume=True, quiet=True)
    with pytest.raises(FileNotFoundError, match="builds on those before it: body, then tail"):
        train(Notes().trainee(), Recipe(), tmp_path, stages=("tail",), quiet=True)
