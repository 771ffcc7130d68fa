"""The papers' statements: what a verdict says, and which measurements stay when others are made anew."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from padecast.lab.experiment import read

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([1.0, 1.0, 0.2], "supported"),
        ([-1.0, -1.0, 0.2], "refuted"),
        ([1.0, -1.0, 0.2], "mixed"),
        ([1.0, 0.2, 0.2], "undecided"),  # one that holds among ties is not enough
        ([0.5, -0.5, 0.0], "undecided"),  # at the margin is a tie
        ([], "undecided"),
    ],
)
def test_a_reading_is_what_most_of_its_comparisons_say(module: Any, gains: list[float], verdict: str) -> None:
    verdicts = module("claims_verdicts")
    assert verdicts.Reading("", [verdicts.Compared("", gain) for gain in gains]).verdict == verdict


def test_what_is_not_measured_anew_stays(module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    claims = module("claims")
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    first = claims.begun("intervals", claims.SETTINGS, resume=False)
    assert not any(found["seeds"] for found in first["settings"].values())
    for found in first["settings"].values():
        found["seeds"] = [20_000]
    first["provenance"] = {"commit": "abc"}
    (tmp_path / "claims-intervals.json").write_text(json.dumps(first))
    again = claims.begun("intervals", ["scenes"], resume=False)
    assert {setting: found["seeds"] for setting, found in again["settings"].items()} == {
        "hard": [20_000],
        "easy": [20_000],
        "scenes": [],
    }
    assert again["earlier"] == [{"commit": "abc"}]
    for setting in ("hard", "easy"):  # the first is not to be measured
        first["settings"][setting]["rows"][0]["written"] = "another plan"
    (tmp_path / "claims-intervals.json").write_text(json.dumps(first))
    resumed = claims.begun("intervals", ["easy", "scenes"], resume=True)
    assert {setting: found["seeds"] for setting, found in resumed["settings"].items()} == {
        "hard": [20_000],
        "easy": [],
        "scenes": [20_000],
    }


@pytest.mark.slow
def test_unseen_captions_are_those_of_the_experiment(module: Any) -> None:
    (setting,) = read(FOLDER / "experiments" / "scenes.toml").settings
    assert module("common").captioned("scenes", 20, held_out=True).call.prompts == tuple(setting.prompts)
