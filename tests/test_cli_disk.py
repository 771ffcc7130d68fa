"""Commands on disks that are full or may not be written to: said before anything runs, or at once; nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.files.meter import full_disk
from tests.lab.tiny import digits
from torch import Tensor
from typer.testing import CliRunner, Result

import padecast.cli.calibrate
import padecast.cli.compare
import padecast.cli.demo
import padecast.cli.generate
import padecast.cli.lab
from padecast.cli import app
from padecast.lab.calls import Sampling
from padecast.lab.shelf import Shelf

CELLS = Path(__file__).parent / "lab" / "files"
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    digits().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    file = tmp_path / "e.toml"
    file.write_text(
        'methods = ["fora", "linear", "adaptive"]\n[[pipelines]]\nname = "digits"\nsource = "digits"\n'
        '[[settings]]\nname = "hard"\n'
    )
    return str(file)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells that were drawn."""
    names: list[str] = []

    def draw(cell: Any, *_: Any) -> dict[str, Any]:
        names.append(cell.name)
        return {"kind": "padecast cell", "schema": 1, "cell": cell.configuration}

    monkeypatch.setattr(padecast.cli.lab, "run", draw)
    return names


# lab run -------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("full disks")
@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("at", [1, 2])
def test_the_lab_stops_at_once_when_a_cell_cannot_be_written(
    number: int, at: int, experiment: str, drawn: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, puts = Shelf.put, [0]

    def full(self: Shelf, cell: Any, document: dict[str, Any]) -> Path:
        puts[0] += 1
        if puts[0] == at:
            raise OSError(number, os.strerror(number))
        return usual(self, cell, document)

    monkeypatch.setattr(Shelf, "put", full)
    done = run("lab", "run", experiment, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1 and len(drawn) == at
    assert os.strerror(number) in done.stderr and "pipeline stopped" not in done.output
    assert f"{at - 1} of 3 cells were written" in done.stderr
    monkeypatch.setattr(Shelf, "put", usual)
    assert run("lab", "run", experiment, "--out", str(tmp_path / "out")).exit_code == 0 and len(drawn) == 4


@pytest.mark.fault("full disks")
@pytest.mark.parametrize("room", [0, 1, 100])
def test_the_lab_stops_on_a_disk_that_is_full_by_then(
    room: int, experiment: str, drawn: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(padecast.cli.lab, "check_writable", lambda _: None, raising=False)  # there was room at first
    with full_disk(room):
        done = run("lab", "run", experiment, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1 and len(drawn) == 1 and "pipeline stopped" not in done.output
    assert "could not be written: File too large" in done.stderr
    assert not any((tmp_path / "out").glob("*"))


@pytest.mark.fault("full disks")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_disk_that_is_full_inside_the_pipeline_stops_the_lab_too(
    number: int, wrapped: bool, experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def full(cell: Any, *_: Any) -> dict[str, Any]:
        drawn.append(cell.name)
        error = OSError(number, os.strerror(number))
        if wrapped:
            raise RuntimeError("cannot save") from error
        raise error

    monkeypatch.setattr(padecast.cli.lab, "run", full)
    done = run("lab", "run", experiment, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1 and len(drawn) == 1 and "disk is full" in done.stderr
    assert "pipeline stopped" not in done.output


def test_what_the_pipeline_cannot_find_is_a_failure_of_that_cell_alone(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> dict[str, Any]:
        raise FileNotFoundError(errno.ENOENT, "No such file", "lora.safetensors")

    monkeypatch.setattr(padecast.cli.lab, "run", missing)
    done = run("lab", "run", experiment, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1 and "3 of 3 cells failed" in done.stderr
    assert "pipeline stopped with FileNotFoundError" in done.stderr


# report, calibrate and pictures --------------------------------------------------------------------------------------


@pytest.mark.fault("full disks")
@pytest.mark.parametrize("room", [0, 100, 50_000])
def test_a_report_on_a_full_disk_leaves_the_old_one(room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("padecast.cli.report.page", lambda *_: "x" * 100_000)
    monkeypatch.setattr("padecast.cli.report.check_writable", lambda _: None, raising=False)
    for path in CELLS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "report.html").write_text("old")
    before = sorted(path.name for path in tmp_path.iterdir())
    with full_disk(room):
        done = run("report", str(tmp_path))
    assert done.exit_code == 1 and "report.html could not be written: File too large" in done.stderr
    assert (tmp_path / "report.html").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


QUICK = ("--steps", "4", "--budgets", "2", "--seeds", "0-2", "--batch", "2", "--effort", "quick")


@pytest.mark.fault("full disks")
@pytest.mark.parametrize("room", [4000, pytest.param(6000, marks=pytest.mark.slow)])
def test_a_calibration_on_a_full_disk_stops_and_keeps_what_it_found(room: int, saved: str, tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(padecast.cli.calibrate, "check_writable", lambda _: None, raising=False)
        with full_disk(room):
            done = run("calibrate", saved, *QUICK, "--out", str(out))
    (journal,) = tmp_path.iterdir()
    assert done.exit_code == 1 and "could not be written: File too large" in done.stderr
    assert f"kept in {journal}" in done.stderr and "goes on from there" in done.stderr
    assert "pipeline stopped" not in done.output
    lines = journal.read_text().splitlines()
    assert all(json.loads(line) for line in lines) and len(lines) > 1
    assert run("calibrate", saved, *QUICK, "--out", str(out)).exit_code == 0 and out.exists()


@pytest.mark.slow
def test_a_calibration_is_whole_if_only_its_picture_has_no_room(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any, path: Path) -> None:
        with full_disk(0):
            padecast.files.write(path, b"x")

    monkeypatch.setattr("padecast.lab.curve.curve", full)
    done = run("calibrate", saved, *QUICK, "--out", str(tmp_path / "c.json"))
    assert done.exit_code == 1 and f"is whole: {tmp_path / 'c.json'}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


# --out is tried first -------------------------------------------------------------------------------------------------


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded, by any command."""
    loaded: list[str] = []

    def load(name: str, **_: Any) -> Any:
        loaded.append(name)
        raise AssertionError("loaded before --out was tried")

    for module in ("calibrate", "compare", "demo", "generate", "lab", "measure"):
        monkeypatch.setattr(getattr(padecast.cli, module), "load", load)
    return loaded


COMMANDS: dict[str, Callable[[str, str], tuple[str, ...]]] = {
    "generate": lambda experiment, out: ("generate", "digits", "--out", out),
    "compare": lambda experiment, out: ("compare", "digits", "--out", out),
    "calibrate": lambda experiment, out: ("calibrate", "digits", "--out", f"{out}/c.json"),
    "measure": lambda experiment, out: ("measure", "digits", "--out", out),
    "lab run": lambda experiment, out: ("lab", "run", experiment, "--out", out),
    "demo": lambda experiment, out: ("demo", "--out", out),
    "report": lambda experiment, out: ("report", str(CELLS), "--out", f"{out}/page.html"),
}


@pytest.mark.fault("an --out that cannot be written to")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["below a file", "a long name", "read-only", "full"])
def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_loaded(
    command: str, place: str, experiment: str, loads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    places = {"below a file": "file/out", "a long name": "x" * 300}
    out = "/proc/nowhere" if place == "read-only" else str(tmp_path / places.get(place, "out"))
    monkeypatch.setattr("padecast.cli.report.page", lambda *_: pytest.fail("drawn before --out was tried"))
    before = sorted(path.name for path in tmp_path.iterdir())
    with full_disk(100 if place == "full" else 2**40):
        done = run(*COMMANDS[command](experiment, out))
    assert done.exit_code in (1, 2) and isinstance(done.exception, SystemExit), done.exception
    assert "could not be written" in done.stderr and loads == []
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_list_of_cells_tries_no_folder(experiment: str) -> None:
    assert run("lab", "run", experiment, "--list", "--out", "/proc/nowhere").exit_code == 0


# Images as they are done ----------------------------------------------------------------------------------------------


def stopping(at: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pipeline be called so many times, then stop it."""
    usual, calls = Sampling.__call__, [0]

    def counted(self: Sampling, pipe: Any, seeds: Sequence[int], /, **more: Any) -> Tensor:
        calls[0] += 1
        if calls[0] > at:
            raise error
        return usual(self, pipe, seeds, **more)

    monkeypatch.setattr(Sampling, "__call__", counted)


@pytest.mark.fault("images that were done")
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("kind", ["interrupt", "fault"])
def test_images_that_are_done_are_written(
    at: int, kind: str, saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(at, KeyboardInterrupt() if kind == "interrupt" else RuntimeError("out of memory"), monkeypatch)
    arguments = ("--seeds", "0-4", "--batch", "1", "--steps", "4", "--method", "fora:every=2")
    done = run("generate", saved, *arguments, "--out", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"seed-000{seed}-fora-every-2.png" for seed in range(at)
    ]
    assert done.exit_code == (130 if kind == "interrupt" else 1)
    if kind == "interrupt":
        assert f"{at} of 5 images were written" in done.stderr and "nothing was written" not in done.stderr


# Modes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("file modes")
def test_all_that_commands_write_has_the_mode_of_any_file(saved: str, tmp_path: Path) -> None:
    usual = os.umask(0o022)
    try:
        arguments = ("--seeds", "0", "--steps", "4", "--method", "fora:every=2", "--out", str(tmp_path / "images"))
        assert run("generate", saved, *arguments).exit_code == 0
        Shelf(tmp_path).put(*_cell())
    finally:
        os.umask(usual)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 3 and {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o644}


def _cell() -> tuple[Any, dict[str, Any]]:
    from types import SimpleNamespace

    return SimpleNamespace(file="cell.json"), {"kind": "padecast cell"}


# Weights -------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("weights and writing")
@pytest.mark.parametrize("command", ["generate", "compare", "calibrate"])
def test_a_pipeline_whose_weights_are_pickled_is_not_loaded(command: str, tmp_path: Path) -> None:
    digits().save_pretrained(tmp_path / "pickled", safe_serialization=False)
    assert list((tmp_path / "pickled").rglob("*.bin"))
    out = str(tmp_path / ("c.json" if command == "calibrate" else "out"))
    done = run(command, str(tmp_path / "pickled"), "--steps", "4", "--seeds", "0", "--out", out)
    assert done.exit_code == 1 and "could not be loaded" in done.stderr and "safetensors" in done.stderr
