from __future__ import annotations

import dataclasses
import json
import math
import time

import pytest
import torch
from torch import Tensor

from padecast import Position, Report, Session
from padecast.forecasters import Chebyshev, Forecaster, Lagrange, Oracle, Pade, Reuse, TCPade
from padecast.policies import Always, Plan
from padecast.report import StepReport, report_of, size

PLAN = "CCC..C.C.."


def residuals(seed: int = 0, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(PLAN), batch, 6, dtype=torch.float64, generator=generator).cumsum(0)


def a_run(
    forecaster: Forecaster, branches: tuple[str, ...] = ("",), plan: str = PLAN, start: int = 0, measure: bool = True
) -> Session:
    session = Session(Plan(plan), forecaster, len(plan), measure=measure)
    for index in range(start, len(plan)):
        for seed, branch in enumerate(branches):
            x, residual = torch.zeros(2, 6, dtype=torch.float64), residuals(seed)[index]
            session.step(x, index=index, branch=branch, compute=lambda residual=residual: residual)
        session.records[-1].seconds += [lambda: 0.5 if plan[index] == "C" else 0.125] * len(branches)  # noqa: B023
    return session


def frozen_seconds(session: Session) -> None:
    """Give every record the time that its letter costs."""
    for record in session.records:
        record.seconds = [lambda record=record: 0.5 if record.computed else 0.125]


def test_counts_times_and_bytes() -> None:
    session = a_run(Lagrange(1), branches=("cond", "uncond"))
    frozen_seconds(session)
    report = report_of([session], "linear")
    assert (report.computed, report.forecast, report.plan) == (5, 5, PLAN)
    assert report.seconds == 5 * 0.5 + 5 * 0.125
    assert report.ideal == 2 and report.speedup == 10 * 0.5 / report.seconds
    assert report.history_bytes == session.peak_bytes == 2 * 3 * 12 * 8
    assert report.branches == ("cond", "uncond") and report.method == "linear"
    assert [step.index for step in report.steps] == list(range(10))
    assert "".join("C" if step.computed else "." for step in report.steps) == PLAN


def test_the_seconds_of_a_step_are_those_of_all_its_branches() -> None:
    session = a_run(Reuse(), plan="C")
    session.records[0].seconds = [lambda: 1.0, lambda: 0.25]
    assert report_of([session], "fora").steps[0].seconds == 1.25


def test_what_is_printed_says_what_was_done() -> None:
    session = a_run(Lagrange(1), branches=("cond", "uncond"))
    frozen_seconds(session)
    report = report_of([session], "linear")
    measured = str(report).splitlines()[3]
    for name in ("stability", "disagreement", "gain"):
        values = [value for step in report.steps if (value := getattr(step, name)) is not None]
        assert f"{name} {min(values):.2f} to {max(values):.2f}" in measured
    assert str(report).splitlines()[:3] == [
        "10 steps, 5 computed, 5 forecast: CCC..C.C..",
        "denoiser 3.125 s (computed 0.500 s a step, forecast 0.125 s a step), 1.60x of 2.00x ideal",
        "history 576 B, branches: cond, uncond, method: linear",
    ]


def test_a_session_stepped_by_hand_has_a_report_too() -> None:
    session = a_run(Lagrange(1))
    assert Report.of(session) == report_of([session], "by hand") and Report.of(session, "mine").method == "mine"


def test_what_is_not_finite_is_null_in_json() -> None:
    session = Session(Plan("CC."), Reuse(), total=3)
    for index in range(3):
        session.step(torch.zeros(1, 2), index=index, compute=lambda: torch.full((1, 2), float("inf")))
    assert "NaN" not in Report.of(session).to_json() and "Infinity" not in Report.of(session).to_json()


def test_a_run_in_the_middle_of_the_grid_is_printed_from_where_it_began() -> None:
    report = report_of([a_run(Reuse(), plan="CCCC..C", start=3)], "fora")
    assert report.plan == "   C..C" and [step.index for step in report.steps] == [3, 4, 5, 6]
    assert str(report).startswith("4 steps, 2 computed, 2 forecast: C..C\n")


def test_nothing_was_run_yet() -> None:
    for report in (
        Report((), "", 0, (), "fora"),
        report_of([], "fora"),
        report_of([Session(Always(), Reuse(), 4)], ""),
    ):
        assert str(report) == "no step was run yet with this attachment"
        assert (report.computed, report.forecast, report.seconds) == (0, 0, 0)
        assert report.ideal == report.speedup == 1 and report.notes == {} and report.plan == ""


def test_a_report_goes_through_json() -> None:
    for forecaster in (Pade(), Chebyshev(), TCPade(form="published")):
        report = report_of([a_run(forecaster, branches=("cond", "uncond"))], "some")
        read = json.loads(report.to_json())
        assert read == json.loads(json.dumps(report.to_dict()))
        assert read["plan"] == PLAN and read["computed"] == 5 and read["branches"] == ["cond", "uncond"]
        fields = {field.name: read[field.name] for field in dataclasses.fields(Report)}
        fields |= {"steps": tuple(StepReport(**step) for step in read["steps"]), "branches": tuple(read["branches"])}
        assert Report(**fields) == report
        times = ("seconds", "seconds_computed", "seconds_forecast", "ideal", "speedup")
        derived = {name: getattr(report, name) for name in ("computed", "forecast", *times)}
        assert {**read, **derived} == read and set(read) == {*fields, *derived}


def test_notes_say_where_and_why() -> None:
    session, x = Session(Plan("CC.."), Reuse(), 4), torch.zeros(1, 2)
    for index in range(4):
        for branch in ("cond", "uncond") if index == 3 else ("cond",):
            session.step(x, index=index, branch=branch, compute=lambda: x + 1)
    report = report_of([session], "fora")
    assert report.notes == {"step 3, uncond": "computed because nothing was remembered for this branch"}
    assert report.steps[3].notes == {"uncond": "no history"}
    assert "\nnote: step 3, uncond: computed because nothing was remembered for this branch\n" in str(report)
    assert json.loads(report.to_json())["steps"][3]["notes"] == {"uncond": "no history"}


@pytest.mark.parametrize(
    ("plan", "count"), [("C.C.", 2), ("C..C..CC", 4), ("CCCC", 0), ("CCCCCCCC", 0), ("C........", 0)], ids=str
)
def test_forecasts_in_a_schedule_of_few_steps_are_remarked_on(plan: str, count: int) -> None:
    """Distilled models have 4 to 8 steps, and a fixed plan forecasts there without a word."""
    session = Session(Plan(plan), Reuse(), len(plan))
    for index in range(len(plan)):
        session.step(torch.zeros(1, 2), index=index, compute=lambda: torch.ones(1, 2))
    fact = f"a schedule of {len(plan)} steps has none to spare, and {count} were forecast: leave padecast off"
    assert Report.of(session).remarks == (() if not count else (fact,))
    assert str(Report.of(session)).count("none to spare") == bool(count)


def test_a_part_of_a_long_schedule_is_not_one_of_few_steps() -> None:
    """As of image-to-image, and of the second model of a pipeline: its steps are as small as those before it."""
    report = report_of([a_run(Reuse(), plan="CCCCCC.CC.", start=6)], "fora")
    assert report.forecast and not report.remarks


# What is measured ----------------------------------------------------------------------------------------------------


def known(index: int) -> list[int]:
    """Computed steps before one, newest first."""
    return [i for i in range(index) if PLAN[i] == "C"][::-1]


def test_stability_is_the_least_over_samples_and_branches() -> None:
    report = report_of([a_run(Pade(), branches=("cond", "uncond"))], "pade")
    for step in report.steps:
        newest = known(step.index + step.computed)[:3]
        if len(newest) < 3:
            assert step.stability is None
            continue
        least = math.inf
        for seed in (0, 1):
            r1, r2, r3 = residuals(seed)[newest]
            least = min(least, float(1 + torch.nn.functional.cosine_similarity(r1 - r2, r2 - r3, dim=1).min()))
        assert step.stability == pytest.approx(least)


@pytest.mark.parametrize("forecaster", [Lagrange(1), Lagrange(2), Pade(), TCPade()])
def test_disagreement_is_the_distance_from_repetition(forecaster: Forecaster) -> None:
    session = a_run(forecaster, branches=("cond", "uncond"))
    for step, record in zip(report_of([session], "some").steps, session.records, strict=True):
        if step.computed:
            assert step.disagreement is None and step.gain is None and step.weight_sum is None
            continue
        squares = []
        for seed, branch in enumerate(("cond", "uncond")):
            weights = record.weights[branch].expand(2, -1)
            remembered = residuals(seed)[known(step.index)[: weights.shape[1]]]
            forecast = torch.einsum("bk,kbd->bd", weights, remembered)
            squares.append((forecast - remembered[0]).norm(dim=1) / remembered[0].norm(dim=1))
        assert step.disagreement == pytest.approx(float(torch.cat(squares).square().mean().sqrt()))
        assert step.weight_sum == pytest.approx(1)


def test_gain_and_weight_sum_of_known_weights() -> None:
    report = report_of([a_run(Lagrange(1))], "linear")
    assert report.steps[3].gain == pytest.approx(math.hypot(2, -1))  # one step after neighbours
    assert report.steps[6].gain == pytest.approx(math.hypot(4 / 3, -1 / 3))  # one step after steps 5 and 2
    assert report_of([a_run(Reuse())], "fora").steps[6].gain == 1
    assert report_of([a_run(Reuse())], "fora").steps[6].disagreement == 0


def test_a_ridge_regressions_weight_sum_says_how_far_off_it_is() -> None:
    report = report_of([a_run(Chebyshev())], "spectrum")
    sums = [step.weight_sum for step in report.steps if not step.computed]
    known_weights = [record.weights[""] for record in a_run(Chebyshev()).records if not record.computed]
    assert sums == pytest.approx([float(weights.sum()) for weights in known_weights])
    assert max(abs(total - 1) for total in sums if total is not None) > 0.01
    assert all(step.disagreement is None for step in report.steps[6:])  # more steps than inner products


@pytest.mark.parametrize("forecaster", [Oracle(), TCPade(form="published")])
def test_a_method_that_is_not_weights_has_none_to_report(forecaster: Forecaster) -> None:
    report = report_of([a_run(forecaster)], "some")
    assert report.plan == PLAN
    assert all(step.gain is None and step.weight_sum is None and step.disagreement is None for step in report.steps)


def test_without_measuring_there_is_no_stability() -> None:
    report = report_of([a_run(Lagrange(1), measure=False)], "linear")
    assert all(step.stability is None and step.disagreement is None for step in report.steps)
    assert report.steps[3].gain == pytest.approx(math.hypot(2, -1))


def test_branches_whose_weights_are_per_sample_and_for_all_are_reported_together() -> None:
    session, x = Session(Plan("CCC..."), Pade(), 6), torch.zeros(2, 6, dtype=torch.float64)
    for index in range(6):
        for branch in ("cond", "uncond") if index >= 3 else ("cond",):
            residual = residuals()[index]
            session.step(x, index=index, branch=branch, compute=lambda residual=residual: residual)
    weights = session.records[4].weights
    assert weights["cond"].ndim == 2 and weights["uncond"].ndim == 1  # one residual is known: repeated
    step = report_of([session], "pade").steps[4]
    gains = [*weights["cond"].norm(dim=1).tolist(), 1.0]
    assert step.gain == pytest.approx(sum(gains) / 3) and step.weight_sum == pytest.approx(1)


def test_two_models_of_one_run_are_one_report() -> None:
    early, late = Session(Plan("CC......"), Reuse(), 8), Session(Plan("C....C.."), Reuse(), 8)
    for session, indices in ((late, range(4, 8)), (early, range(4))):
        for index in indices:
            session.step(torch.zeros(1, 2), index=index, compute=lambda: torch.ones(1, 2))
    report = report_of([late, early], "fora")
    assert report.plan == "CC..CC.." and [step.index for step in report.steps] == list(range(8))
    assert report.history_bytes == early.peak_bytes + late.peak_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (25 * 2**20, "25.0 MiB"), (2**50, "1024.0 TiB")],
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    assert size(count) == text


# Times that were not taken, and what is shown where somebody looks ---------------------------------------------------


@pytest.mark.fault("times not taken")
@pytest.mark.parametrize(
    ("plan", "seconds", "line"),
    [
        ("CCC", (0.5, 0.5, 0.5), "denoiser 1.500 s (computed 0.500 s a step)"),
        ("C", (0.5,), "denoiser 0.500 s (computed 0.500 s a step)"),
        ("CCC", (0.0, 0.0, 0.0), "no times were taken"),
        ("C..", (0.0, 0.0, 0.0), "no times were taken; 3.00x at best"),
        ("C.C.", (0.5, 0.1, 0.5, 0.1), "1.67x of 2.00x ideal"),
        ("...", (0.1, 0.1, 0.1), "denoiser 0.300 s (forecast 0.100 s a step)"),
        ("C.", (0.0, 0.0), "no times were taken; 2.00x at best"),
        ("CC", (0.1, 0.1), "denoiser 0.200 s (computed 0.100 s a step)"),
    ],
)
def test_only_times_that_were_taken_are_said(plan: str, seconds: tuple[float, ...], line: str) -> None:
    steps = tuple(
        StepReport(index, letter == "C", s) for index, (letter, s) in enumerate(zip(plan, seconds, strict=True))
    )
    text = str(Report(steps, plan, 0, (), "fora"))
    assert line in text and "0.000 s" not in text
    assert ("ideal" in text) == ("C" in plan and "." in plan and sum(seconds) > 0)


@pytest.mark.fault("times not taken")
def test_a_session_that_is_stepped_by_hand_takes_its_times() -> None:
    session, x = Session(Plan("C.C."), Reuse(), 4), torch.zeros(1, 2)
    for index in range(4):
        session.step(x, index=index, compute=lambda: time.sleep(0.01) or x + 1)
    report = Report.of(session)
    assert report.seconds_computed >= 0.02 and 0 < report.seconds_forecast < report.seconds_computed
    assert report.speedup > 1 and str(report).splitlines()[1].startswith("denoiser 0.0")


@pytest.mark.fault("times not taken")
def test_a_session_whose_steps_nobody_timed_claims_no_speedup() -> None:
    session, x = Session(Plan("C.C."), Reuse(), 4), torch.zeros(1, 2)
    for index in range(4):
        session.begin(Position.at(index, 4))
        branch = session.branch("")
        if branch.forecast((x,)) is None:
            branch.learn((x,), (x + 1,))
    assert str(Report.of(session)).splitlines()[1] == "no times were taken; 2.00x at best"


def reports() -> list[Report]:
    many = tuple(StepReport(index, index % 3 == 0, 0.1, 1.5, 0.2, 1.1, 1.0, {"cond": "stale"}) for index in range(50))
    return [
        Report((), "", 0, (), "fora"),
        Report(many, "C.." * 16 + "C.", 2**20, ("cond", "uncond"), "tc-pade:every=3"),
        Report((StepReport(3, True, 0.0),), "   C", 0, ("<b>&",), "<script>alert(1)</script>"),
        Report((), "", 0, (), "fora", unplaced=3),
    ]


@pytest.mark.fault("notebook")
@pytest.mark.parametrize("report", reports(), ids=["none", "many", "markup", "unplaced"])
def test_a_report_is_short_where_it_is_looked_at_and_squares_in_a_notebook(report: Report) -> None:
    assert len(repr(report)) < 200 and report.method in repr(report) and "\n" not in repr(report)
    page = report._repr_html_()
    assert page.count("<span") == len(report.plan) and "<script>" not in page and "<b>&" not in page
    assert page.count("title='step") == len(report.plan) and all(f"step {i}:" in page for i in range(len(report.plan)))


@pytest.mark.fault("notebook")
@pytest.mark.parametrize("plan", [PLAN, "CCCCCC", "C....."])
def test_details_are_a_line_a_step_and_what_the_columns_mean(plan: str) -> None:
    report = report_of([a_run(TCPade(), branches=("cond", "uncond"), plan=plan)], "tc-pade")
    lines = report.details().splitlines()
    assert [line.split()[:2] for line in lines[1 : len(plan) + 1]] == [
        [str(index), "computed" if letter == "C" else "forecast"] for index, letter in enumerate(plan)
    ]
    assert {line.partition(":")[0] for line in lines[len(plan) + 2 :]} == {
        *("seconds", "stability", "disagreement", "gain", "weight sum")
    }
    assert Report((), "", 0, (), "fora").details() == "no step was run yet with this attachment"


def test_a_run_that_was_left_alone_says_why() -> None:
    report = Report((), "", 0, (), "fora", remarks=("another cache is on this model",))
    assert str(report) == report.details() == "nothing was done in this run: another cache is on this model"
