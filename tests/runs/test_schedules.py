"""A step's place comes from the scheduler's grid and the model's timestep, never from counting calls."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from tests.representative import representative
from tests.tiny import (
    PLAN,
    STEPS,
    Loop,
    counted,
    dit_pipeline,
    flux_image_to_image,
    loop,
    sample_dit,
    sample_flux,
    sample_wan,
    wan_pipeline,
)
from torch import Tensor

from padecast import accelerate
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.policies import Always, Interval, Plan

# diffusers hands torch tensors to numpy in a dozen schedulers; nothing of ours is involved.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context"),
]
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}  # solvers of higher order divide rounding errors by small steps

SCHEDULERS = {
    "DDIM": {},  # knows no step index: the timestep is looked up
    "DDPM": {},
    "EulerDiscrete": {},
    "DPMSolverMultistep": {},
    "UniPCMultistep": {},
    "DEISMultistep": {},
    "HeunDiscrete": {},  # evaluates twice per step, at timesteps that repeat
    "KDPM2Discrete": {},  # evaluates twice per step, at timesteps between
    "FlowMatchEulerDiscrete": {},
    "FlowMatchHeunDiscrete": {},
}


DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def scheduler(name: str) -> Any:
    return getattr(diffusers, f"{name}Scheduler")(**SCHEDULERS[name])


def grid_of(name: str, steps: int = 6) -> int:
    made = scheduler(name)
    made.set_timesteps(steps)
    return len(made.timesteps)


@pytest.mark.parametrize("name", representative(SCHEDULERS, SCHEDULERS.keys() - {"DDPM", "DEISMultistep"}))
def test_every_evaluation_has_its_own_place(name: str) -> None:
    pipe, places = loop(scheduler(name)), grid_of(name)
    plan = ("CC." * places)[:places]
    torch.manual_seed(0)  # DDPM draws
    untouched = pipe(6)
    for policy, forecaster in ((Always(), Reuse()), (Plan(plan), Oracle()), (Plan(plan), Lagrange())):
        torch.manual_seed(0)
        with accelerate(pipe, policy=policy, forecaster=forecaster) as run, counted(pipe.transformer) as runs:
            image = pipe(6)
        if not isinstance(forecaster, Lagrange):
            torch.testing.assert_close(image, untouched, **ROUNDING)
        else:
            assert runs["transformer_blocks"] == 2 * plan.count("C")
        assert run.report.plan == ("C" * places if isinstance(policy, Always) else plan)
        assert [step.index for step in run.report.steps] == list(range(places))
        assert (run.report.notes, run.report.unplaced) == ({}, 0)


def test_second_order_solvers_evaluate_twice_per_step() -> None:
    assert [grid_of(name) for name in ("HeunDiscrete", "KDPM2Discrete", "FlowMatchHeunDiscrete")] == [11, 11, 11]


@pytest.mark.parametrize("kind", ["UniPCMultistep", "FlowMatchHeunDiscrete", "FlowMatchEulerDiscrete"])
def test_wan_with_other_solvers(kind: str) -> None:
    options = {"UniPCMultistep": {"prediction_type": "flow_prediction", "use_flow_sigmas": True}}.get(kind, {})
    pipe = wan_pipeline(scheduler=getattr(diffusers, f"{kind}Scheduler")(**options))
    untouched, places = sample_wan(pipe, 6), len(pipe.scheduler.timesteps)
    plan = ("CC." * places)[:places]
    with accelerate(pipe, policy=Plan(plan), forecaster=Oracle()) as run:
        torch.testing.assert_close(sample_wan(pipe, 6), untouched, **ROUNDING)
    assert run.report.plan == plan


@pytest.mark.parametrize("name", ["DDIM", "DPMSolverMultistep", "HeunDiscrete", "UniPCMultistep"])
def test_dit_with_other_solvers(name: str) -> None:
    pipe = dit_pipeline(scheduler=scheduler(name))
    untouched, places = sample_dit(pipe, 6), grid_of(name)
    plan = ("CC." * places)[:places]
    with accelerate(pipe, policy=Plan(plan), forecaster=Oracle()) as run:
        torch.testing.assert_close(sample_dit(pipe, 6), untouched, **ROUNDING)
    assert run.report.plan == plan


def test_steps_that_cannot_be_told_apart_are_computed_and_counted() -> None:
    """PNDM visits its second timestep twice and keeps no step index."""
    pipe = loop(diffusers.PNDMScheduler(skip_prk_steps=True))
    untouched = pipe(6)
    assert len(pipe.scheduler.timesteps) == 7
    with accelerate(pipe, policy=Plan("C......"), forecaster=Reuse()) as run, counted(pipe.transformer) as runs:
        forecast = pipe(6)
    assert run.report.plan == "C  ...."
    assert run.report.unplaced == 4
    assert "4 calls: computed because their place in the schedule is unknown" in str(run.report)
    assert runs["transformer_blocks"] == 2 * 3
    with accelerate(pipe, policy=Always(), forecaster=Reuse()):
        assert torch.equal(pipe(6), untouched)
    assert not torch.allclose(forecast, untouched)


class TestFromTheMiddle:
    def image_to_image(self, pipe: Any, strength: float) -> Tensor:
        picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(6))
        return sample_flux(pipe, image=picture, strength=strength, true_cfg_scale=3.0)

    @pytest.mark.parametrize(("strength", "plan"), [(1.0, "CC..C..C"), (0.5, "    C..C"), (0.75, "  C.C..C")])
    def test_strength(self, strength: float, plan: str) -> None:
        pipe = flux_image_to_image()
        untouched = self.image_to_image(pipe, strength)
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle()) as run:
            torch.testing.assert_close(self.image_to_image(pipe, strength), untouched)
        assert run.report.plan == plan
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run, counted(pipe.transformer) as runs:
            self.image_to_image(pipe, strength)
        assert run.report.plan == plan
        assert runs["transformer_blocks"] == 2 * plan.count("C")
        with accelerate(pipe, policy=Always(), forecaster=Reuse()):
            assert torch.equal(self.image_to_image(pipe, strength), untouched)

    @pytest.mark.parametrize("name", ["DPMSolverMultistep", "FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete"])
    def test_every_place_is_that_of_the_whole_grid(self, name: str) -> None:
        pipe, places = loop(scheduler(name)), grid_of(name)
        with accelerate(pipe, policy=Interval(every=2), forecaster=Reuse()) as run:
            pipe(6, start=3)
        assert [step.index for step in run.report.steps] == list(range(3, places))
        assert run.report.steps[0].computed


class TestWhatTheModelIsTold:
    @pytest.mark.parametrize("scale", [1.0, 1 / 1000])
    @pytest.mark.parametrize("dtype", representative(DTYPES, ["torch.float32", "torch.bfloat16"]))
    @pytest.mark.parametrize("name", ["DDIM", "FlowMatchEulerDiscrete", "DPMSolverMultistep"])
    def test_scaled_and_rounded_timesteps(self, name: str, dtype: torch.dtype, scale: float) -> None:
        pipe = loop(scheduler(name))
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
            pipe(scale=scale, dtype=dtype)
        assert run.report.plan == PLAN
        assert run.report.notes == {}

    def test_timesteps_of_another_kind(self) -> None:
        """A model that is told 1 - t/1000: the scheduler's step index leads."""
        pipe = loop(scheduler("FlowMatchEulerDiscrete"))
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
            pipe(scale=-1 / 1000)
        assert run.report.plan == PLAN
        assert run.report.unplaced == 0

    def test_a_loop_that_does_not_use_the_scheduler_to_step(self) -> None:
        pipe = loop(scheduler("FlowMatchEulerDiscrete"))
        with torch.no_grad(), accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
            x = torch.randn(1, 4, 8, 8)
            pipe.scheduler.set_timesteps(STEPS)
            pipe.scheduler.set_begin_index(0)
            for t in pipe.scheduler.timesteps:
                x = x - 0.1 * pipe.transformer(x, timestep=t.expand(1), class_labels=torch.tensor([3])).sample
        assert run.report.plan == PLAN

    def test_a_step_that_the_scheduler_does_not_know(self) -> None:
        """Calls by hand after the last step are no steps of the run."""
        pipe = loop(scheduler("FlowMatchEulerDiscrete"))
        x = torch.randn(1, 4, 8, 8)

        def extra() -> Tensor:
            with torch.no_grad():
                return pipe.transformer(x, timestep=torch.tensor([0.5]), class_labels=torch.tensor([3])).sample

        expected = extra()
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
            pipe()
            assert torch.equal(extra(), expected)
        assert (run.report.plan, run.report.unplaced) == (PLAN, 0)


def test_the_scheduler_may_be_swapped_between_runs() -> None:
    pipe = loop(scheduler("DDIM"))
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        for name in ("DDIM", "FlowMatchEulerDiscrete", "DPMSolverMultistep", "DDIM"):
            pipe.scheduler = scheduler(name)
            image = pipe()
            assert run.report.plan == PLAN
            fresh = Loop(pipe.transformer, scheduler(name))
            run.disable()
            with accelerate(fresh, policy=Plan(PLAN), forecaster=Lagrange()):
                assert torch.equal(fresh(), image)
            run.enable()
