"""Experiment files: what they say, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

import padecast
from padecast.lab.cells import Cell, cells
from padecast.lab.experiment import read

WHOLE = """
name = "all there is"
methods = ["tc-pade"]
peers = ["diffusers.magcache"]
calibrations = ["digits:hard"]
nfe = [6, 8]
seeds = "0-3"
development = [100, 101]
batch = 4

[[pipelines]]
name = "digits"
source = "digits"

[[settings]]
name = "hard"
steps = 20
guidance = 5
shift = 3.0
classes = "0-9"

[[settings]]
name = "easy"
pipelines = ["digits"]

[[sweeps]]
methods = ["tc-pade", "pade:warmup=1"]
option = "every"
values = [2, 3]

[portraits]
seeds = [0, 1]
methods = ["tc-pade"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "experiment.toml"


def test_a_whole_experiment_is_read(file: Path) -> None:
    file.write_text(WHOLE)
    experiment = read(file)
    hard, easy = experiment.settings
    assert (hard.guidance, hard.shift, hard.classes) == (5.0, 3.0, tuple(range(10))) and easy.guidance is None
    assert experiment.seeds == (0, 1, 2, 3) and experiment.development == (100, 101) and experiment.nfe == (6, 8)
    assert experiment.sweeps[0].write("pade:warmup=1", 3) == "pade:warmup=1,every=3"
    assert experiment.portraits.seeds == (0, 1)


def test_cells_are_all_that_is_to_do_each_once_and_independent(file: Path) -> None:
    file.write_text(WHOLE)
    found = cells(read(file))
    names = [cell.name for cell in found if cell.setting.name == "hard"]
    assert names[:4] == [
        f"digits, hard: {what} at 6"
        for what in ("fewer-steps", "tc-pade", "diffusers.magcache", "calibrated:digits:hard")
    ]
    assert "digits, hard: pade:warmup=1,every=3 (sweep)" in names
    assert names[-2:] == ["digits, hard: uncached (portrait)", "digits, hard: tc-pade at 6 (portrait)"]
    assert not any("calibrated" in cell.chosen for cell in found if cell.setting.name == "easy")
    assert len({cell.file for cell in found}) == len(found)


def test_a_file_name_depends_on_everything_and_on_nothing_else(file: Path) -> None:
    file.write_text(WHOLE)
    one, again = cells(read(file)), cells(read(file))
    assert [cell.file for cell in one] == [cell.file for cell in again]
    file.write_text(WHOLE.replace("guidance = 5", "guidance = 4"))
    changed = cells(read(file))
    pairs = list(zip(one, changed, strict=True))
    assert all((a.file == b.file) == (a.setting.name == "easy") for a, b in pairs)
    assert all(Cell.__module__ == type(cell).__module__ and cell.calls == 2 for cell in one if cell.kind == "measure")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nfe = [6, 8]", "nfes = [6, 8]", "unknown key of experiment.toml 'nfes'; the nearest is 'nfe'"),
        ("shift = 3.0", "shif = 3.0", r"unknown key of .*settings\[0\] 'shif'; the nearest is 'shift'"),
        ("steps = 20", 'steps = "20"', r"settings\[0\]: steps='20' cannot be read: expected a whole number"),
        ("guidance = 5", "guidance = true", r"guidance=True cannot be read: expected a number"),
        (
            'methods = ["tc-pade"]\npeers',
            'methods = "tc-pade"\npeers',
            "methods='tc-pade' cannot be read: .* list",
        ),
        ('methods = ["tc-pade"]\npeers', 'methods = ["tcpade"]\npeers', r"methods\[0\]: unknown method 'tcpade'"),
        ("diffusers.magcache", "diffusers.magcach", r"peers\[0\]: unknown peer .*the nearest is 'diffusers.magcache'"),
        ("values = [2, 3]", "values = [2, 0]", r"sweeps\[1\]: every=0"),
        ("nfe = [6, 8]", "nfe = [6, 21]", "nfe=21 is out of range: expected 1 to the 20 steps of 'hard'"),
        ("[100, 101]", "[3, 101]", "seeds 3 are both measured and tuned on"),
        ('seeds = "0-3"', 'seeds = "0-x"', "experiment.toml: seeds '0-x' cannot be read"),
        ('pipelines = ["digits"]', 'pipelines = ["digit"]', "unknown pipeline in settings 'easy' 'digit'"),
        ('name = "easy"', 'name = "hard"', "names of settings"),
        ('source = "digits"', "", r"pipelines\[0\] has no source"),
        ("[[pipelines]]", "[pipelines]", "pipelines=.* cannot be read: expected a list"),
        ("batch = 4", "batch = ", "is no TOML"),
    ],
)
def test_an_error_names_the_key(file: Path, old: str, new: str, said: str) -> None:
    assert old in WHOLE
    file.write_text(WHOLE.replace(old, new, 1))
    with pytest.raises((padecast.InvalidOption, padecast.UnknownName), match=said):
        read(file)


def test_tables_that_are_missing_are_named(file: Path) -> None:
    file.write_text('pipelines = []\nsettings = [{name = "hard"}]')
    with pytest.raises(padecast.InvalidOption, match=r"expected one table or more, written \[\[pipelines\]\]"):
        read(file)
