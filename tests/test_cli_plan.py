"""``padecast plan`` and the picture of a trade-off, on plans of known PSNR."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.lab.tiny import digits
from torch import Tensor
from typer.testing import CliRunner, Result

from padecast import calibration, zoo
from padecast.calibration import Calibration
from padecast.calibration.candidate import Candidate, Measured
from padecast.calibration.choice import Choice
from padecast.cli import app
from padecast.lab.calls import Sampling
from padecast.lab.curve import curve


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with three plans of known PSNR."""

    def call(pipe: Any, seeds: Sequence[int]) -> Tensor:
        return Sampling()(pipe, seeds, num_inference_steps=4)

    def choice(plan: str, psnr: float) -> Choice:
        candidate = Candidate(plan, "lagrange")
        return Choice(Measured(candidate, {0: psnr - 1, 1: psnr, 2: psnr + 1}), psnr - 0.5, ())

    made = calibration.calibrate(digits(), call, [2], range(3), batch=3)
    plans = {1: choice("C...", 20.0), 2: choice("C.C.", 30.0), 3: choice("CC.C", 40.0)}
    return dataclasses.replace(made, choices=plans).save(tmp_path_factory.mktemp("known") / "known.json")


# plan ----------------------------------------------------------------------------------------------------------------


def test_without_a_wish_the_whole_curve_is_shown(known: Path) -> None:
    result = run("plan", str(known))
    assert result.exit_code == 0 and all(plan in result.stdout for plan in ("C...", "C.C.", "CC.C"))
    rows = json.loads(run("plan", str(known), "--json").stdout)["plans"]
    assert [(row["computed"], row["psnr"]["mean"], row["held_out"]) for row in rows] == [
        (1, 20.0, 19.5),
        (2, 30.0, 29.5),
        (3, 40.0, 39.5),
    ]


def test_a_narrow_screen_shows_plans_in_a_table_of_their_own(known: Path) -> None:
    result = CliRunner().invoke(app, ["plan", str(known)], env={"COLUMNS": "60"})
    assert result.exit_code == 0 and "CC.C" in result.stdout


@pytest.mark.parametrize(
    ("wish", "plan"),
    [(("--computed", "3"), "CC.C"), (("--speedup", "1.9"), "C.C."), (("--db", "35"), "CC.C"), (("--db", "30"), "C.C.")],
)
def test_a_wish_gives_one_plan_and_the_line_that_uses_it(known: Path, wish: tuple[str, str], plan: str) -> None:
    result = run("plan", str(known), *wish)
    computed = plan.count("C")
    assert result.exit_code == 0 and plan in result.stdout and f"computed    {computed} of 4 steps" in result.stdout
    assert f'padecast.Calibration.load("{known}"), computed={computed})' in result.stdout
    told = json.loads(run("plan", str(known), *wish, "--json").stdout)
    assert (told["plan"], told["forecaster"]) == (plan, "lagrange")
    assert ("verdict" in told) == (wish[0] == "--db")


def test_a_wish_for_decibels_is_judged(known: Path) -> None:
    assert "2 of 4 steps (2.00x) keep 25 dB" in run("plan", str(known), "--db", "25").stdout
    assert "not worth it" in run("plan", str(known), "--db", "99").stdout
    assert run("plan", str(known), "--db", "99", "--json").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--computed", "2", "--db", "30"), 2, "2 wishes given"),
        (("--db", "99"), 2, "decibels=99"),
        (("--speedup", "9"), 2, "speedup=9"),
    ],
)
def test_a_wish_that_cannot_be_had_ends_with_2(known: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run("plan", str(known), *arguments)
    assert result.exit_code == code and said in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [("nonesuch.json", 1, "cannot be read"), ("digits:hrad", 2, "'hard'"), ("digit:hard", 2, "'digits'")],
)
def test_a_file_that_is_not_there_is_named(file: str, code: int, said: str) -> None:
    result = run("plan", file)
    assert result.exit_code == code and said in result.stderr


def test_a_shipped_calibration_goes_by_name(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "calibration", lambda name, setting: Calibration.load(known))
    result = run("plan", "digits:hard", "--computed", "2")
    assert 'padecast.zoo.calibration("digits", "hard"), computed=2)' in result.stdout


# the picture ---------------------------------------------------------------------------------------------------------


def test_the_picture_has_room_for_every_plan(known: Path, tmp_path: Path) -> None:
    with Image.open(curve(Calibration.load(known), tmp_path / "curve.png")) as image:
        width, height = image.size
        assert width > height > 500
        assert len(image.convert("RGB").getcolors(maxcolors=2**20) or ()) > 50
