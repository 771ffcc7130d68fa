"""The kit of ``padecast measure``: how pipelines are called, what fits into a time, the ladder, and what is hidden."""

from __future__ import annotations

import dataclasses
import inspect
import json
import platform
from itertools import pairwise
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from benchmarks.worlds.ladder import summarize
from benchmarks.worlds.runs import PLANS
from tests.lab.tiny import digits

from padecast import UnknownName, zoo
from padecast.lab import Sampling, Task
from padecast.lab.experiment import Setting, Source
from padecast.lab.kit import families, ladder, page, pieces, sharing
from padecast.lab.kit.families import FAMILIES
from padecast.lab.kit.pieces import Order, Pace
from padecast.lab.results import Result
from padecast.lessons import Lesson, Library

SECRET = "the heir of a small kingdom"
FILES = Path(__file__).parent / "files"
CHECKPOINTS = Path(__file__).parents[2] / "docs" / "checkpoints.md"
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


# How pipelines are called --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_called_as_its_pipeline_of_diffusers_is(name: str) -> None:
    family = FAMILIES[name]
    call = inspect.signature(getattr(diffusers, family.pipelines[0]).__call__).parameters
    assert {*family.arguments} <= {*call} and call["num_inference_steps"].default == family.steps
    assert family.guidance in (None, call["guidance_scale"].default)
    assert ("num_frames" in call) == ("num_frames" in family.arguments)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_page_says_how_a_family_is_called(name: str) -> None:
    rows = [line.split("|")[1:-1] for line in CHECKPOINTS.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    (cells,) = [[cell.strip() for cell in row] for row in rows]
    family, arguments = FAMILIES[name], FAMILIES[name].arguments
    guidance = f"{family.guidance:g}" if family.guidance else f"`true_cfg_scale` {arguments['true_cfg_scale']:g}"
    size, frames = f"{arguments['height']}x{arguments['width']}", str(arguments.get("num_frames", ""))
    assert cells[1:] == [str(family.steps), guidance, size, frames]


def test_a_pipeline_is_known_by_its_class_and_a_demo_by_its_name() -> None:
    scenes = zoo.load("scenes:as-flux")
    assert families.family_of(scenes, "somewhere/else") is FAMILIES["flux"]
    family = families.family_of(scenes, "scenes:as-flux", "wan")
    assert family.steps == FAMILIES["wan"].steps and "star" in " ".join(family.prompts)
    with pytest.raises(UnknownName, match="nearest is 'qwen'"):
        families.family_of(scenes, "scenes", "qwenn")


def test_only_arguments_that_the_pipeline_takes_are_set() -> None:
    setting = families.setting_of(digits(), FAMILIES["flux"])
    assert (setting.steps, setting.prompts, setting.arguments) == (28, (), {})


@pytest.mark.parametrize("source", ["someone/finetune", "/home/ann/flux", "FLUX.1-dev"])
def test_a_name_that_is_not_published_is_not_told(source: str) -> None:
    assert families.name_of(digits(), source) == "DigitsPipeline"


# What fits into a time -----------------------------------------------------------------------------------------------


def order(steps: int = 28, seeds: int = 8, folder: Path = Path()) -> Order:
    return Order(Source("m", "m"), Setting("s", steps), tuple(range(seeds)), folder)


def test_seeds_go_first_then_rivals_then_all_but_two_seeds() -> None:
    cost = {time: pieces.fit(order(), Pace(1.0, 0.5), 60.0 * time) for time in (40, 16, 13, 10, 6)}
    sizes = [(fit.seeds, len(fit.absent)) for fit in cost.values()]
    assert sizes[0] == (8, 0) and sizes == sorted(sizes, key=lambda size: (-size[0], size[1]))
    assert {seeds for seeds, _ in sizes} >= {8, 4} and sizes[-1][1] > 0
    for time, fit in cost.items():
        assert Pace(1.0, 0.5).seconds(fit.calls, fit.steps) <= 60 * time
        assert not [piece.name for piece in fit.absent if piece.needed]


def test_what_is_there_costs_nothing_and_keeps_its_seeds() -> None:
    every = pieces.list_pieces(order())
    fit = pieces.fit(order(), Pace(1.0, 0.5), 120.0, fixed=3, done=every[:-1])
    assert fit.seeds == 3 and not fit.absent
    assert pieces.fit(order(), Pace(1.0, 0.5), 0.0, fixed=3, done=every).steps == 0


def test_seeds_of_tuning_and_calibration_are_none_of_those_measured() -> None:
    for seeds in ((0, 1), (9_999, 10_000), (30_000, 30_001)):
        kit = dataclasses.replace(order(), seeds=seeds, batch=2)
        assert len({*seeds, *kit.tuning, *kit.calibrating}) == 8


@pytest.mark.parametrize("steps", [8, 10, 20, 28, 50])
def test_every_row_is_there_once(steps: int) -> None:
    rows = [(piece.name, piece.wanted) for piece in pieces.list_pieces(order(steps))]
    assert len(rows) == len({*rows}) and all(0 < wanted < steps for _, wanted in rows)


# The ladder ----------------------------------------------------------------------------------------------------------


def test_the_dense_plan_is_that_of_the_demo_worlds() -> None:
    assert ladder.dense(10, 20) == "".join("C" if step in PLANS[10] else "." for step in range(20))


@pytest.mark.parametrize("steps", range(8, 61))
def test_a_dense_plan_has_as_many_steps_and_gaps_that_do_not_shrink(steps: int) -> None:
    plan = ladder.dense(steps // 2, steps)
    places = [step for step, letter in enumerate(plan) if letter == "C"]
    assert len(places) == steps // 2 and places[0] == 0 and places[-1] == steps - 1
    assert places[1] - places[0] == 1 and places[-1] - places[-2] == max(b - a for a, b in pairwise(places))


def test_lines_are_judged_as_on_the_page_of_the_demo_worlds() -> None:
    for row in json.loads((RESULTS / "ladder.json").read_text())["rows"]:
        summary = summarize(row)
        assert summary["met"] == ladder.judge(*(summary[key] for key in ("half", "above", "line", "taylor")))


def result(name: str, wanted: float | None, *psnr: float) -> Result:
    plain = json.loads((FILES / "measured.json").read_text())["result"]
    spread = {"mean": sum(psnr) / len(psnr), "p5": min(psnr), "worst": min(psnr), "each": psnr}
    return Result.from_dict({**plain, "name": name, "wanted": wanted, "psnr": spread})


def test_a_row_is_what_its_rungs_say() -> None:
    rungs = [
        result("fewer-steps", 8, 10.0),
        result("fewer-steps", 10, 16.0, 18.0),
        result("repetition", 10, 20.0, 28.0),
    ]
    row = ladder.summarize([*rungs, result("line", 10, 25.0, 26.0)], [0.5, 0.25])
    assert (row["half"], row["above"], row["line"], row["taylor"]) == (17.0, 7.0, 1.5, None)
    assert row["met"] == [True, True, True, None] and row["spread"] == pytest.approx(5.66)
    assert "all 3 lines" in ladder.describe(row)
    assert ladder.summarize([])["met"] == [None] * 4


def test_changes_are_of_what_the_sampler_is_given() -> None:
    changes = ladder.Changes()
    for value in (2.0, 3.0, 1.5):
        assert changes.step(lambda output, **_: output, (torch.full((2, 1, 2), value),), {}).mean() == value
    assert changes.values == pytest.approx([0.5, 0.5])


def test_a_look_teaches_and_leaves_the_pipeline_as_it_was(tmp_path: Path) -> None:
    pipe = digits()
    task = Task(pipe, Sampling(), 8, (0, 1), 2)
    before, method = pipe.scheduler.step, vars(pipe.scheduler).get("step")
    assert len(ladder.look(task, 5, tmp_path)) == 7
    assert pipe.scheduler.step == before and vars(pipe.scheduler).get("step") is method
    lesson = ladder.lesson_in(tmp_path)
    assert lesson is not None and lesson.runs == 1
    assert ladder.lesson_in(tmp_path / "nothing") is None


# What is hidden ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cell() -> dict[str, Any]:
    """A finished cell, with secrets wherever a text can stand."""
    document: dict[str, Any] = json.loads((FILES / "measured.json").read_text())
    document["cell"]["source"]["source"] = f"/home/ann/{SECRET}"
    document["cell"]["setting"]["prompts"] = [SECRET]
    document["settings"]["name"] = SECRET
    document["settings"]["sampling"] |= {"prompts": [SECRET], "arguments": {"negative_prompt": SECRET, "height": 64}}
    document["result"]["written"] = f"/home/ann/{SECRET}.json, computed=8"
    document["provenance"] |= {"command": f"padecast measure --prompt '{SECRET}'", "host": SECRET}
    document["settings"]["host"] = SECRET
    return document


def hide(document: dict[str, Any]) -> dict[str, Any]:
    return sharing.show_cell(document, sharing.Veil([SECRET]), "a model", sharing.list_public())


def test_a_cell_is_shown_without_what_is_the_users(cell: dict[str, Any]) -> None:
    shown = hide(cell)
    refused = hide({**cell, "refusal": {"name": "fora", "wanted": 4, "why": f"no {SECRET} in /home/ann/x"}})
    text = json.dumps([shown, refused])
    assert SECRET not in text and "/home" not in text and "ann" not in text.split()
    assert shown["settings"]["sampling"] == {"prompts": "1 of the user", "negative_prompt": "not shown", "height": 64}
    assert shown["settings"]["name"] == "a model" and shown["result"]["psnr"] == cell["result"]["psnr"]


def test_prompts_that_ship_are_shown(cell: dict[str, Any]) -> None:
    cell["settings"]["sampling"]["prompts"] = list(families.PICTURES[:2])
    assert hide(cell)["settings"]["sampling"]["prompts"] == list(families.PICTURES[:2])
    cell["settings"]["sampling"]["prompts"] = [families.PICTURES[0], SECRET]
    assert hide(cell)["settings"]["sampling"]["prompts"] == "2 of the user"


def test_neither_the_page_nor_the_file_says_more_than_its_cells(cell: dict[str, Any]) -> None:
    model = sharing.describe_model(digits(), "a model")
    price = {"images": 3.0, "minutes": 1.0, "seconds": 0.5, "first": 1.0, "last": 2.0, "offload": "none"}
    shared = sharing.compose([hide(cell)], model=model, price=price, change=[0.5, 0.2])
    text = page.render(shared, [hide(cell)])
    assert "the machine was busy" in text
    for shown in (json.dumps(shared), text):
        assert SECRET not in shown and "/home" not in shown and "--prompt" not in shown


def test_names_of_adapters_are_not_shared(tmp_path: Path) -> None:
    ladder.look(Task(digits(), Sampling(), 8, (0, 1), 2), 5, tmp_path)
    (entry,) = Library(tmp_path).list()
    assert isinstance(entry.lesson, Lesson)
    identity = dataclasses.replace(entry.lesson.identity, adapters=((SECRET, 0.5),))
    shared = sharing.show_lesson(dataclasses.replace(entry.lesson, identity=identity))
    assert shared is not None and shared["identity"]["adapters"] == [["adapter 1", 0.5]]
    assert SECRET not in json.dumps(shared) and sharing.show_lesson(None) is None


@pytest.mark.parametrize(
    "text",
    [
        r"C:\Users\Ann Lee\models\x.safetensors is damaged",
        "no file ~/models/x.json",
        f"cannot reach {platform.node()}",
        f"prompt {SECRET.upper()!r} is too long",
        "someone/private-model is gated",
    ],
)
def test_texts_are_shown_without_paths_names_and_secrets(text: str) -> None:
    shown = sharing.Veil([SECRET]).hide(text)
    assert "(hidden)" in shown
    assert not any(word in shown.lower() for word in ("models", "lee", platform.node().lower(), "heir", "private"))
