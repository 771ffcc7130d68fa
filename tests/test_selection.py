"""Several calibrations on one handle: every run takes its own, and one that has none is served or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.calibration.tiny import sparing
from tests.lab.tiny import digits
from tests.tiny import dit
from torch import Tensor

import padecast
from padecast import Calibration, CalibrationMismatch, InvalidOption, PadecastWarning, accelerate, enable
from padecast.calibration import Effort

pytestmark = pytest.mark.fault("run lengths")
QUICK = Effort(scouts=1, finalists=1, moves=0, refined=0)


def sample(pipe: Any, steps: int = 4, **options: Any) -> Tensor:
    options = {"generator": torch.Generator().manual_seed(3), "output_type": "pt", **options}
    return pipe([3], num_inference_steps=steps, **options).images


@pytest.fixture(scope="module")
def pipe() -> Any:
    pipe = digits()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def calibrated(pipe: Any, steps: int, **options: Any) -> Calibration:
    def call(pipe: Any, seeds: Sequence[int]) -> Tensor:
        generator = [torch.Generator().manual_seed(seed) for seed in seeds]
        return pipe(
            [3] * len(seeds), num_inference_steps=steps, generator=generator, output_type="pt", **options
        ).images

    with sparing():
        return padecast.calibrate(pipe, call, [2, 3], range(2), batch=2, effort=QUICK, name=f"{steps}")


@pytest.fixture(scope="module")
def four(pipe: Any) -> Calibration:
    return calibrated(pipe, 4)


@pytest.fixture(scope="module")
def six(pipe: Any) -> Calibration:
    return calibrated(pipe, 6)


@pytest.mark.parametrize(("steps", "plan"), [(4, "four"), (6, "six")])
def test_every_run_takes_the_calibration_of_its_length(
    pipe: Any, four: Calibration, six: Calibration, steps: int, plan: str
) -> None:
    wanted = {"four": four, "six": six}[plan].choices[3].best.candidate.plan
    with accelerate(pipe, [four, six], computed=3) as run:
        image = sample(pipe, steps)
        assert run.report.plan == wanted and run.report.method == "calibrated:3"
    with accelerate(pipe, {"four": four, "six": six}[plan], computed=3):
        assert torch.equal(sample(pipe, steps), image)


@pytest.mark.parametrize("lengths", [(4, 6, 4), (6, 4, 6), (4, 5, 6), (5, 5, 4), (6, 5, 4, 7, 6)])
def test_runs_of_other_lengths_come_by_turns(
    pipe: Any, four: Calibration, six: Calibration, lengths: tuple[int, ...]
) -> None:
    plans = {4: four.choices[2].best.candidate.plan, 6: six.choices[2].best.candidate.plan}
    handle = enable(pipe, (four, six), computed=2, otherwise="fora:every=2")
    try:
        for steps in lengths:
            sample(pipe, steps)
            assert handle.report.plan == plans.get(steps, handle.report.plan) and len(handle.report.plan) == steps
            assert handle.report.method == ("calibrated:2" if steps in plans else "fora") and handle.report.forecast > 0
    finally:
        handle.disable()


@pytest.mark.parametrize(
    "otherwise",
    ["adaptive:tolerance=0.5", "fora:every=2", "tc-pade:every=2", "teacache:threshold=9", "spectrum:warmup=2"],
)
def test_what_no_calibration_was_made_for_is_served_as_it_is_alone(
    pipe: Any, four: Calibration, otherwise: str
) -> None:
    with accelerate(pipe, otherwise, span="output") as alone:  # the calibration's span, and so that of the handle
        wanted = sample(pipe, 5)
    with accelerate(pipe, [four], computed=2, otherwise=otherwise) as run:
        sample(pipe, 4)
        assert torch.equal(sample(pipe, 5), wanted)
        assert run.report.plan == alone.report.plan and run.report.method == alone.report.method


@pytest.mark.parametrize("calibrations", [1, 2])
def test_a_run_of_a_length_that_nothing_was_made_for_is_refused_with_the_lengths(
    pipe: Any, four: Calibration, six: Calibration, calibrations: int
) -> None:
    with accelerate(pipe, [four, six][:calibrations], computed=2) as run:
        with pytest.raises(CalibrationMismatch) as caught:
            sample(pipe, 5)
        sample(pipe, 4)
        assert run.report.forecast == 2
    text = str(caught.value)
    assert "5" in text and "4" in text and 'otherwise="tc-pade"' in text


@pytest.mark.parametrize("options", [{"guidance_scale": 9.0}, {"shift": 4.0}])
def test_a_run_of_that_length_but_another_sampler_is_not_served(
    pipe: Any, four: Calibration, six: Calibration, options: dict[str, Any]
) -> None:
    with (
        accelerate(pipe, [four, six], computed=2),
        pytest.raises(CalibrationMismatch, match=r"this run has [\d.]+, the calibration"),
    ):
        sample(pipe, 4, **options)
    with accelerate(pipe, [four, six], computed=2, otherwise="fora:every=2") as run:
        sample(pipe, 4, **options)
    assert run.report.method == "fora"


def test_two_calibrations_of_one_length_are_told_apart_by_their_schedule(pipe: Any, four: Calibration) -> None:
    shifted = calibrated(pipe, 4, shift=3.0)
    with accelerate(pipe, [four, shifted], computed=3) as run:
        for options, calibration in (({}, four), ({"shift": 3.0}, shifted)):
            sample(pipe, 4, **options)
            assert run.report.plan == calibration.choices[3].best.candidate.plan


@pytest.mark.parametrize("otherwise", ["toca", "delta-dit", "first-block", "easycache"])
def test_a_method_of_another_span_cannot_serve_the_other_runs(pipe: Any, four: Calibration, otherwise: str) -> None:
    with pytest.raises(InvalidOption, match="methods of one handle forecast one part of the model"):
        accelerate(pipe, four, computed=2, otherwise=otherwise)


def test_another_model_is_refused_when_it_is_switched_on(four: Calibration, six: Calibration) -> None:
    other = digits()
    other.transformer = dit(sample_size=16, patch_size=4, in_channels=1, out_channels=1, num_embeds_ada_norm=10)
    for otherwise in (None, "tc-pade"):
        with pytest.raises(CalibrationMismatch, match="configuration"):
            enable(other, [four, six], computed=2, otherwise=otherwise)


def test_a_transformer_alone_has_to_be_told_how_many_steps(pipe: Any, four: Calibration, six: Calibration) -> None:
    with pytest.raises(InvalidOption, match="how many steps a run of the transformer has"):
        accelerate(pipe.transformer, [four, six], computed=2)


def test_a_wish_that_one_of_them_cannot_fulfil_is_refused_at_once(
    pipe: Any, four: Calibration, six: Calibration
) -> None:
    with pytest.raises(InvalidOption, match=r"speedup=2\.5"):
        accelerate(pipe, [six, four], speedup=2.5)


def test_a_calibration_without_such_a_plan_leaves_its_runs_to_the_other_method(
    pipe: Any, four: Calibration, six: Calibration
) -> None:
    more = dataclasses.replace(six, choices={5: six.choices[3], **six.choices})
    with accelerate(pipe, [four, more], computed=5, otherwise="fora:every=2") as run:
        for steps, method in ((6, "calibrated:5"), (4, "fora"), (5, "fora")):
            sample(pipe, steps)
            assert run.report.method == method
    with pytest.raises(InvalidOption, match="computed=5"):
        accelerate(pipe, [four, more], computed=5)


@pytest.mark.parametrize(("wish", "text"), [({"computed": 9}, "computed=9"), ({}, "0 wishes given")])
def test_a_wish_that_none_of_them_can_fulfil_is_refused_whatever_serves_the_rest(
    pipe: Any, four: Calibration, six: Calibration, wish: dict[str, int], text: str
) -> None:
    with pytest.raises(InvalidOption, match=text):
        accelerate(pipe, [four, six], **wish, otherwise="adaptive")


def test_the_log_and_the_callback_say_which_method_served(
    pipe: Any, four: Calibration, six: Calibration, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[padecast.Report] = []
    caplog.set_level("INFO", "padecast")
    with accelerate(pipe, [four, six], computed=3, otherwise="fora:every=2", on_run=reports.append):
        for steps in (6, 5, 4):
            sample(pipe, steps)
    assert [report.method for report in reports] == ["calibrated:3", "fora", "calibrated:3"]
    assert [record.getMessage().split(", ")[-1] for record in caplog.records] == [each.method for each in reports]


def test_a_plan_that_is_much_faster_than_wished_says_so(pipe: Any, six: Calibration) -> None:
    few = dataclasses.replace(six, choices={2: six.choices[2]})
    words = r"speedup=1\.5 takes 2 of 6 computed steps, which is 3x.*\n.*such as 4"
    with pytest.warns(PadecastWarning, match=words), accelerate(pipe, few, speedup=1.5):
        sample(pipe, 6)
    with accelerate(pipe, few, speedup=2.5):  # near enough: a warning would be an error here
        sample(pipe, 6)
