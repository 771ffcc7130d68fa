"""What users ask of a calibration, and what it is refused for."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import FlowMatchHeunDiscreteScheduler
from tests.calibration.tiny import STEPS, call_digits
from tests.lab.tiny import digits
from tests.tiny import counted, dit_pipeline, footprint

import padecast
from padecast import Calibration, CalibrationMismatch, InvalidOption, accelerate, zoo
from padecast.calibration.candidate import Candidate, Measured
from padecast.calibration.choice import Choice
from padecast.forecasters import Reuse
from padecast.policies import Plan
from padecast.zoo.digits import DigitsPipeline


@pytest.fixture
def pipe() -> DigitsPipeline:
    pipe = digits()
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def curve(made: Calibration) -> Calibration:
    """Budgets 2, 3, 4 and 5 of 6 steps with 20, 30, 28 and 40 dB."""
    plans = {2: "C....C", 3: "C..C.C", 4: "CC.C.C", 5: "CCCC.C"}
    psnr = {2: 20.0, 3: 30.0, 4: 28.0, 5: 40.0}
    choices = {n: Choice(Measured(Candidate(p, "lagrange"), {0: psnr[n]}), psnr[n] - 1, ()) for n, p in plans.items()}
    return replace(made, name="curve", choices=choices)


@pytest.mark.parametrize(
    ("wish", "budget"),
    [
        ({"computed": 2}, 2),
        ({"computed": 5}, 5),
        ({"speedup": 1.0}, 5),
        ({"speedup": 1.2}, 5),
        ({"speedup": 1.21}, 4),
        ({"speedup": 2}, 3),
        ({"speedup": 3.0}, 2),
        ({"decibels": 20.0}, 2),
        ({"decibels": 29.0}, 3),
        ({"decibels": 0.0}, 2),
        ({"decibels": 30.1}, 5),
    ],
)
def test_a_wish_comes_to_a_number_of_computed_steps(curve: Calibration, wish: dict[str, Any], budget: int) -> None:
    assert curve.budget(**wish) == budget
    made = curve.method(**wish)
    assert made.policy == Plan(curve.choices[budget].best.candidate.plan) and made.span == "output"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"computed": 6}, r"(?s)has computed=6.*Calibrated: 2, 3, 4, 5 of 6 steps, up to 40.0 dB with 5"),
        ({"computed": 0}, "has computed=0"),
        ({"speedup": 3.1}, "has speedup=3.1"),
        ({"decibels": 40.5}, "has decibels=40.5"),
    ],
)
def test_a_wish_that_no_plan_fulfils_is_told_what_there_is(curve: Calibration, wish: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        curve.budget(**wish)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [({}, r"0 wishes given \(none\)"), ({"computed": 3, "decibels": 30.0}, r"2 wishes given \(computed, decibels\)")],
)
def test_exactly_one_wish_is_needed(curve: Calibration, wishes: dict[str, Any], said: str) -> None:
    for ask in (curve.budget, curve.method):
        with pytest.raises(InvalidOption, match=said):
            ask(**wishes)
    with pytest.raises(InvalidOption, match=said):
        accelerate(digits(), curve, **wishes)


def test_the_curve_is_the_trade_off(curve: Calibration) -> None:
    points = curve.curve()
    assert [p.computed for p in points] == [2, 3, 4, 5] == list(curve.budgets)
    assert [p.speedup for p in points] == pytest.approx([3, 2, 1.5, 1.2])
    assert [(p.psnr, p.held_out) for p in points] == [(20, 19), (30, 29), (28, 27), (40, 39)]


@pytest.mark.parametrize(
    ("decibels", "said"),
    [
        (25.0, "3 of 6 steps (2.00x) keep 25 dB: 30.0 dB on calibration samples."),
        (15.0, "2 of 6 steps (3.00x) keep 15 dB"),
        (35.0, "not worth it: no plan that saves 20% of the 6 steps keeps 35 dB."),  # 5 of 6 save too little
        (60.0, "not worth it: no plan that saves 20% of the 6 steps keeps 60 dB."),
    ],
)
def test_the_verdict_says_whether_it_pays(curve: Calibration, decibels: float, said: str) -> None:
    assert curve.verdict(decibels).startswith(said)


def test_it_prints_as_a_table(curve: Calibration) -> None:
    rows = str(curve).splitlines()
    assert rows[0] == "curve: 6 steps, 3 calibration samples" and len(rows) == 6
    assert rows[3].split() == ["3", "2.00x", "30.0", "29.0", "C..C.C"]


@pytest.mark.parametrize("budget", [2, 4])
def test_as_many_steps_are_computed_as_were_asked_for(made: Calibration, pipe: DigitsPipeline, budget: int) -> None:
    untouched = call_digits(pipe, 5)
    with accelerate(pipe, made, computed=budget) as run, counted(pipe.transformer) as runs:
        forecast = call_digits(pipe, 5)
    assert set(runs.values()) == {budget} and run.report.computed == budget
    assert run.report.plan == made.choices[budget].best.candidate.plan
    assert not torch.equal(forecast, untouched) and torch.equal(call_digits(pipe, 5), untouched)


def test_parts_of_the_method_can_be_replaced(made: Calibration, pipe: DigitsPipeline) -> None:
    with accelerate(pipe, made, computed=4, forecaster="reuse") as run:
        images = call_digits(pipe, 5)
    with accelerate(pipe, policy=Plan(run.report.plan), forecaster=Reuse(), span="output"):
        assert torch.equal(call_digits(pipe, 5), images)


def heun(pipe: DigitsPipeline) -> None:
    pipe.scheduler = FlowMatchHeunDiscreteScheduler()
    call_digits(pipe, 0)


RUNS: dict[str, tuple[Callable[[DigitsPipeline], Any], str]] = {
    "steps": (lambda pipe: call_digits(pipe, 0, steps=8), "steps: this run has 8, the calibration 6"),
    "shift": (lambda pipe: call_digits(pipe, 0, shift=2.2), "noise levels, place"),
    "timesteps": (lambda pipe: call_digits(pipe, 0, shift=2.2), "timesteps, place"),
    "guidance": (lambda pipe: call_digits(pipe, 0, guidance=3.5), "guidance: this run has 3.5, the calibration 3"),
    "no guidance": (lambda pipe: call_digits(pipe, 0, guidance=1.0), "guidance: this run has 1, the calibration 3"),
    "scheduler": (heun, "scheduler: this run has FlowMatchHeunDiscreteScheduler, the calibration FlowMatchEuler"),
}


@pytest.mark.parametrize("name", RUNS)
def test_another_run_is_refused_by_name_and_nothing_stays_attached(made: Calibration, name: str) -> None:
    draw, said = RUNS[name]
    pipe, other = digits(), digits()
    pipe.set_progress_bar_config(disable=True)
    other.set_progress_bar_config(disable=True)
    before = footprint(pipe.transformer)
    with pytest.raises(CalibrationMismatch, match=said) as raised, accelerate(pipe, made, computed=2):
        draw(pipe)
    assert "run it as calibrated: 6 steps, guidance 3" in str(raised.value)
    assert footprint(pipe.transformer) == before
    pipe.scheduler = copy.deepcopy(other.scheduler)
    assert torch.equal(call_digits(pipe, 5), call_digits(other, 5))


def test_a_run_that_was_refused_does_not_spoil_the_next(made: Calibration, pipe: DigitsPipeline) -> None:
    with accelerate(pipe, made, computed=4):
        expected = call_digits(pipe, 5)
    with accelerate(pipe, made, computed=4) as run:
        with pytest.raises(CalibrationMismatch, match="steps"):
            call_digits(pipe, 5, steps=9)
        assert torch.equal(call_digits(pipe, 5), expected)
    assert run.report.computed == 4


def test_another_model_is_refused_before_anything_is_attached(made: Calibration) -> None:
    other = dit_pipeline()
    before = footprint(other.transformer)
    with pytest.raises(CalibrationMismatch, match="configuration: this run has"), accelerate(other, made, computed=2):
        pytest.fail("it was entered")
    assert footprint(other.transformer) == before
    renamed = replace(made, model={**made.model, "class": "FluxTransformer2DModel"})
    with pytest.raises(CalibrationMismatch, match=r"model: this run has DiT.*, the calibration Flux"):
        accelerate(digits(), renamed, computed=2).enable()


def test_everything_that_differs_is_named_at_once(made: Calibration, pipe: DigitsPipeline) -> None:
    call_digits(pipe, 0, shift=3.0, guidance=5.0)
    with pytest.raises(CalibrationMismatch) as raised:
        replace(made, model={**made.model, "config": "0"}).check(pipe, STEPS)
    for word in ("configuration", "noise levels", "timesteps", "guidance"):
        assert f"{word}" in str(raised.value)
    assert str(raised.value).count("this run has") == 4


@pytest.mark.parametrize("change", [0.0, 4e-4, -4e-4])
def test_rounding_of_the_noise_levels_is_no_difference(made: Calibration, pipe: DigitsPipeline, change: float) -> None:
    call_digits(pipe, 0)
    levels = made.schedule.sigmas
    near = replace(made.schedule, sigmas=(*levels[:2], levels[2] + change, *levels[3:]))
    replace(made, schedule=near).check(pipe, STEPS)
    far = replace(made.schedule, sigmas=(*levels[:2], levels[2] + 10 * change, *levels[3:]))
    with pytest.raises(CalibrationMismatch) if change else contextlib.nullcontext():
        replace(made, schedule=far).check(pipe, STEPS)


def test_a_bare_model_is_checked_by_what_it_says(made: Calibration, pipe: DigitsPipeline) -> None:
    made.check(pipe.transformer, None)
    made.check(pipe.transformer, STEPS)
    with pytest.raises(CalibrationMismatch, match="steps: this run has 7"):
        made.check(pipe.transformer, 7)


def test_another_scheduler_of_the_same_length_is_refused(made: Calibration, pipe: DigitsPipeline) -> None:
    call_digits(pipe, 0)
    pipe.scheduler.__class__ = type("Stochastic", (type(pipe.scheduler),), {})  # the same grid
    with pytest.raises(CalibrationMismatch, match="scheduler: this run has Stochastic"):
        made.check(pipe, STEPS)


UNIPC = {"solver_order": 3, "solver_type": "bh1", "predict_x0": False, "lower_order_final": False, "thresholding": True}


@pytest.mark.fault("another sampler")
@pytest.mark.parametrize(
    ("model", "name", "value", "recorded"),
    [
        ("digits", "stochastic_sampling", True, True),
        ("digits", "stochastic_sampling", True, False),  # a file that was made before settings were written down
        *[("motion", name, value, True) for name, value in UNIPC.items()],
        ("motion", "disable_corrector", [0, 1], True),
        ("motion", "prediction_type", "epsilon", True),
    ],
)
def test_another_setting_of_the_same_scheduler_is_refused(model: str, name: str, value: Any, recorded: bool) -> None:
    made = padecast.zoo.calibration(model, {"digits": "hard", "motion": "20"}[model])
    grid = made.schedule
    known = getattr(grid, "settings", {})
    levels = {"timesteps": torch.tensor(grid.timesteps), "sigmas": torch.tensor(grid.sigmas)}
    config = {**known, name: value} if known else {name: value}
    scheduler = type(grid.scheduler, (), {"config": config, "begin_index": 0, **levels})()
    pipe = SimpleNamespace(transformer=padecast.zoo.load(model).transformer, scheduler=scheduler)
    if not recorded and known:
        made = replace(made, schedule=replace(grid, settings={}))
    with pytest.raises(CalibrationMismatch, match=name):
        made.check(pipe, made.steps)


def test_settings_that_a_later_release_adds_are_no_difference(made: Calibration, pipe: DigitsPipeline) -> None:
    call_digits(pipe, 0)
    pipe.scheduler.register_to_config(a_later_one=3)
    made.check(pipe, STEPS)


@pytest.mark.parametrize("wish", [{"computed": 8}, {"speedup": 2.0}, {"decibels": 35.0}])
@pytest.mark.parametrize("method", ["adaptive", None, padecast.method("fora")], ids=["name", "none", "method"])
def test_a_wish_without_a_calibration_is_refused(wish: dict[str, Any], method: Any) -> None:
    ((name, value),) = wish.items()
    with pytest.raises(InvalidOption, match=rf"{name}={value:g} needs a calibration"):
        accelerate(digits(), method, **wish)


def test_as_a_method_it_runs_anything_of_its_length(made: Calibration, pipe: DigitsPipeline) -> None:
    with accelerate(pipe, made.method(computed=2)) as run:
        call_digits(pipe, 0, shift=3.0)
    assert run.report.computed == 2


def test_a_run_that_begins_in_the_middle_of_the_schedule_is_refused(made: Calibration, pipe: DigitsPipeline) -> None:
    call_digits(pipe, 0)
    pipe.scheduler.set_begin_index(2)
    with pytest.raises(CalibrationMismatch, match="first step: this run has 2, the calibration 0"):
        made.check(pipe, STEPS)


def test_another_span_is_refused(made: Calibration, pipe: DigitsPipeline) -> None:
    with pytest.raises(InvalidOption, match="span='full' cannot be given with a calibration"):
        accelerate(pipe, made, computed=made.budgets[0], span="full")


def test_weights_of_a_bare_model_are_those_that_were_chosen(made: Calibration) -> None:
    built = made.method(computed=made.budgets[0]).forecaster
    inner = getattr(built, "inner", built)
    assert getattr(inner, "strides", made.schedule.strides) == made.schedule.strides


@pytest.mark.fault("notebook")
@pytest.mark.parametrize(("name", "setting"), [("digits", "hard"), ("scenes", "50"), ("motion", "20")])
def test_a_calibration_is_a_line_where_it_is_looked_at(name: str, setting: str) -> None:
    calibration = zoo.calibration(name, setting)
    assert len(repr(calibration)) < 200 and f"of {calibration.steps} steps" in repr(calibration)


def test_a_notebook_shows_every_plan_as_squares_and_no_markup_of_names(curve: Calibration) -> None:
    page = replace(curve, name="<script>")._repr_html_()
    assert page.count("<tr>") == 1 + len(curve.budgets) and "<script>" not in page
    assert page.count("<span") == len(curve.budgets) * curve.steps
    assert page.count(": computed'") == sum(curve.budgets)
