"""Computing every step changes nothing, forecasting saves what it says, and switching off leaves nothing behind."""

from __future__ import annotations

import pytest
import torch
from tests.representative import representative
from tests.tiny import FAMILIES, NFE, PLAN, STEPS, Family, counted, flux_pipeline, flux_prompt, footprint, sample_flux

from padecast import UnknownName, accelerate
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.policies import Always, Plan

DRAWN = Plan(PLAN)


@pytest.fixture(params=FAMILIES, ids=str)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


def test_computing_every_step_is_bit_identical(family: Family) -> None:
    pipe = family.make()
    untouched = family.sample(pipe)
    with accelerate(pipe, policy=Always(), forecaster=Lagrange()) as run:
        assert torch.equal(family.sample(pipe), untouched)
    assert (run.report.computed, run.report.forecast) == (STEPS, 0)


def test_a_plan_runs_the_blocks_as_often_as_it_says(family: Family) -> None:
    pipe = family.make()
    untouched = family.sample(pipe)
    with accelerate(pipe, policy=DRAWN, forecaster=Reuse()) as run, counted(pipe.transformer) as runs:
        forecast = family.sample(pipe)
    assert set(runs.values()) == {NFE * family.branches}
    assert run.report.plan == PLAN
    assert (run.report.computed, run.report.forecast) == (NFE, STEPS - NFE)
    assert len(run.report.branches) == family.branches
    assert not torch.allclose(forecast, untouched, atol=1e-2)


def test_replaying_the_true_residual_equals_the_untouched_model_but_for_rounding(family: Family) -> None:
    pipe = family.make()
    untouched = family.sample(pipe)
    with accelerate(pipe, policy=DRAWN, forecaster=Oracle()) as run:
        torch.testing.assert_close(family.sample(pipe), untouched)
    assert run.report.plan == PLAN


def test_nothing_is_left_behind(family: Family) -> None:
    pipe = family.make()
    untouched, before = family.sample(pipe), footprint(pipe.transformer)
    handle = accelerate(pipe, policy=DRAWN, forecaster=Reuse()).enable()
    assert footprint(pipe.transformer) != before
    family.sample(pipe)
    handle.disable()
    assert footprint(pipe.transformer) == before
    assert torch.equal(family.sample(pipe), untouched)


def test_half_precision(family: Family) -> None:
    pipe = family.make()
    pipe.to(dtype=torch.bfloat16)
    options = {name: value.bfloat16() for name, value in flux_prompt().items()} if family.name == "flux" else {}
    untouched = family.sample(pipe, **options)
    with accelerate(pipe, policy=Always(), forecaster=Reuse()):
        assert torch.equal(family.sample(pipe, **options), untouched)
    with accelerate(pipe, policy=DRAWN, forecaster=Reuse()) as run, counted(pipe.transformer) as runs:
        family.sample(pipe, **options)
    assert set(runs.values()) == {NFE * family.branches}
    assert run.report.plan == PLAN


@pytest.mark.parametrize("span", representative(["full", "double", "single"], ["double"]))
class TestFluxSpans:
    def test_computing_every_step_is_bit_identical(self, span: str) -> None:
        pipe = flux_pipeline()
        untouched = sample_flux(pipe)
        with accelerate(pipe, policy=Always(), forecaster=Reuse(), span=span):
            assert torch.equal(sample_flux(pipe), untouched)

    def test_replaying_equals_the_untouched_model(self, span: str) -> None:
        pipe = flux_pipeline()
        untouched = sample_flux(pipe)
        with accelerate(pipe, policy=DRAWN, forecaster=Oracle(), span=span) as run:
            torch.testing.assert_close(sample_flux(pipe), untouched)
        assert run.report.plan == PLAN

    def test_only_its_blocks_are_saved(self, span: str) -> None:
        pipe = flux_pipeline()
        with accelerate(pipe, policy=DRAWN, forecaster=Reuse(), span=span), counted(pipe.transformer) as runs:
            sample_flux(pipe)
        assert runs == {
            "transformer_blocks": 2 * (STEPS if span == "single" else NFE),
            "single_transformer_blocks": 2 * (STEPS if span == "double" else NFE),
        }

    def test_nothing_is_left_behind(self, span: str) -> None:
        pipe = flux_pipeline()
        before = footprint(pipe.transformer)
        accelerate(pipe, policy=DRAWN, forecaster=Reuse(), span=span).enable().disable()
        assert footprint(pipe.transformer) == before


def test_an_unknown_span_names_the_nearest_one() -> None:
    pipe = flux_pipeline()
    before = footprint(pipe.transformer)
    with pytest.raises(UnknownName, match="unknown span of FluxTransformer2DModel 'singel'; the nearest is 'single'"):
        accelerate(pipe, policy=DRAWN, forecaster=Reuse(), span="singel").enable()
    assert footprint(pipe.transformer) == before
