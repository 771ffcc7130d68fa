"""A finished cell is taken for another one only if it would draw the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from padecast import zoo
from padecast.lab.cells import cells
from padecast.lab.experiment import read
from padecast.lab.origins import origin, weights
from padecast.lab.shelf import Shelf
from padecast.methods import method

EXPERIMENT = """
methods = ["fora"]
peers = ["diffusers.first-block"]
calibrations = ["{calibration}"]
nfe = [2]
seeds = [0]

[[pipelines]]
name = "own"
source = "{folder}"

[[settings]]
name = "plain"
steps = 4
"""


def test_options_count_however_they_are_written() -> None:
    assert origin("digits", "fora") == origin("digits", "fora:every=4")
    different = {"fora", "fora:every=3", "taylorseer", "diffusers.first-block", "diffusers.first-block:threshold=0.5"}
    assert len({origin("digits", chosen) for chosen in different}) == len(different)
    assert origin("digits", "uncached") != origin("scenes", "uncached")
    assert origin("someone/model", "fora") != origin("someone/other", "fora")


def test_a_finished_cell_is_done_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, calibration, shelf = tmp_path / "own", tmp_path / "own.json", Shelf(tmp_path / "shelf")
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    calibration.write_text("{}")
    file = tmp_path / "experiment.toml"
    file.write_text(EXPERIMENT.format(folder=folder, calibration=calibration))

    def open_cells() -> set[str]:
        return {cell.chosen for cell in cells(read(file)) if not shelf.holds(cell)}

    def finish() -> None:
        for cell in cells(read(file)):
            shelf.put(cell, {"kind": "padecast cell", "schema": 1, "cell": cell.configuration})
        assert not open_cells()

    assert len(open_cells()) == 4
    finish()
    calibration.write_text('{"changed": 1}')
    assert open_cells() == {f"calibrated:{calibration}"}
    finish()
    monkeypatch.setattr("padecast.lab.origins.method", lambda written: method(f"{written}:every=2"))  # another default
    assert open_cells() == {"fora"}
    finish()
    (folder / "model_index.json").write_text('{"other": "weights"}')
    assert len(open_cells()) == 4
    finish()
    assert len(list(shelf.folder.iterdir())) == 4  # what was done anew took the place of what it was before
    (folder / "training.json").write_text("{}")
    assert not open_cells()  # a note beside the weights


def test_the_weights_of_a_demo_model_are_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    assert weights("digits") == "digits"
    (tmp_path / "digits").mkdir()
    part = tmp_path / "digits" / "transformer"
    part.mkdir()
    (part / "config.json").write_text(json.dumps([1]))
    first = weights("digits")
    (part / "config.json").write_text(json.dumps([12]))
    assert first != weights("digits") != "digits"
