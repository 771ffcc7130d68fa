"""``padecast measure``: what it writes, how an interrupted one goes on, and that nothing private is shared."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import platform
import re
import sys
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.calibration.tiny import sparing
from tests.lab.tiny import digits
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from padecast.cli import app
from padecast.cli import measure as command
from padecast.lab import cells, pretrained, search
from padecast.lab.kit import ladder, pieces
from padecast.lab.kit.pieces import Pace

QUICK = ("--steps", "8", "--seeds", "0,1", "--batch", "2", "--budget-minutes", "600")
SECRET, HOST = "our-unreleased-model", "our-secret-host"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["measure", *arguments], env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pipelines") / SECRET
    digits().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def done(pipeline: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A measurement that was interrupted after three rows, and gone on with; and what it said then."""
    out = tmp_path_factory.mktemp("measured")
    usual, calls = cells.run, 0

    def three(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise KeyboardInterrupt
        return usual(*arguments)

    with pytest.MonkeyPatch.context() as patch, sparing():
        patch.setattr(command.cells, "run", three)
        stopped = run(pipeline, *QUICK, "--out", str(out))
    assert stopped.exit_code == 130 and "The same command goes on from there" in stopped.stderr
    assert len(list((out / "cells").iterdir())) == 3 and not (out / "results.json").exists()
    rest: list[str] = []
    with pytest.MonkeyPatch.context() as patch, sparing():
        patch.setattr(platform, "node", lambda: HOST)
        patch.setattr(search, "TRIALS", 3)
        patch.setattr(command.cells, "run", lambda cell, *other: (rest.append(cell.chosen), usual(cell, *other))[1])
        result = run(pipeline, *QUICK, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "13 rows of 2 seeds, 3 of them there already" in result.stderr and len(rest) == 10
    return out, result


@pytest.fixture(scope="module")
def shared(done: tuple[Path, Result]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((done[0] / "results.json").read_text())
    return document


def test_a_price_is_said_before_and_the_verdict_after(done: tuple[Path, Result]) -> None:
    assert re.search(r"about \d+ images' worth of steps, some .* each, CPU", done[1].stderr)
    assert done[1].stdout.count("met  ") >= 4 and "real models" in done[1].stdout
    assert "calibrated quick" in done[1].stdout


def test_what_is_shared_has_the_rows_the_ladder_and_the_lesson(shared: dict[str, Any]) -> None:
    rows = {(row["name"], row["wanted"]) for row in shared["results"]}
    assert {("learned", 3), ("adaptive", 3), ("calibrated quick", 3), ("diffusers.first-block", 3)} <= rows
    assert {("fewer-steps", 3), ("fewer-steps", 4), ("repetition", 4), ("line", 4), ("uncached", None)} <= rows
    assert all(row["seconds"] > 0 for row in shared["results"])
    assert len(shared["ladder"]["met"]) == 4 and None not in shared["ladder"]["met"]
    assert len(shared["ladder"]["change"]) == 7 and shared["lesson"]["kind"] == "padecast lesson"
    assert shared["model"]["name"] == "DigitsPipeline" and shared["absent"] == shared["refusals"] == []


def test_learned_was_taught_by_the_first_look(shared: dict[str, Any]) -> None:
    row = next(row for row in shared["results"] if row["name"] == "learned")
    assert row["teaching"] == 1 and row["plans"][0].count("C") == 3


@pytest.mark.parametrize("name", ["results.json", "report.html"])
def test_nothing_that_is_shared_says_where_or_of_what_it_is(done: tuple[Path, Result], name: str) -> None:
    text = (done[0] / name).read_text()
    assert SECRET not in text and str(done[0]) not in text and "pytest-of" not in text
    assert HOST not in text and "--seeds" not in text and re.search(r"\bCPU\b", text)


def test_the_page_needs_nothing_else(done: tuple[Path, Result]) -> None:
    text = (done[0] / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text) and "How like real models" in text
    assert all(line in text for line in ladder.LINES)


def test_a_finished_one_is_not_done_again(done: tuple[Path, Result], pipeline: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done[0] / "cells").iterdir()}
    assert "13 of them there already" in run(pipeline, *QUICK, "--out", str(done[0]), "--dry-run").stderr
    assert {path: path.stat().st_mtime_ns for path in (done[0] / "cells").iterdir()} == before


def test_another_measurement_in_the_folder_is_refused_by_what_differs(done: tuple[Path, Result], pipeline: str) -> None:
    result = run(pipeline, *QUICK, "--out", str(done[0]), "--guidance", "2")
    assert result.exit_code == 2 and "another measurement, of other setting" in result.stderr
    assert "--overwrite begins anew" in result.stderr


def test_too_little_time_is_said_before_with_how_much_it_takes(
    pipeline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "time_pace", lambda task: Pace(10.0, 10.0))
    result = run(pipeline, "--steps", "8", "--budget-minutes", "5", "--out", str(tmp_path))
    assert result.exit_code == 2 and re.search(r"--budget-minutes \d+; or make it smaller: --size", result.stderr)
    assert not list(tmp_path.iterdir())


def test_rows_for_which_no_time_is_left_are_named(
    pipeline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count(step=0.5)
    monkeypatch.setattr(pieces, "time_pace", lambda task: Pace(0.0, 1e-4))  # far faster than it is
    monkeypatch.setattr(command.Work, "seconds", property(lambda work: next(clock)))
    result = run(pipeline, *QUICK[:-1], "0.1", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "results.json").read_text())
    assert 2 <= len(document["results"]) < 10
    assert all("the same command goes on" in row["why"] for row in document["absent"])
    assert [row["name"] for row in document["absent"]][-1] == "tc-pade" and "not measured: tc-pade" in result.stderr


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A stand-in of AlexNet's weights in torch's folder, and of the library that reads them."""

    class Network(nn.Module):
        def __init__(self, net_type: str, normalize: bool) -> None:
            super().__init__()
            self.scale = torch.load(file, weights_only=True)["scale"]

        def forward(self, one: Tensor, two: Tensor) -> Tensor:
            return self.scale * (one - two).abs().mean()

    file = tmp_path / "hub" / "checkpoints" / pretrained.ALEXNET
    file.parent.mkdir(parents=True)
    torch.save({"scale": torch.tensor(3.0)}, file)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    module = types.ModuleType("torchmetrics.image.lpip")
    module.LearnedPerceptualImagePatchSimilarity = Network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    lpips = dataclasses.replace(pretrained.METRICS["lpips"], modules=(module.__name__,))  # no torchvision
    monkeypatch.setitem(pretrained.METRICS, "lpips", lpips)
    usual = importlib.util.find_spec
    there = ModuleSpec("torchmetrics", None)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: there if name == "torchmetrics" else usual(name, *rest)
    )
    pretrained.load.cache_clear()
    yield file
    pretrained.load.cache_clear()


@pytest.mark.parametrize("is_there", [True, False])
def test_lpips_is_a_column_where_its_weights_are_at_hand(
    pipeline: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    if not is_there:
        weights.unlink()
    clock = count(step=0.5)
    monkeypatch.setattr(pieces, "time_pace", lambda task: Pace(0.0, 1e-4))
    monkeypatch.setattr(command.Work, "seconds", property(lambda work: next(clock)))
    result = run(pipeline, *QUICK[:-1], "0.1", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = [row["scores"].get("LPIPS") for row in document["results"] if row["name"] != "uncached"]
    assert len(rows) > 1 and all((row is not None and row > 0) is is_there for row in rows)
    assert ("LPIPS" in (tmp_path / "out" / "report.html").read_text()) is is_there


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--like", "fluxx"), "the nearest is 'flux'"),
        (("--seeds", "3"), "2 or more: one says nothing of others"),
        (("--prompt", "a red fox"), "takes no prompt"),
        (("--size", "64x64"), "takes no height"),
        (("--steps", "7"), "'--steps'"),
    ],
)
def test_what_cannot_be_measured_is_said_before(
    pipeline: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run(pipeline, *arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
