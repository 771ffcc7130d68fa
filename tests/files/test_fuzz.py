"""Mutants of real files: what cannot be read ends in an error of ours that names the file, in little memory.

A few hundred in the suite, more by ``PADECAST_FUZZ=20 pytest tests/files/test_fuzz.py``, twenty times as many.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.files.meter import at_most
from tests.files.mutants import Mutation, byte_mutant, json_mutant, line_mutant, toml_mutant
from torch import nn

from demos.training.state import Parts, read_state, take_over, write_state
from padecast import PadecastError, zoo
from padecast.calibration import Calibration, Statistic
from padecast.calibration.journal import Journal
from padecast.cli import calibrate as command
from padecast.cli.plan import described
from padecast.lab.cells import cells
from padecast.lab.chapters import chapters
from padecast.lab.experiment import read
from padecast.lab.shelf import Shelf
from padecast.zoo.classifier import load_classifier

TIMES = int(os.environ.get("PADECAST_FUZZ", "1"))
HERE = Path(__file__).parent.parent
WEIGHTS = zoo.WEIGHTS / "digits" / "classifier.safetensors"
HEADING = {"model": {"class": "M", "span": "full"}, "seeds": [0, 1, 2], "budgets": [2]}


def use_calibration(path: Path) -> None:
    """Read, show and use a calibration, and save it again as JSON that every reader takes."""
    loaded = Calibration.load(path)
    described(loaded), str(loaded), float(loaded.guidance or 0.0), loaded.curve()
    for computed in loaded.budgets:
        method = loaded.method(computed=computed)
        assert method.policy.nfe == computed and method.forecaster.window < 1000
    again = loaded.save(path.with_name("again.json")).read_text()
    json.loads(again, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def use_journal(path: Path) -> None:
    """Go on with an interrupted calibration, and lose no line of it."""
    before = path.read_bytes()
    Journal(path, HEADING).score("C.C. lagrange", {9: 30.0})
    kept = path.read_bytes().splitlines()
    assert [line for line in before.splitlines()[:-1] if line not in kept] == []


def use_cell(path: Path) -> None:
    """All that a report reads of a cell."""
    for chapter in chapters(Shelf(path.parent).documents()):
        for wanted in chapter.budgets:
            chapter.comparison(wanted)
        chapter.swept(), chapter.names


def use_experiment(path: Path) -> None:
    """The pieces of work of an experiment, each with its file name."""
    for cell in cells(read(path)):
        assert "/" not in cell.file and len(cell.file) < 120
        json.dumps(cell.configuration, allow_nan=False)


def use_state(path: Path) -> None:
    """Go on with a training."""
    parts = tiny_parts()
    state = read_state(path, missing="")
    try:
        take_over(state, parts)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):  # whole, but of another training
        assert isinstance(state, dict)


def tiny_parts() -> Parts:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return Parts({"model": model}, [optimizer], torch.Generator().manual_seed(0))


def a_journal(folder: Path) -> Path:
    path = folder / "kept.part.jsonl"
    journal = Journal(path, HEADING)
    one = Statistic(("a", "b"), 1, torch.eye(8).double(), torch.eye(4).double(), torch.ones(2).double())
    grid = {"scheduler": "S", "timesteps": [3.0, 2.0, 1.0, 0.0], "sigmas": [1.0], "strides": [0.25] * 4}
    with path.open("a") as file:  # as both an earlier and this release write it
        file.write(json.dumps({"seeds": [0], "size": 0, "schedule": grid, "statistic": one.to_dict()}) + "\n")
    journal.scout(["C.C.", "CC.."])
    for trial in range(5):
        journal.score(f"C.C. {trial}", {0: 30.0 + trial, 1: 31.0})
    journal.fit("C.C. lagrange refined", ((1, ((0.5, 0.25), (0.1, 0.2))),))
    return path


def a_state(folder: Path) -> Path:
    write_state(folder / "state.safetensors", tiny_parts(), done=3, memory={"captions": ["a", "b"]})
    return folder / "state.safetensors"


EXPERIMENT = """
name = "all there is"
methods = ["fora:every=3", "tc-pade"]
peers = ["diffusers.magcache"]
calibrations = ["digits:hard"]
nfe = [6, 8]
seeds = "0-3"
development = [100, 101]
batch = 4
repeats = 1
shown = 8
timed = true

[[pipelines]]
name = "digits"
source = "digits"
device = "cpu"

[[settings]]
name = "hard"
steps = 20
guidance = 5
shift = 3.0
classes = "0-9"
prompts = ["a fox"]
arguments = {height = 64}

[[sweeps]]
methods = ["tc-pade"]
option = "every"
values = [2, 3]

[portraits]
seeds = [0, 1]
methods = ["tc-pade"]
"""

Use = Callable[[Path], Any]
KINDS: dict[str, tuple[str, Use, tuple[Mutation, ...], int]] = {
    "calibration": ("c.json", use_calibration, (json_mutant, json_mutant, byte_mutant), 110),
    "journal": ("kept.part.jsonl", use_journal, (line_mutant, line_mutant, byte_mutant), 60),
    "measured cell": ("cell.json", use_cell, (json_mutant, json_mutant, byte_mutant), 80),
    "portrait cell": ("cell.json", use_cell, (json_mutant,), 30),
    "refused cell": ("cell.json", use_cell, (json_mutant,), 15),
    "experiment": ("e.toml", use_experiment, (toml_mutant, toml_mutant, byte_mutant), 50),
    "training state": ("state.safetensors", use_state, (byte_mutant,), 12),
    "weights": ("classifier.safetensors", load_classifier, (byte_mutant,), 10),
    "prompts": ("prompts.txt", command._lines, (byte_mutant,), 12),
}


@cache
def original(kind: str, folder: Path) -> bytes:
    """A real file of a kind."""
    name = KINDS[kind][0]
    if kind == "calibration":
        return (HERE / "calibration" / "files" / "schema-1.json").read_bytes()
    if kind.endswith("cell"):
        return (HERE / "lab" / "files" / f"{kind.split()[0]}.json").read_bytes()
    if kind == "weights":
        return WEIGHTS.read_bytes()
    text = {"experiment": EXPERIMENT, "prompts": "a red fox\nein blauer Wal, größer\n" * 20}.get(kind)
    if text is not None:
        return text.encode()
    return (a_journal(folder) if name.endswith("jsonl") else a_state(folder)).read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("originals")


@pytest.mark.parametrize("kind", KINDS)
def test_the_original_is_read(kind: str, folder: Path, tmp_path: Path) -> None:
    name, use, _, _ = KINDS[kind]
    (tmp_path / name).write_bytes(original(kind, folder))
    use(tmp_path / name)


@pytest.mark.fault("mutants of files")
@pytest.mark.parametrize(
    ("kind", "number"),
    [(kind, number) for kind, (*_, count) in KINDS.items() for number in range(count * TIMES)],
)
def test_a_mutant_is_read_or_refused_by_name(kind: str, number: int, folder: Path, tmp_path: Path) -> None:
    name, use, mutations, _ = KINDS[kind]
    chance = random.Random(f"{kind} {number}")
    path = tmp_path / name
    path.write_bytes(mutations[number % len(mutations)](original(kind, folder), chance))
    said = path.name
    with at_most(200):
        try:
            use(path)
        except PadecastError as error:
            said = str(error)
    assert path.name in said


@pytest.mark.fault("mutants of files")
@pytest.mark.parametrize("what", ["folder", "loop", "endless", "missing", "unreadable"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("cell") or kind.startswith("measured")])
def test_what_is_no_file_is_refused_by_name(kind: str, what: str, tmp_path: Path) -> None:
    name, use, _, _ = KINDS[kind]
    path = tmp_path / name
    if what == "folder":
        path.mkdir()
    elif what in ("loop", "endless"):
        path.symlink_to(path if what == "loop" else "/dev/zero")
    elif what == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("the superuser reads everything")
        path.touch(mode=0)
    if what == "missing" and kind in ("journal", "measured cell"):
        pytest.skip("it is begun, or the folder is empty")
    with at_most(200), pytest.raises(PadecastError, match=name.replace(".", "[.]")):
        (Calibration.load if kind == "calibration" else go_on if kind == "journal" else use)(path)


def go_on(path: Path) -> None:
    Journal(path, HEADING)
