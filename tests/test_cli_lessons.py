"""``padecast lessons``, and the other commands by a method that learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.lab.tiny import digits
from typer.testing import CliRunner, Result

from padecast.cli import app
from padecast.cli.lessons import _say_age
from padecast.lab.lesson import choose_budgets, draw_lesson
from padecast.lessons import Gains, Identity, Lesson, Library
from padecast.lessons.analytic import make_look

DIT = Identity("DiT", weights="abcdef0123", pipeline="DiTPipeline", guidance=3.0, adapters=(("style", 0.8),))
HOSTILE = Identity("Evil\x1b[31m\u202e", pipeline="[bold]P")


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=answer, env={"COLUMNS": "120"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two lessons, one of two grids, and a file that is broken."""
    library = Library(tmp_path / "lessons")
    library.add(DIT, make_look(20))
    library.add(DIT, make_look(20, seed=3, samples=1))
    library.add(DIT, make_look(8))
    library.add(HOSTILE, make_look(6))
    (tmp_path / "lessons" / "0000.lesson.json").write_text("{")
    return tmp_path / "lessons"


def lessons(folder: Path, *arguments: str, **options: Any) -> Result:
    return run("lessons", *arguments, "--lessons", str(folder), **options)


def test_lessons_are_listed_and_what_is_broken_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = lessons(folder, "list")
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.stdout.splitlines() if " DiT " in line]
    for part in (DIT.key[:8], "DiTPipeline", "3", "20, 8", "1 to", "kB", "now"):
        assert part in row
    assert "0000.lesson.json cannot be used: it is not JSON" in result.stdout and str(folder) in result.stdout
    assert "\x1b" not in result.stdout and "\u202e" not in result.stdout and "[bold]P" in result.stdout
    monkeypatch.setattr("padecast.cli._shell.PLAIN_WIDTH", 300)
    assert f"{DIT.key}.lesson.json" in lessons(folder, "list").stdout


def test_the_list_for_scripts_has_all(folder: Path) -> None:
    rows = {row["key"]: row for row in json.loads(lessons(folder, "list", "--json").stdout)}
    assert set(rows) == {DIT.key, HOSTILE.key, "0000"}
    assert rows["0000"]["fact"].startswith("it is not JSON") and "model" not in rows["0000"]
    assert (rows[DIT.key]["runs"], rows[DIT.key]["samples"], rows[DIT.key]["fact"]) == (3, 5, "")
    assert [(look["steps"], look["samples"]) for look in rows[DIT.key]["looks"]] == [(20, 3), (8, 2)]
    assert rows[DIT.key]["bytes"] > 1000 and rows[DIT.key]["path"].startswith(str(folder))


def test_measured_gains_are_said(folder: Path) -> None:
    assert "gains measured" not in lessons(folder, "show", DIT.key).stdout
    noise = make_look(20).noise
    Library(folder).keep(DIT, Gains.between(noise, {1: 0.5, 19: 0.01}))
    assert "gains measured at 20 steps, noise levels 1 to" in lessons(folder, "show", DIT.key).stdout
    assert len(json.loads(lessons(folder, "show", DIT.key, "--json").stdout)["gains"]["values"]) == 20


def test_an_empty_place_is_said(tmp_path: Path) -> None:
    result = lessons(tmp_path / "none", "list")
    assert result.exit_code == 0 and "no lessons in" in result.stderr and result.stdout == ""
    assert json.loads(lessons(tmp_path / "none", "list", "--json").stdout) == []


def test_a_lesson_is_shown_with_what_is_expected_of_its_plans(folder: Path) -> None:
    result = lessons(folder, "show", DIT.key[:4])
    assert result.exit_code == 0, result.output
    for part in ("style at 0.8", "20 steps, noise levels", "2 runs, 3 samples", "8 steps, noise", "2.50x", " dB"):
        assert part in result.stdout
    shown = json.loads(lessons(folder, "show", DIT.key[:4], "--budgets", "6,8", "--json").stdout)
    assert [(row["computed"], row["plan"].count("C"), len(row["plan"])) for row in shown["plans"]] == [
        (6, 6, 20),
        (8, 8, 20),
    ]
    assert shown["plans"][0]["decibels"] < shown["plans"][1]["decibels"]
    other = json.loads(lessons(folder, "show", DIT.key[:4], "--steps", "8", "--json").stdout)
    assert other["steps"] == 8 and [row["computed"] for row in other["plans"]] == [*choose_budgets(8)]


def test_a_lesson_is_drawn(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "lesson.png"
    assert lessons(folder, "show", DIT.key, "--out", str(out)).exit_code == 0
    with Image.open(out) as image:
        assert image.height > image.width > 900
        assert len(image.convert("RGB").getcolors(maxcolors=2**20) or ()) > 200
    again = lessons(folder, "show", DIT.key, "--out", str(out))
    assert again.exit_code == 2 and "would be overwritten" in again.stderr
    assert lessons(folder, "show", DIT.key, "--out", str(out), "--overwrite").exit_code == 0


@pytest.mark.parametrize("steps", [1, 2, 3, 60])
def test_lessons_of_any_length_are_drawn(steps: int, tmp_path: Path) -> None:
    lesson = Lesson(HOSTILE, (make_look(steps),))
    assert draw_lesson(lesson, lesson.looks[0], tmp_path / "lesson.png").stat().st_size > 1000


def test_a_lesson_travels(folder: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "out" / "dit.json", tmp_path / "other"
    assert lessons(folder, "export", DIT.key[:5], str(file)).exit_code == 0
    assert lessons(folder, "export", DIT.key[:5], str(file)).exit_code == 2
    result = lessons(other, "import", str(file))
    assert result.exit_code == 0 and "has 3 runs with 5 samples now" in result.stderr
    assert [entry.key for entry in Library(other).list()] == [DIT.key]
    again = lessons(other, "import", str(file))
    assert again.exit_code == 0 and "nothing was added" in again.stderr and "has the 3 runs of the file" in again.stderr


def test_what_cannot_be_kept_is_no_success(folder: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "dit.json", tmp_path / "other"
    lessons(folder, "export", DIT.key, str(file))
    other.mkdir()
    (other / f"{DIT.key}.lesson.json").write_text("{")
    result = lessons(other, "import", str(file))
    assert result.exit_code == 1 and "was not kept" in result.stderr and "note: " in result.stderr


def test_a_lesson_is_removed_when_that_is_meant(folder: Path) -> None:
    assert lessons(folder, "remove", DIT.key[:4], answer="n\n").exit_code == 1
    nobody = lessons(folder, "remove", DIT.key[:4])
    assert nobody.exit_code == 2 and "--yes" in nobody.stderr
    assert len(Library(folder).list()) == 3
    assert lessons(folder, "remove", DIT.key[:4], answer="y\n").exit_code == 0
    assert lessons(folder, "remove", "0000", "--yes").exit_code == 0
    assert [entry.key for entry in Library(folder).list()] == [HOSTILE.key]


def test_the_folder_is_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lessons(folder, "path").stdout.strip() == str(folder)
    monkeypatch.setenv("PADECAST_LESSONS", str(folder))
    assert run("lessons", "path").stdout.strip() == str(folder)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "zz"), 2, "unknown lesson 'zz'"),
        (("show", "0000"), 1, "it is not JSON"),
        (("show", DIT.key, "--steps", "9"), 2, "it saw runs of 20, 8 steps"),
        (("show", DIT.key, "--budgets", "21"), 2, "1 to 20"),
        (("show", DIT.key, "--budgets", "some"), 2, "--budgets"),
        (("show", DIT.key, "--out", "picture.jpg"), 2, "ends in .png"),
        (("import", "nonesuch.json"), 1, "nonesuch.json"),
        (("export", "zz", "file.json"), 2, "unknown lesson"),
        (("remove", "zz", "--yes"), 2, "unknown lesson"),
    ],
)
def test_what_cannot_be_done_is_said_on_a_line(folder: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = lessons(folder, *arguments)
    assert result.exit_code == code and said in result.stderr and "Traceback" not in result.output


def test_a_file_is_no_folder(folder: Path) -> None:
    result = lessons(folder / "0000.lesson.json", "list")
    assert result.exit_code == 2 and "is a file" in result.stderr


def test_ages_are_said_in_one_unit() -> None:
    assert [_say_age(seconds) for seconds in (0, 61, 3700, 200_000)] == ["now", "1 min", "1 h", "2 d"]


# The other commands --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny pipeline."""
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    digits().save_pretrained(folder)
    return str(folder)


def test_generate_uses_the_lessons_of_the_user(saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path / "lessons"))
    draw = ("generate", saved, "--steps", "8", "--method", "learned:computed=3", "--batch", "1", "--json")
    first = json.loads(run(*draw, "--seed", "0-1", "--out", str(tmp_path / "a")).stdout)
    assert [run["computed"] for run in first["runs"]] == [8, 3]
    second = json.loads(run(*draw, "--seed", "2", "--out", str(tmp_path / "b")).stdout)
    assert [run["computed"] for run in second["runs"]] == [3]
    assert any("planned from 1 run(s)" in remark for remark in second["runs"][0]["remarks"])
    rows = json.loads(run("lessons", "list", "--json").stdout)
    assert [(row["pipeline"], row["runs"]) for row in rows] == [("DigitsPipeline", 1)]


def test_compare_teaches_first_and_says_so(saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path / "lessons"))
    compare = ("compare", saved, "--steps", "8", "--seed", "0-1", "--tune-seeds", "5-6")
    shown = run(*compare, "--methods", "learned,learned:runs=2,fora", "--nfe", "3")
    assert shown.exit_code == 0, shown.output
    assert "learned was taught by 1 image of other seeds" in shown.stdout
    assert "learned:runs=2 was taught by 2 images of other seeds" in shown.stdout
    rows = json.loads(run(*compare, "--methods", "learned:computed=3", "--json").stdout)["results"]
    assert [(row["written"], row["nfe"], row["teaching"]) for row in rows[2:]] == [("learned:computed=3", 3, 1)]
    assert not (tmp_path / "lessons").exists()
    few = run(*compare, "--methods", "learned:runs=3", "--nfe", "3")
    assert few.exit_code == 2 and "--tune-seeds" in few.stderr


def test_an_experiment_has_rows_from_one_image_and_from_several(saved: str, tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(f"""
methods = ["learned", "learned:runs=2"]
nfe = [3]
seeds = [0, 1]
development = [7, 8]
timed = false
portraits = {{seeds = [3], methods = ["learned"]}}

[[pipelines]]
name = "tiny"
source = "{saved}"
device = "cpu"

[[settings]]
name = "short"
steps = 8
""")
    out = tmp_path / "cells"
    result = run("lab", "run", str(file), "--out", str(out))
    assert result.exit_code == 0, result.output
    cells = [json.loads(path.read_text()) for path in out.glob("*.json")]
    found = {cell["cell"]["chosen"]: cell["result"] for cell in cells if "result" in cell}
    assert [(found[way]["nfe"], found[way]["teaching"]) for way in ("learned", "learned:runs=2")] == [(3, 1), (3, 2)]
    assert run("report", str(out)).exit_code == 0
    assert "taught by 2 of other seeds" in (out / "report.html").read_text()
