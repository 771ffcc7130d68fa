"""``padecast calibrate``: what it writes, prints, refuses, and how an interrupted one goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.calibration.tiny import sparing
from tests.lab.tiny import digits
from torch import Tensor
from typer.testing import CliRunner, Result

from padecast import MissingWeights, calibration
from padecast.calibration import Calibration
from padecast.cli import app
from padecast.cli.calibrate import by_samples, say_duration
from padecast.lab import pretrained
from padecast.lab.calls import Sampling
from padecast.lab.scores import Likeness

QUICK = ("--steps", "4", "--budgets", "2", "--seeds", "0-2", "--batch", "2", "--effort", "quick")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def few() -> Iterator[None]:
    """Calibrations try little, to save time."""
    with sparing():
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny pipeline."""
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    digits().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def made(saved: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A calibration by the command line, and what it said."""
    out = tmp_path_factory.mktemp("calibrated") / "tiny.json"
    with sparing():
        return out, run("calibrate", saved, *QUICK, "--out", str(out), "--name", "tiny")


@pytest.mark.parametrize("command", ["calibrate", "plan"])
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0 and f"{command} [OPTIONS]" in result.stdout
    assert command in run("--help").stdout


# calibrate -----------------------------------------------------------------------------------------------------------


def test_a_calibration_is_a_file_a_picture_and_a_table(made: tuple[Path, Result]) -> None:
    out, result = made
    assert result.exit_code == 0, result.output
    assert files(out.parent) == ["tiny.json", "tiny.png"]  # and no journal any more
    read = Calibration.load(out)
    assert (read.name, read.steps, read.budgets, read.seeds) == ("tiny", 4, (2,), (0, 1, 2))
    assert read.choices[2].best.candidate.plan in result.stdout and "held out" in result.stdout
    assert re.search(r"about \d+ images' worth of steps, some 10 seconds \(", result.stderr)
    assert f"padecast plan {out}" in result.stderr
    assert (read.effort, read.objective) == ("quick", "mean") and 0 < read.price <= 15


@pytest.mark.usefixtures("few")
def test_the_file_is_what_the_library_makes_of_the_same_call(made: tuple[Path, Result], saved: str) -> None:
    def call(pipe: Any, seeds: Sequence[int]) -> Tensor:
        return Sampling()(pipe, seeds, num_inference_steps=4)

    again = calibration.calibrate(digits(), call, [2], range(3), batch=2)
    assert again.curve()[0].psnr == pytest.approx(Calibration.load(made[0]).curve()[0].psnr, abs=0.01)


@pytest.mark.slow
def test_the_shipped_digits_are_calibrated_by_name_and_said_as_json(tmp_path: Path) -> None:
    result = run(
        "calibrate", "digits", *QUICK, "--guidance", "5", "--shift", "3", "--json", "--out", f"{tmp_path}/c.json"
    )
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["plans"]
    assert (row["computed"], row["speedup"], len(row["plan"])) == (2, 2.0, 4)
    assert row["psnr"]["worst"] <= row["psnr"]["p5"] <= row["psnr"]["mean"]
    assert Calibration.load(tmp_path / "c.json").guidance == 5.0


def test_a_dry_run_says_how_long_and_writes_nothing(saved: str, tmp_path: Path) -> None:
    result = run("calibrate", saved, *QUICK, "--dry-run", "--out", str(tmp_path / "c.json"))
    assert result.exit_code == 0 and "images' worth of steps, some " in result.stderr
    assert result.stdout == "" and files(tmp_path) == []


def test_the_announced_work_is_about_what_is_done(saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[float] = []
    whole = calibration.calibrate

    def counted(*given: Any, progress: Callable[[str, float], None], **more: Any) -> Calibration:
        return whole(*given, **more, progress=lambda _what, steps: done.append(steps))

    monkeypatch.setattr(calibration, "calibrate", counted)
    result = run("calibrate", saved, *QUICK, "--out", str(tmp_path / "c.json"))
    announced = float(result.stderr.split("about ")[1].split()[0])
    assert announced / 3 < sum(done) < announced + 0.5 <= 15.5


def test_nothing_is_overwritten_unless_asked(saved: str, tmp_path: Path) -> None:
    (tmp_path / "c.png").write_text("mine")
    arguments = ("calibrate", saved, *QUICK, "--dry-run", "--out", str(tmp_path / "c.json"))
    refused = run(*arguments)
    assert refused.exit_code == 2 and "c.png would be overwritten" in refused.stderr and "--overwrite" in refused.stderr
    assert run(*arguments, "--overwrite").exit_code == 0
    assert (tmp_path / "c.png").read_text() == "mine"  # a dry run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--budgets", "4"), "below the 4 steps"),
        (("--budgets", "0"), "1 or more"),
        (("--budgets", "few"), "cannot be read"),
        (("--out", "c.txt"), "ends in .json"),
        (("--prompt", "a fox"), "takes no prompt"),
        (("--span", "double"), "double"),
        (("--effort", "heroic"), "heroic"),
        (("--prompts-file", "nonesuch.txt"), "nonesuch.txt"),
    ],
)
def test_a_wrong_command_ends_before_anything_runs(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("calibrate", saved, *QUICK, *arguments)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.output
    assert files(tmp_path) == []


def test_prompts_come_from_a_file_and_the_command_line(saved: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red fox\n\n a blue whale \n", encoding="utf-8")
    result = run("calibrate", saved, *QUICK, "--prompt", "a cat", "--prompts-file", str(tmp_path / "prompts.txt"))
    assert result.exit_code == 2 and "('a cat', 'a red fox', 'a blue whale')" in result.stderr


def test_the_usual_budgets_are_shares_of_the_steps(saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(calibration, "price", lambda _effort, budgets, *_: asked.append(budgets) or 1.0)
    run("calibrate", saved, "--steps", "20", "--seeds", "0-2", "--dry-run", "--out", str(tmp_path / "c.json"))
    assert asked == [(6, 8, 10)]


@pytest.mark.usefixtures("few")
def test_an_interrupted_calibration_goes_on(saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("calibrate", saved, *QUICK, "--out", str(tmp_path / "c.json"))
    usual, calls = Sampling.__call__, [0]

    def counted(self: Sampling, pipe: Any, seeds: Sequence[int], /, **more: Any) -> Tensor:
        calls[0] += 1
        if calls[0] == 8:
            raise KeyboardInterrupt
        return usual(self, pipe, seeds, **more)

    monkeypatch.setattr(Sampling, "__call__", counted)
    stopped = run(*arguments)
    (journal,) = tmp_path.iterdir()
    assert stopped.exit_code == 130 and journal.name.endswith(".part.jsonl")
    assert f"kept in {journal}" in stopped.stderr and "same command goes on" in stopped.stderr
    assert journal.read_text().count("\n") > 4
    other = run("calibrate", saved, *QUICK, "--guidance", "7", "--dry-run", "--out", str(tmp_path / "c.json"))
    assert "goes on from" not in other.stderr  # another sampler never takes up this one's numbers
    calls[0] = 100  # never 8 again
    resumed = run(*arguments)
    assert resumed.exit_code == 0 and f"goes on from {journal}" in resumed.stderr
    assert files(tmp_path) == ["c.json", "c.png"]
    taken_up, calls[0] = calls[0], 100
    assert run(*arguments, "--overwrite").exit_code == 0
    assert taken_up < calls[0]  # from the beginning it takes more calls


@pytest.mark.usefixtures("few")
def test_an_interrupted_calibration_ends_where_an_uninterrupted_one_does(
    saved: str, tmp_path: Path, made: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, calls = Sampling.__call__, [0]

    def counted(self: Sampling, pipe: Any, seeds: Sequence[int], /, **more: Any) -> Tensor:
        calls[0] += 1
        if calls[0] == 7:
            raise KeyboardInterrupt
        return usual(self, pipe, seeds, **more)

    monkeypatch.setattr(Sampling, "__call__", counted)
    out = tmp_path / "c.json"
    assert [run("calibrate", saved, *QUICK, "--out", str(out)).exit_code for _ in range(2)] == [130, 0]
    one, other = Calibration.load(out), Calibration.load(made[0])
    assert one.curve() == other.curve() and one.guidance == other.guidance


def test_a_pipeline_that_fails_ends_with_1_and_its_message(saved: str, tmp_path: Path) -> None:
    result = run("calibrate", saved, *QUICK, "--class", "11", "--out", str(tmp_path / "c.json"))
    assert result.exit_code == 1 and "ValueError: class_labels contains 11" in result.stderr
    assert files(tmp_path) == []


def test_ticks_are_whole_samples_and_times_are_words() -> None:
    ticks: list[str] = []
    add = by_samples(ticks.append)
    for _ in range(10):
        add("trial", 0.1)
    add("uncached", 2.0)
    assert ticks == ["trial", "uncached", "uncached"]
    assert [say_duration(s) for s in (0.2, 61, 90, 7199, 7200)] == [
        "10 seconds",
        "70 seconds",
        "2 minutes",
        "120 minutes",
        "2.0 hours",
    ]


def test_every_effort_tries_more() -> None:
    quick, normal, thorough = map(calibration.price, ("quick", "normal", "thorough"))
    assert 10 * quick < 2 * normal < thorough


def test_the_tenth_percentile_is_what_is_chosen_by_on_demand(saved: str, tmp_path: Path) -> None:
    assert run("calibrate", saved, *QUICK, "--objective", "low", "--out", str(tmp_path / "c.json")).exit_code == 0
    assert Calibration.load(tmp_path / "c.json").objective == "low"


def test_lpips_whose_network_is_missing_is_said_before_anything_runs(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> Any:
        raise MissingWeights(f"the network of {name} could not be loaded.\nFetch it elsewhere and copy it there")

    monkeypatch.setattr(pretrained, "load", fail)
    result = run("calibrate", saved, *QUICK, "--objective", "lpips", "--out", str(tmp_path / "c.json"))
    assert result.exit_code == 1 and "copy it there" in result.stderr and files(tmp_path) == []


def test_lpips_is_chosen_by_where_it_is_there(saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(images: Tensor, reference: Tensor) -> Tensor:
        return (images - reference).abs().flatten(1).mean(1)

    monkeypatch.setattr(pretrained, "load", lambda _: Likeness(apart))
    result = run("calibrate", saved, *QUICK, "--objective", "lpips", "--out", str(tmp_path / "c.json"))
    assert result.exit_code == 0, result.output
    assert Calibration.load(tmp_path / "c.json").objective == "lpips"
