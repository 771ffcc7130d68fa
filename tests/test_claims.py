"""The papers' statements: what a verdict says, and which captions are unseen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from benchmarks.claims import measure
from benchmarks.claims.page import compose
from benchmarks.claims.readings import Part, read_lengths, read_threshold
from benchmarks.claims.rows import ROWS, Row
from benchmarks.claims.verdicts import Reading, conclude, side
from benchmarks.common import DOCS, task_of_captions

from padecast.lab.experiment import read
from padecast.policies import Stability, plan_of

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
    assert conclude([holds, Reading("not measured", [])]).text == "supported"
    beside = conclude([holds, Reading("", [-1], counts=False)])
    assert (beside.text, beside.count) == ("supported", "2 hold, 0 fail, 0 tie")


def row(name: str, at: float, psnr: float, **facts: Any) -> dict[str, Any]:
    """A row of a result file, of one sample."""
    return {"name": name, "at": at, "computed": [8], "plans": ["C"], "psnr": [psnr], "read": [1], **facts}


def test_taylorseer_collapses_where_it_is_worse_than_fewer_steps_in_short_runs_and_better_in_long_ones() -> None:
    gains = {10: -3.0, 15: -2.0, 20: 0.1, 50: 4.0}
    rows = [row("taylorseer order 1", n, 30 + gain) for n, gain in gains.items()]
    rows += [row(name, n, 30.0) for n in gains for name in ("fewer-steps", "uncached")]
    psnr, shown = read_lengths(Part({"digits": {"rows": rows}}))
    assert (psnr.count, psnr.verdict) == ("3 hold, 0 fail, 1 tie", "supported")
    assert shown.count == "0 hold, 0 fail, 3 tie"


def test_thresholds_with_the_same_plans_have_no_fidelity_to_compare() -> None:
    rows = [
        row("tc-pade-fast", 0.7, 30.0),
        row("tc-pade-fast", 1.0, 30.0),
        row("tc-pade-fast", 1.3, 29.0, plans=["CC"]),
    ]
    _, faithful = read_threshold(Part({"digits": {"rows": rows}}))
    assert faithful.count == "0 hold, 1 fail, 0 tie"


def test_rows_on_dense_plans_are_compared_among_themselves_and_with_fewer_steps() -> None:
    rows = [row("tc-pade", 6, 20.0), row("tc-pade", 6, 40.0, plan="dense"), row("fewer-steps", 6, 25.0)]
    settings = {"digits": {"rows": rows}}
    assert Part(settings).gain("tc-pade", "fewer-steps", [6]) == [-5.0]
    assert Part(settings, "dense").gain("tc-pade", "fewer-steps", [6]) == [15.0]
    assert Part(settings, "dense").names() == ["tc-pade"]


@pytest.mark.parametrize("part", ["rational", "spans", "fifty"])
def test_rows_at_equal_computed_steps_compute_as_many(part: str) -> None:
    for made in ROWS[part]("digits"):
        if made.policy is not None and made.plan == "published":
            assert plan_of(made.policy, made.steps).count("C") == made.at, made.recipe


def test_no_two_rows_of_a_part_are_called_alike() -> None:
    for list_rows in ROWS.values():
        rows = [(made.name, made.at, made.plan) for made in list_rows("scenes")]
        assert len(rows) == len(set(rows))
    assert len([made for made in ROWS["threshold"]("digits") if isinstance(made.policy, Stability)]) == 5


class Fake:
    """Samples that draw nothing, and count what they are asked for."""

    model = "digits"

    def __init__(self, seeds: range) -> None:
        self.seeds, self.rows = tuple(seeds), list[Row]()

    def measure(self, row: Row) -> dict[str, Any]:
        """Return a measurement in which the first seed stands."""
        self.rows.append(row)
        values = [float(self.seeds[0])] * len(self.seeds)
        return {"computed": [8], "plans": ["C"], "psnr": values, "read": [1] * len(self.seeds)}


def test_measuring_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    monkeypatch.setattr("benchmarks.common.RESULTS", tmp_path)
    first, count = measure.FIRST, len(ROWS["intervals"]("digits"))

    def extend(start: int, end: int) -> int:
        samples = Fake(range(first + start, first + end))
        measure.Part("intervals").extend("digits:matched", samples)  # type: ignore[arg-type]
        return len(samples.rows)

    assert extend(0, 4) == count  # a batch cut short
    assert extend(0, 8) == count and extend(0, 8) == 0  # is measured anew, a whole one is not
    assert extend(8, 16) == count and extend(0, 8) == 0
    (rows,) = (part["rows"] for part in measure.Part("intervals").settings.values())
    assert {tuple(entry["psnr"]) for entry in rows} == {(first,) * 8 + (first + 8,) * 8}
    assert all(len(entry["plans"]) == 2 for entry in rows)


def test_the_page_is_what_the_result_files_say_and_short() -> None:
    page = (DOCS / "claims.md").read_text(encoding="utf-8")
    assert page == compose()
    prose = re.sub(r"(?m)^(\||!|<).*$", "", page.partition("## Where the figures")[0])
    assert 200 < len(prose.split()) <= 900


@pytest.mark.slow
def test_unseen_captions_are_those_of_the_experiment() -> None:
    (setting,) = read(EXPERIMENTS / "scenes.toml").settings
    assert task_of_captions("scenes", 20, held_out=True).call.prompts == tuple(setting.prompts)
