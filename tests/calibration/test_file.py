"""The file: whole, readable, checked when it is read, and read by every later release."""

from __future__ import annotations

import copy
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.calibration.tiny import STEPS, call_digits
from tests.lab.tiny import digits
from tests.tiny import counted

from padecast import Calibration, CalibrationMismatch, accelerate
from padecast.calibration import file, schema
from padecast.calibration.candidate import Candidate, Measured
from padecast.calibration.choice import Choice
from padecast.calibration.entry import read, write

FILES = sorted((Path(__file__).parent / "files").glob("schema-*.json"))
Damage = Callable[[dict[str, Any]], Any]


@pytest.fixture
def saved(made: Calibration, tmp_path: Path) -> Path:
    return made.save(tmp_path / "tiny.json")


def damaged(path: Path, damage: Damage) -> Path:
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    return path


def test_what_is_saved_is_loaded(made: Calibration, saved: Path) -> None:
    again = Calibration.load(saved)
    kept, first = again.to_dict(), made.to_dict()
    for budget in first["plans"]:  # means of rounded values have a test of their own
        means = [document["plans"][budget]["psnr"].pop("mean") for document in (kept, first)]
        assert means[0] == pytest.approx(means[1], abs=2e-3)
    assert kept == first and kept["plans"]
    assert again.budgets == made.budgets and again.schedule == made.schedule
    twice = Calibration.load(again.save(saved.with_name("again.json")))
    assert twice.to_dict() == again.to_dict()


@pytest.mark.parametrize("budget", [2, 4])
def test_a_loaded_calibration_draws_the_same_images(made: Calibration, saved: Path, budget: int) -> None:
    pipe, again = digits(), Calibration.load(saved)
    pipe.set_progress_bar_config(disable=True)
    images = []
    for calibration in (made, again):
        with accelerate(pipe, calibration, computed=budget):
            images.append(call_digits(pipe, 11))
    assert torch.equal(*images) and not torch.equal(images[0], call_digits(pipe, 11))
    assert again.method(computed=budget) == made.method(computed=budget)


@given(
    st.dictionaries(st.integers(0, 99), st.floats(0, 100), min_size=1, max_size=6),
    st.floats(0, 100),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 9)), max_size=3),
)
def test_what_was_won_is_written_the_same_again(psnr: dict[int, float], held: float, ranked: Any) -> None:
    ranking = tuple(Measured(Candidate("C..C", "lagrange"), dict.fromkeys(range(n), v)) for v, n in ranked)
    offsets = ((1, ((0.1, 0.2), (0.3, 0.4))), (2, ((0.1, 0.2), (0.3, 0.4))))
    choice = Choice(Measured(Candidate("C..C", "pade", offsets), psnr), held, ranking)
    again = read(json.loads(json.dumps(write(choice))))
    assert again.best.candidate == choice.best.candidate and list(again.best.psnr) == list(psnr)
    assert again.best.mean == pytest.approx(choice.best.mean, abs=1e-3)
    assert read(write(again)) == again


def test_what_was_measured_is_written_the_same_again() -> None:
    psnr = {0: 30.0004, 1: 30.0004, 2: 30.0008}  # mean 30.00053, of the rounded ones 30.00033
    choice = Choice(Measured(Candidate("C..C", "pade"), psnr), 30.0, ())
    assert write(read(write(choice))) == write(choice)


@pytest.mark.parametrize(
    ("steps", "keys"),
    [([1, 2], ["1-2"]), ([1], ["1-1"]), ([1, 2, 5, 6], ["1-2", "5-6"])],
)
def test_offsets_of_a_stretch_are_written_once(steps: list[int], keys: list[str]) -> None:
    offsets = tuple((i, ((0.1,), (0.2,) if i < 5 else (0.3,))) for i in steps)
    choice = Choice(Measured(Candidate("C..CC..C", "pade", offsets), {0: 30.0}), 30.0, ())
    assert list(write(choice)["offsets"]) == keys
    assert read(write(choice)).best.candidate.offsets == offsets


def test_stretches_with_the_same_offsets_are_two_stretches() -> None:
    offsets = tuple((i, ((0.1,),)) for i in (1, 3))
    choice = Choice(Measured(Candidate("C.C.", "pade", offsets), {0: 30.0}), 30.0, ())
    assert read(write(choice)).best.candidate.offsets == offsets


def removed(*path: str) -> Damage:
    def damage(document: dict[str, Any]) -> None:
        for name in path[:-1]:
            document = document[name]
        del document[path[-1]]

    return damage


def changed(*path: Any, to: Any) -> Damage:
    def damage(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = to(document[path[-1]]) if callable(to) else to

    return damage


GONE = [
    *((name,) for name in schema.FIELDS if name not in ("kind", "schema")),
    *((part, name) for part, fields in schema.PARTS.items() for name in fields),
    *(("plans", "4", name) for name in schema.PLAN),
]


@pytest.mark.parametrize("path", GONE, ids=".".join)
@pytest.mark.parametrize("value", ["removed", "another type"])
def test_a_field_that_is_missing_or_of_another_type_is_named(saved: Path, path: tuple[str, ...], value: str) -> None:
    other = "yes" if path[-1] == "retrace" else True
    spoil = removed(*path) if value == "removed" else changed(*path, to=lambda _: other)
    with pytest.raises(CalibrationMismatch, match=re.escape(".".join(path)) + r" is (missing|bool|str)") as raised:
        Calibration.load(damaged(saved, spoil))
    assert str(saved) in str(raised.value) and "Calibrate anew" in str(raised.value)


DAMAGES = {
    "a timestep too few": (changed("schedule", "timesteps", to=lambda v: v[1:]), "schedule.timesteps has 5 values"),
    "a stride too many": (changed("schedule", "strides", to=lambda v: [*v, 0.1]), "schedule.strides has 7 values"),
    "other steps": (changed("schedule", "steps", to=7), "schedule.timesteps has 6 values, not 7"),
    "a row too few": (changed("statistic", "joint", to=lambda v: v[1:]), "statistic.joint has 11 values, not 12"),
    "a short row": (changed("statistic", "joint", 3, to=lambda v: v[1:]), "a row of statistic.joint has 11 values"),
    "no rows": (changed("statistic", "output", to=[]), "statistic.output has 0 values, not 6"),
    "numbers for rows": (changed("statistic", "output", to=[0.0] * 6), "a row of statistic.output has no values"),
    "a branch too few": (changed("statistic", "branches", to=lambda v: v[1:]), "statistic.shares has 2 values, not 1"),
    "not a number": (changed("statistic", "joint", 2, 3, to=math.nan), "statistic.joint[2][3] holds nan"),
    "infinity": (changed("schedule", "strides", 1, to=math.inf), "schedule.strides[1] holds inf"),
    "no plans": (changed("plans", to={}), "it has no plans"),
    "a plan of another length": (changed("plans", "4", "plan", to="CCCC."), "plans.4.plan is 'CCCC.'"),
    "a plan of another budget": (changed("plans", "4", "plan", to="CC..C."), "plans.4.plan is 'CC..C.'"),
    "a plan with other letters": (changed("plans", "4", "plan", to="CCCCxx"), "plans.4.plan is 'CCCCxx'"),
    "a plan that starts late": (changed("plans", "4", "plan", to=".CCCC."), "plans.4.plan is '.CCCC.'"),
    "a plan that is none": (changed("plans", "4", to="CCCC.."), "plans.4.plan is missing"),
    "offsets for a computed step": (changed("plans", "4", "offsets", to={"0-0": [[0.1]]}), "for steps 0-0"),
    "offsets past the end": (changed("plans", "4", "offsets", to={"5-9": [[0.1]]}), "for steps 5-9"),
    "offsets backwards": (changed("plans", "4", "offsets", to={"5-4": [[0.1]]}), "for steps 5-4"),
    "offsets for words": (changed("plans", "4", "offsets", to={"last": [[0.1]]}), "for steps last"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_does_not_fit_together_is_named(saved: Path, name: str) -> None:
    spoil, said = DAMAGES[name]
    with pytest.raises(CalibrationMismatch, match=re.escape(said)):
        Calibration.load(damaged(saved, spoil))


def forecast_step(document: dict[str, Any]) -> str:
    place = document["plans"]["4"]["plan"].index(".")
    return f"{place}-{place}"


def with_offsets(rows: Any) -> Damage:
    return lambda document: document["plans"]["4"].update(offsets={forecast_step(document): rows})


UNSEEN = {
    "shares": (changed("statistic", "shares", to=[1.0, 0.0, 0.0]), "statistic.shares"),
    "samples": (changed("statistic", "samples", to=0), "statistic.samples"),
    "words for timesteps": (changed("schedule", "timesteps", 2, to="late"), "schedule.timesteps"),
    "words in a row": (changed("statistic", "joint", 2, 3, to="big"), "statistic.joint"),
    "a price below nothing": (changed("price", to=-1), "price"),
    "a ranked plan that is perhaps gone through again": (
        changed("plans", "4", "ranking", 0, "retrace", to=1),
        "plans.4.ranking[0].retrace",
    ),
    "no measurements": (changed("plans", "4", "psnr", to={}), "plans.4.psnr"),
    "no samples": (changed("plans", "4", "psnr", "samples", to={}), "plans.4.psnr"),
    "an empty ranking line": (changed("plans", "4", "ranking", to=[{}]), "plans.4.ranking"),
    "an unknown forecaster": (changed("plans", "4", "forecaster", to="wienerr"), "plans.4.forecaster"),
    "rows that are numbers": (with_offsets([0.1]), "plans.4.offsets"),
    "offsets that are a number": (with_offsets(0.1), "plans.4.offsets"),
    "three rows for two branches": (with_offsets([[0.1], [0.1], [0.1]]), "plans.4.offsets"),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_damage_further_in_is_named(saved: Path, name: str) -> None:
    spoil, said = UNSEEN[name]
    with pytest.raises(CalibrationMismatch, match=re.escape(said)):
        Calibration.load(damaged(saved, spoil))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ('{"kind": "padecast calibration", "schema": 1', "not JSON"),
        ("[]", 'no "kind"'),
        ('{"schema": 1}', 'no "kind"'),
        ('{"kind": "padecast calibration"}', "schema is None"),
        ('{"kind": "padecast calibration", "schema": "1"}', "schema is '1'"),
        ('{"kind": "padecast calibration", "schema": 0}', "schema is 0"),
        ('{"kind": "padecast calibration", "schema": true}', "schema is bool"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(CalibrationMismatch, match=said):
        Calibration.load(path)


def test_a_file_that_is_not_there_is_told_how_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(CalibrationMismatch, match=r"(?s)none.json cannot be read.*padecast calibrate"):
        Calibration.load(tmp_path / "none.json")


def test_a_later_schema_is_refused(saved: Path) -> None:
    with pytest.raises(CalibrationMismatch, match=rf"schema {file.SCHEMA + 1}; .* reads up to {file.SCHEMA}"):
        Calibration.load(damaged(saved, changed("schema", to=file.SCHEMA + 1)))


def test_there_is_a_file_of_every_schema_so_far() -> None:
    assert [path.name for path in FILES] == [f"schema-{n}.json" for n in range(1, file.SCHEMA + 1)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_every_schema_are_read_and_used(path: Path, tmp_path: Path) -> None:
    kept = Calibration.load(path)
    assert kept.steps == 4 and kept.budgets == (2, 3) and kept.guidance == 3.0 and len(kept.seeds) == 3
    assert Calibration.load(kept.save(tmp_path / "now.json")).to_dict() == kept.to_dict()
    assert json.loads((tmp_path / "now.json").read_text())["schema"] == file.SCHEMA
    pipe = digits()
    pipe.set_progress_bar_config(disable=True)
    for budget in kept.budgets:
        with accelerate(pipe, kept.method(computed=budget)), counted(pipe.transformer) as runs:
            assert call_digits(pipe, 0, steps=4).isfinite().all()
        assert set(runs.values()) == {budget}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_committed_files_are_small(path: Path) -> None:
    assert path.stat().st_size < 8000


def test_a_write_that_fails_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, names = saved.read_text(), sorted(p.name for p in saved.parent.iterdir())

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        file.write(saved, {"kind": "another"})
    assert saved.read_text() == before and sorted(p.name for p in saved.parent.iterdir()) == names


def test_what_cannot_be_written_leaves_the_old_file(saved: Path) -> None:
    before = saved.read_text()
    with pytest.raises(TypeError):
        file.write(saved, {"kind": object()})
    assert saved.read_text() == before and [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_folders_are_made(made: Calibration, tmp_path: Path) -> None:
    assert Calibration.load(made.save(tmp_path / "some" / "where" / "tiny.json")).name == "tiny"


def test_a_person_can_read_it(made: Calibration, saved: Path) -> None:
    text = saved.read_text()
    lines = text.splitlines()
    assert json.loads(text) == json.loads(json.dumps(made.to_dict()))
    for budget in made.budgets:
        plan = made.choices[budget].best.candidate.plan
        assert [line for line in lines if line.strip().startswith(f'"plan": "{plan}",')]
    assert sum(line.strip().startswith("[") for line in lines) >= 3 * STEPS  # a row of a matrix is one line
    assert '"steps": 6,' in text and "\t" not in text and text.endswith("}\n")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=8,
    )
)
def test_whatever_is_written_is_json_of_the_same(value: Any) -> None:
    assert json.loads(file.readable({"a": copy.deepcopy(value)})) == {"a": value}
