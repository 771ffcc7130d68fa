"""``padecast lab run`` and ``padecast report``: resumed after an interrupt, one page that needs nothing else."""

from __future__ import annotations

import base64
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.lab.tiny import digits
from typer.testing import CliRunner, Result

from padecast.cli import app
from padecast.cli import lab as command
from padecast.lab.html import page
from padecast.lab.shelf import Shelf

HOSTILE = '</script><img src=x onerror=alert(1)>"&{{ 7 * 7 }}'
VOID = {"meta", "img", "input", "br", "link", "hr"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    digits().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def experiment(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("experiments") / "experiment.toml"
    file.write_text(f"""
name = "tiny"
methods = ["fora"]
peers = ["diffusers.taylorseer", "diffusers.seacache"]
nfe = [4]
seeds = [0, 1, 2]
development = [7, 8]
batch = 2
shown = 2
sweeps = [
  {{methods = ["tc-pade"], option = "every", values = [2, 3]}},
  {{methods = ["fora"], option = "span", values = ["full", "output"]}},
]
portraits = {{seeds = [0, 1], methods = ["fora"]}}

[[pipelines]]
name = "tiny <b>bold</b>"
source = "{pipeline}"
device = "cpu"

[[settings]]
name = "{{{{ 7 * 7 }}}}"
steps = 8
""")
    return file


@pytest.fixture(scope="module")
def done(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lab")
    result = run("lab", "run", str(experiment), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "tiny: 10 cells, none of them finished before" in result.stderr and "wrote 10 cells" in result.stderr
    return out


@pytest.fixture(scope="module")
def written(done: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page, with a prompt that would do harm."""
    documents = list(Shelf(done).documents())
    for document in documents:
        document["settings"]["sampling"]["prompts"] = [HOSTILE]
        if "result" in document and document["result"]["name"] == "fora":
            document["result"]["name"] = document["result"]["written"] = HOSTILE
    return page(documents, HOSTILE)


class Reader(HTMLParser):
    """Follows a page's elements, and keeps what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.seen: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.references += [str(value) for name, value in attrs if name in ("src", "href", "action", "data", "poster")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


# Runs ----------------------------------------------------------------------------------------------------------------


def test_every_cell_is_a_file_of_its_own_with_what_it_is_and_where_it_comes_from(done: Path) -> None:
    documents = [json.loads(path.read_text()) for path in done.iterdir()]
    assert len(documents) == 10
    for document in documents:
        assert document["kind"] == "padecast cell" and document["provenance"]["command"]
        assert document["cell"]["setting"]["steps"] == 8
    refused = [document for document in documents if "refusal" in document]
    assert [document["cell"]["chosen"] for document in refused] == ["diffusers.seacache"]
    measured = next(d for d in documents if d["cell"]["chosen"] == "diffusers.taylorseer")
    assert measured["result"]["nfe"] == 4 and 0 < measured["result"]["flops_share"] < 1
    assert measured["result"]["scores"].keys() == {"digit read", "FID-digits"}
    assert len(measured["images"]["result"]) == 2


def test_a_second_run_does_nothing_and_says_so(experiment: Path, done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.iterdir()}
    result = run("lab", "run", str(experiment), "--out", str(done))
    assert result.exit_code == 0 and f"10 of them finished before in {done} and skipped" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in done.iterdir()} == before


def test_after_an_interrupt_the_rest_is_done(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []

    def three(cell: Any, *_: Any) -> dict[str, Any]:
        if len(did) == 3:
            raise KeyboardInterrupt
        return done_with(cell, did)

    monkeypatch.setattr(command, "run", three)
    result = run("lab", "run", str(experiment), "--out", str(tmp_path))
    assert result.exit_code == 130 and "3 of 10 cells were written" in result.stderr
    assert len(list(tmp_path.iterdir())) == 3
    left = run("lab", "run", str(experiment), "--out", str(tmp_path), "--list").stdout.splitlines()
    monkeypatch.setattr(command, "run", lambda cell, *_: done_with(cell, did))
    assert run("lab", "run", str(experiment), "--out", str(tmp_path)).exit_code == 0
    assert did[3:] == left and len(set(did)) == 10


def done_with(cell: Any, did: list[str]) -> dict[str, Any]:
    did.append(cell.name)
    return {"kind": "padecast cell", "schema": 1, "cell": cell.configuration}


def test_a_cell_that_fails_is_said_and_the_others_are_done(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(cell: Any, *_: Any) -> dict[str, Any]:
        if cell.chosen == "fora":
            raise RuntimeError("out of memory")
        return done_with(cell, [])

    monkeypatch.setattr(command, "run", fails)
    result = run("lab", "run", str(experiment), "--out", str(tmp_path))
    assert result.exit_code == 1 and "RuntimeError: out of memory" in result.stderr
    assert "2 of 10 cells failed" in result.stderr and len(list(tmp_path.iterdir())) == 8


def test_a_wrong_experiment_ends_with_2_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text("stepps = 3")
    result = run("lab", "run", str(file), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2 and "unknown key of experiment.toml 'stepps'" in result.stderr
    assert run("lab", "run", str(tmp_path / "nonesuch.toml")).exit_code == 1


# The page ------------------------------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_needs_nothing_else(written: str) -> None:
    reader = read(written)
    assert reader.open == [] and {"table", "figure", "select"} <= set(reader.seen)
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in reader.references)
    assert not any(word in written for word in ("http://", "https://", "url(", "@import", "fetch(", "XMLHttp"))


def test_what_users_wrote_is_text(written: str) -> None:
    assert "<img src=x" not in written and "alert(1)>" not in written.replace("alert(1)&gt;", "")
    text = "".join(read(written).text)
    assert HOSTILE in text and "tiny <b>bold</b>" in text and "{{ 7 * 7 }}" in text


def test_the_slider_has_every_image_once(written: str) -> None:
    assert 'class="slider"' in written and 'type="range"' in written
    data = written.partition('id="images">')[2].partition("</script>")[0]
    (slider,) = json.loads(data).values()
    assert len(slider["methods"]) == 3 and slider["seeds"] == [0, 1]
    for image in [*slider["uncached"], *(image for method in slider["methods"] for image in method["images"])]:
        assert base64.b64decode(image).startswith(b"\x89PNG")


def test_the_page_shows_all_that_was_measured(written: str) -> None:
    captions = [text for text in read(written).text if text.strip()]
    for wanted in (
        "Fidelity over computed steps",
        "4 computed steps: plans, and errors after every step",
        "4 computed steps: images, and their differences from the uncached ones",
        "Sweep: every",
        "Sweep: span",
        "Trajectories",
        "Similarity of features over steps",
    ):
        assert wanted in captions
    assert any("SeaCache reads the latents" in text for text in captions)


@pytest.mark.parametrize(("count", "folded"), [(2, False), (60, True)])
def test_a_long_list_of_prompts_is_folded_and_whole(done: Path, count: int, folded: bool) -> None:
    documents = [one for one in Shelf(done).documents() if one["cell"]["chosen"] == "diffusers.taylorseer"]
    asked = [f"a red fox number {index}" for index in range(count)]
    for document in documents:
        document["settings"]["sampling"]["prompts"] = asked
    text = page(documents)
    assert ("<details>" in text) == folded and ", ".join(asked) in text


def test_report_writes_one_file(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "page.html"
    result = run("report", str(done), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.parent.iterdir()] == ["page.html"] and "wrote 10 cells" in result.stdout
    assert "<title>tiny</title>" in out.read_text(encoding="utf-8")
    refused = run("report", str(done), "--out", str(out))
    assert refused.exit_code == 2 and "would be overwritten" in refused.stderr


def test_a_folder_without_cells_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"kind": "something else"}')
    result = run("report", str(tmp_path))
    assert result.exit_code == 2 and "no finished cell is in" in result.stderr
    (tmp_path / "cell.json").write_text('{"kind": "padecast ce')
    assert "is damaged" in run("report", str(tmp_path)).stderr
    assert "there is no folder" in run("report", str(tmp_path / "nonesuch")).stderr


def test_a_metric_whose_package_is_missing_is_said_once_before_anything_runs(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ImageReward", None)
    file = tmp_path / "experiment.toml"
    file.write_text('metrics = ["image-reward"]\n' + experiment.read_text())
    result = run("lab", "run", str(file), "--out", str(tmp_path / "out"))
    assert result.exit_code != 0 and "pip install image-reward" in result.stderr
    assert not (tmp_path / "out").exists()


def test_cells_are_chosen_by_words_of_their_names(experiment: Path, tmp_path: Path) -> None:
    def left(*words: str) -> list[str]:
        chosen = [part for word in words for part in ("--only", word)]
        result = run("lab", "run", str(experiment), "--out", str(tmp_path), "--list", *chosen)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    every = left()
    assert left("fora") == [name for name in every if "fora" in name] and 0 < len(left("fora")) < len(every)
    assert left("seacache", "every=3") == [name for name in every if "seacache" in name or "every=3" in name]
    wrong = run("lab", "run", str(experiment), "--out", str(tmp_path), "--only", "forra")
    assert wrong.exit_code == 2 and "'forra' is in the name of no cell" in wrong.output and not list(tmp_path.iterdir())


# Plans of a calibration ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calibrated(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration of the experiment's setting, of two numbers of computed steps."""
    file = tmp_path_factory.mktemp("calibrated") / "plans.json"
    options = ("--steps", "8", "--budgets", "3,4", "--seeds", "20-22", "--batch", "2", "--device", "cpu")
    result = run("calibrate", str(pipeline), *options, "--out", str(file))
    assert result.exit_code == 0, result.output
    return file


@pytest.mark.parametrize(
    ("wish", "counts"),
    [((), [4]), (("--computed", "3"), [3]), (("--speedup", "2.5"), [3]), (("--db", "1"), [3])],
    ids=["none", "computed", "speedup", "decibels"],
)
def test_plans_take_the_place_of_the_methods(
    experiment: Path, calibrated: Path, tmp_path: Path, wish: tuple[str, ...], counts: list[int]
) -> None:
    listing = ("lab", "run", str(experiment), "--calibration", str(calibrated), *wish, "--list")
    result = run(*listing, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    names = [row.partition(": ")[2] for row in result.stdout.splitlines()]
    assert names == [f"{way} at {n}" for n in counts for way in ("fewer-steps", f"calibrated:{calibrated}")]


def test_a_plan_is_measured_in_an_experiment(experiment: Path, calibrated: Path, tmp_path: Path) -> None:
    result = run("lab", "run", str(experiment), "--calibration", str(calibrated), "--out", str(tmp_path))
    assert result.exit_code == 0 and "wrote 2 cells" in result.stderr, result.output
    (cell,) = [json.loads(path.read_text()) for path in tmp_path.glob("*calibrated*.json")]
    assert cell["result"]["nfe"] == 4 and cell["result"]["written"] == f"{calibrated}, computed=4"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--computed", "3"), "none was named"),
        (("--calibration", "digits:hard", "--computed", "8"), "is for 20 steps"),
        (("--calibration", "FILE", "--computed", "7"), "no plan"),
        (("--calibration", "FILE", "--computed", "3", "--speedup", "2"), "2 wishes"),
        (("--calibration", "nonesuch.json"), "nonesuch.json"),
    ],
)
def test_plans_that_cannot_be_measured_are_refused(
    experiment: Path, calibrated: Path, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    words = [str(calibrated) if word == "FILE" else word for word in options]
    result = run("lab", "run", str(experiment), *words, "--out", str(tmp_path / "out"))
    assert result.exit_code in (1, 2) and named in result.stderr and "Traceback" not in result.output
