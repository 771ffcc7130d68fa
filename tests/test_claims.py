"""The papers' statements: what a verdict says, and which captions are unseen."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.claims.verdicts import Reading, conclude, side
from benchmarks.common import task_of_captions

from padecast.lab.experiment import read

EXPERIMENTS = Path(__file__).parent.parent / "benchmarks" / "experiments"


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
def test_a_reading_is_what_most_of_its_comparisons_say(gains: list[float], verdict: str) -> None:
    assert Reading("", [side(gain) for gain in gains]).verdict == verdict


def test_a_statement_is_what_all_its_readings_are() -> None:
    holds, fails = Reading("", [1, 1]), Reading("", [-1])
    assert conclude([holds, holds]).text == "supported" and conclude([holds, fails]).text == "mixed"
    beside = conclude([holds, Reading("", [-1], counts=False)])
    assert (beside.text, beside.count) == ("supported", "2 hold, 0 fail, 0 tie")


@pytest.mark.slow
def test_unseen_captions_are_those_of_the_experiment() -> None:
    (setting,) = read(EXPERIMENTS / "scenes.toml").settings
    assert task_of_captions("scenes", 20, held_out=True).call.prompts == tuple(setting.prompts)
