"""The command line with runs: what it writes, prints, refuses, and how a run that fails ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.lab.tiny import digits
from typer.testing import CliRunner, Result

import padecast
from padecast.cli import app, demo, generate
from padecast.lab.calls import Sampling
from padecast.lab.runner import Entry
from padecast.zoo.digits import DigitsPipeline
from padecast.zoo.scenes import grammar


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny pipeline."""
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    digits().save_pretrained(folder)
    return str(folder)


def strictly(text: str) -> Any:
    """Read JSON that has no NaN and no Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# generate ------------------------------------------------------------------------------------------------------------


def test_images_are_named_by_seed_and_method(saved: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("generate", saved, "--seed", "0-2", "--method", "fora:every=3", "--steps", "6", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert files(out) == ["report-fora-every-3.json", *(f"seed-000{k}-fora-every-3.png" for k in range(3))]
    assert "6 steps, 3 computed, 3 forecast: C..C.C" in result.stdout
    report = strictly((out / "report-fora-every-3.json").read_text())
    assert report["method"] == "fora:every=3" and report["settings"]["seeds"] == [0, 1, 2]
    assert [run["plan"] for run in report["runs"]] == ["C..C.C"]
    assert report["runs"][0]["files"] == files(out)[1:]
    assert report["provenance"]["versions"]["padecast"] == padecast.__version__


def test_the_digits_are_drawn_by_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--class", "7", "--steps", "4", "--guidance", "5", "--shift", "3", "--zoom", "4", "--out", str(out))
    result = run("generate", "digits", "--method", "tc-pade:every=2", "--seed", "5", *arguments)
    assert result.exit_code == 0, result.output
    with Image.open(out / "seed-0005-tc-pade-every-2.png") as image:
        assert image.size == (64, 64) and image.mode == "L"


def test_none_computes_every_step_and_is_the_pipeline_itself(saved: str, tmp_path: Path) -> None:
    result = run("generate", saved, "--seed", "3", "--method", "none", "--steps", "4", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0 and "4 computed, 0 forecast: CCCC" in result.stdout
    pipe = DigitsPipeline.from_pretrained(saved)
    pipe.set_progress_bar_config(disable=True)
    direct = pipe([3], 4, generator=[torch.Generator().manual_seed(3)]).images[0]
    with Image.open(tmp_path / "out" / "seed-0003-none.png") as image:
        assert image.tobytes() == direct.tobytes()


def test_json_is_all_there_is_on_standard_output(saved: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("generate", saved, "--seed", "0-2", "--batch", "2", "--steps", "4", "--json", "--out", str(out))
    report = strictly(result.stdout)
    assert report == strictly((out / "report-adaptive.json").read_text())
    assert [run["seeds"] for run in report["runs"]] == [[0, 1], [2]]
    assert "wrote 3 images" in result.stderr


def test_nothing_is_overwritten_unless_asked(saved: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["generate", saved, "--seed", "0", "--method", "fora", "--steps", "2", "--out", str(out)]
    out.mkdir()
    (out / "seed-0000-fora.png").write_text("mine")
    refused = run(*arguments)
    assert refused.exit_code == 2 and "would be overwritten" in refused.stderr and "--overwrite" in refused.stderr
    assert (out / "seed-0000-fora.png").read_text() == "mine" and len(files(out)) == 1
    assert run(*arguments, "--overwrite").exit_code == 0
    assert (out / "seed-0000-fora.png").read_bytes().startswith(b"\x89PNG")
    other = [*arguments[:5], "linear", *arguments[6:]]
    assert run(*other).exit_code == 0 and len(files(out)) == 4


def test_a_clip_becomes_a_moving_picture(tmp_path: Path) -> None:
    generate.save(torch.rand(3, 3, 8, 10), tmp_path / "clip.png", zoom=2)
    with Image.open(tmp_path / "clip.png") as image:
        assert (image.n_frames, image.size, image.mode) == (3, (20, 16), "RGB")


# Runs that fail ------------------------------------------------------------------------------------------------------


def test_a_pipeline_that_fails_ends_with_1_and_its_message(saved: str, tmp_path: Path) -> None:
    result = run("generate", saved, "--class", "11", "--steps", "2", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1 and "ValueError: class_labels contains 11" in result.stderr
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()


def test_what_the_pipeline_does_not_take_ends_with_2(saved: str, tmp_path: Path) -> None:
    result = run("generate", saved, "--prompt", "a fox", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2 and "DigitsPipeline takes no prompt" in result.stderr


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(None, 2, "has no model_index.json"), ("{", 1, "is damaged"), ('{"_class_name": "Nonesuch"}', 1, "loaded")],
)
def test_a_folder_that_is_no_pipeline_is_named(tmp_path: Path, content: str | None, code: int, said: str) -> None:
    if content is not None:
        (tmp_path / "model_index.json").write_text(content)
    result = run("generate", str(tmp_path), "--out", str(tmp_path / "out"))
    assert result.exit_code == code and said in result.stderr and "Traceback" not in result.output


def test_a_model_of_the_hub_is_asked_of_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    def offline(name: str, **options: Any) -> None:
        raise OSError(f"cannot reach the hub for {name}")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", offline)
    result = run("generate", "someone/something", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1 and "cannot reach the hub for someone/something" in result.stderr


def test_an_interrupt_leaves_nothing_half_written(saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def interrupted(image: torch.Tensor, path: Path, zoom: int = 1) -> None:
        path.write_text("half")
        written.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(generate, "save", interrupted)
    result = run("generate", saved, "--seed", "0", "--steps", "2", "--out", str(tmp_path / "out"))
    assert result.exit_code == 130 and "interrupted" in result.stderr
    assert written and list(tmp_path.iterdir()) == []


def test_a_warning_is_a_note(saved: str, tmp_path: Path) -> None:
    result = run("generate", saved, "--steps", "2", "--seed", "0", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0 and "note: the last run computed all of its 2 steps" in result.stderr


def test_a_missing_package_is_named_with_what_brings_it(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    result = run("generate", saved, "--steps", "2", "--seed", "0", "--method", "none", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1 and "pip install padecast-lab" in result.stderr


# compare -------------------------------------------------------------------------------------------------------------


def test_methods_are_compared_at_budgets_with_fewer_steps(saved: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--seeds", "0-1", "--steps", "6", "--nfe", "3,4", "--out", str(out))
    result = run("compare", saved, "--methods", "fora,linear:warmup=2", *arguments)
    assert result.exit_code == 0, result.output
    assert files(out) == ["images-3.png", "images-4.png", "results.json", "steps-3.png", "steps-4.png"]
    results = strictly((out / "results.json").read_text())["results"]
    group = ["fewer-steps", "fora", "linear:warmup=2"]
    assert [r["name"] for r in results] == ["uncached", *group, *group]
    assert [r["nfe"] for r in results] == [6, 3, 3, 3, 4, 4, 4]
    assert result.stdout.count("fewer-steps") == 2 and "PSNR" in result.stdout


def test_compare_prints_json_for_scripts(saved: str) -> None:
    result = run("compare", saved, "--methods", "fora:every=3", "--seeds", "0", "--steps", "6", "--json")
    results = strictly(result.stdout)["results"]
    assert [(r["name"], r["nfe"]) for r in results] == [("uncached", 6), ("fewer-steps", 3), ("fora:every=3", 3)]


def test_compare_overwrites_nothing_unasked(saved: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("mine")
    result = run("compare", saved, "--seeds", "0", "--out", str(tmp_path))
    assert result.exit_code == 2 and "results.json" in result.stderr and files(tmp_path) == ["results.json"]


# demo ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo on a tiny pipeline with few methods."""
    monkeypatch.setattr(demo, "load", lambda name, device: digits())
    monkeypatch.setattr(demo, "sampling", lambda: Sampling(guidance=5.0))
    monkeypatch.setattr(demo, "METHODS", ("adaptive", "fora"))
    monkeypatch.setattr(demo, "DEVELOPMENT", (10_000,))


def test_the_demo_asks_for_what_it_draws_with_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("demo", "--out", str(tmp_path / "demo"))
    assert result.exit_code == 1 and "drawing pictures needs the package 'matplotlib'" in result.stderr


@pytest.mark.usefixtures("small")
def test_the_demo_writes_a_table_pictures_and_numbers(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    arguments = ("demo", "--out", str(out), "--seeds", "2", "--steps", "6", "--nfe", "4")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert files(out) == ["images.png", "results.json", "steps.png"]
    assert result.stdout.count("fewer-steps") == 1 and str(out) in result.stdout
    read = strictly((out / "results.json").read_text())
    assert read["kind"] == "padecast demo"
    (compared,) = read["comparisons"]
    assert compared["settings"]["sampling"]["guidance"] == 5.0
    assert [found["name"] for found in compared["results"]] == ["uncached", "fewer-steps", "adaptive (default)", "fora"]
    assert compared["results"][2]["written"].startswith("adaptive")  # as it is written to run it again
    again = run(*arguments, "--json")  # its own folder is refreshed
    assert again.exit_code == 0 and strictly(again.stdout)["nfe"] == 4


def test_the_demo_leaves_a_foreign_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    result = run("demo", "--out", str(tmp_path))
    assert result.exit_code == 2 and "not empty" in result.stderr and files(tmp_path) == ["thesis.tex"]


def test_the_demo_draws_unseen_captions_in_the_matched_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "METHODS", ("fora",))
    out = tmp_path / "demo"
    result = run("demo", "--out", str(out), "--seeds", "1", "--steps", "4", "--nfe", "2")
    assert result.exit_code == 0, result.output
    settings = strictly((out / "results.json").read_text())["comparisons"][0]["settings"]
    assert (settings["pipeline"], settings["sampling"]["guidance"]) == ("FluxPipeline", 5.0)
    assert settings["name"] == "scenes:matched (guidance 5, shift 0.2)"


def test_the_demo_tunes_on_captions_that_a_dozen_seeds_do_not_draw() -> None:
    captions = demo.sampling().prompts
    assert len(set(captions)) == len(captions) and all(grammar.parse(caption).held_out for caption in captions)
    drawn, tuned = ({seed % len(captions) for seed in seeds} for seeds in (range(12), demo.DEVELOPMENT))
    assert not drawn & tuned


def test_every_method_of_the_demo_is_one_and_the_default_is_among_them() -> None:
    assert [Entry.of(name).name for name in demo.METHODS] == list(demo.METHODS)
    assert padecast.methods.DEFAULT in demo.METHODS
