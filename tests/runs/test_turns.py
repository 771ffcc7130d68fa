"""Several loops on one transformer: each gets what it gets alone, and what is not the accelerated run is left alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import diffusers
import pytest
import torch
from tests.representative import representative
from tests.tiny import PLAN, STEPS, Loop, dit, loop
from torch import Tensor

from padecast import accelerate
from padecast.forecasters import Lagrange, Reuse
from padecast.policies import Plan

pytestmark = [
    pytest.mark.fault("other loops"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context"),
]
SCHEDULERS = ("FlowMatchEulerDiscrete", "EulerDiscrete", "DPMSolverMultistep", "UniPCMultistep", "DEISMultistep", "LCM")
WITHOUT_INDEX = ("DDIM", "DDPM", "PNDM", "CogVideoXDDIM")


def scheduler(name: str) -> Any:
    return getattr(diffusers, f"{name}Scheduler")()


def request(model: Any, sampler: Any, label: int, steps: int = STEPS) -> Iterator[Tensor]:
    """A loop by hand over a model and a scheduler, step by step."""
    sampler.set_timesteps(steps)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(label))
    draws = torch.Generator().manual_seed(label)
    for t in sampler.timesteps:
        given = sampler.scale_model_input(x, t) if hasattr(sampler, "scale_model_input") else x
        with torch.no_grad():
            guess = model(given, timestep=t.expand(1), class_labels=torch.tensor([label])).sample
        noise = {"generator": draws} if "generator" in sampler.step.__code__.co_varnames else {}
        x = sampler.step(guess, t, x, **noise).prev_sample
        yield x


def last(steps: Iterator[Tensor]) -> Tensor:
    return list(steps)[-1]


def by_turns(requests: dict[str, Iterator[Tensor]], order: random.Random) -> dict[str, Tensor]:
    images: dict[str, Tensor] = {}
    while requests:
        name = order.choice(list(requests))
        image = next(requests[name], None)
        if image is None:
            del requests[name]
        else:
            images[name] = image
    return images


class TestLoopsWithSchedulersOfTheirOwn:
    """One of two requests is accelerated; the loops over the other's scheduler are nobody's."""

    @pytest.mark.parametrize("seed", representative(range(3), "0"))
    @pytest.mark.parametrize("name", SCHEDULERS)
    def test_by_turns(self, name: str, seed: int) -> None:
        model = dit()
        fast, other = Loop(model, scheduler(name)), scheduler(name)
        plain = last(request(model, other, 7))
        drawn = {"policy": Plan(PLAN), "forecaster": Reuse()}
        with accelerate(fast, **drawn) as run:
            alone = last(request(model, fast.scheduler, 3))
            assert run.report.plan == PLAN
        with accelerate(fast, **drawn) as run:
            first = request(model, fast.scheduler, 3)
            next(first)
            images = by_turns({"fast": first, "other": request(model, other, 7)}, random.Random(seed))
            assert run.report.plan == PLAN
        assert torch.equal(images["other"], plain)
        assert torch.equal(images["fast"], alone)

    @pytest.mark.parametrize("name", SCHEDULERS + WITHOUT_INDEX)
    @pytest.mark.parametrize("plan", representative([PLAN, "CC.C"], [PLAN]), ids=["fits", "of another length"])
    def test_a_loop_by_hand_after_the_pipelines_run(self, name: str, plan: str) -> None:
        pipe, other = loop(scheduler(name)), scheduler(name)
        untouched = last(request(pipe.transformer, other, 7))
        torch.manual_seed(0)
        pipe()
        with accelerate(pipe, policy=Plan(plan), forecaster=Reuse()) as run:
            for _ in range(2):
                assert torch.equal(last(request(pipe.transformer, other, 7)), untouched)
        assert run.report.forecast == 0

    @pytest.mark.parametrize("name", ["FlowMatchEulerDiscrete", "DDIM", "DPMSolverMultistep"])
    def test_losses_by_hand_leave_the_report_alone(self, name: str) -> None:
        pipe = loop(scheduler(name))
        times = random.Random(0).choices(range(1000), k=20)

        def losses() -> list[Tensor]:
            with torch.no_grad():
                ones, label = torch.ones(1, 4, 8, 8), torch.tensor([3])
                return [pipe.transformer(ones, torch.tensor([t]), label).sample for t in times]

        untouched = losses()
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
            image = pipe()
            assert all(torch.equal(a, b) for a, b in zip(losses(), untouched, strict=True))
            assert run.report.plan == PLAN
            assert torch.equal(pipe(), image)

    @pytest.mark.parametrize("name", ["FlowMatchEulerDiscrete", "EulerDiscrete", "DPMSolverMultistep"])
    def test_a_loop_by_hand_between_two_steps_of_a_run(self, name: str) -> None:
        """As a callback that draws a preview with the same transformer."""
        pipe, inner = loop(scheduler(name)), scheduler(name)
        untouched = last(request(pipe.transformer, inner, 7, steps=5))
        drawn = {"policy": Plan(PLAN), "forecaster": Lagrange()}
        with accelerate(pipe, **drawn):
            alone = pipe()

        def preview(step: int) -> None:
            if step == 3:
                assert torch.equal(last(request(pipe.transformer, inner, 7, steps=5)), untouched)

        with accelerate(pipe, **drawn) as run:
            assert torch.equal(pipe(between=preview), alone)
        assert run.report.plan == PLAN


class TestRequestsOnABareTransformer:
    """Several requests take turns; nobody says which is which but what they are conditioned on."""

    TIMES = tuple(range(960, 0, -120))

    def request(self, model: Any, label: int, guided: bool = False) -> Iterator[Tensor]:
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(label))
        for t in self.TIMES:
            with torch.no_grad():
                guess = model(x, torch.tensor([t]), torch.tensor([label])).sample
                if guided:
                    guess = 2 * guess - model(x, torch.tensor([t]), torch.tensor([900 + label])).sample
            x = x - 0.1 * guess
            yield x

    @pytest.mark.parametrize("seed", representative(range(6), "01"))
    @pytest.mark.parametrize(
        ("labels", "guided"),
        [pytest.param((3, 700), False, marks=pytest.mark.slow), ((3, 5, 7), False), ((3, 7), True)],
        ids=str,
    )
    def test_none_gets_a_forecast_from_anothers_residuals(self, labels: Any, guided: bool, seed: int) -> None:
        model = dit()
        settings = {"policy": Plan("CC..C.CC"), "forecaster": Lagrange(), "steps": len(self.TIMES)}
        exact = {label: last(self.request(model, label, guided)) for label in labels}
        with accelerate(model, **settings):
            alone = {label: last(self.request(model, label, guided)) for label in labels}
        with accelerate(model, **settings):
            requests = {str(label): self.request(model, label, guided) for label in labels}
            images = by_turns(requests, random.Random(seed))
        for label in labels:
            assert (images[str(label)] - exact[label]).norm() <= 2 * (alone[label] - exact[label]).norm()

    def test_one_after_the_other_they_are_what_they_are_alone(self) -> None:
        model = dit()
        settings = {"policy": Plan("CC..C.CC"), "forecaster": Lagrange(), "steps": len(self.TIMES)}
        alone = {}
        for label in (3, 7):
            with accelerate(model, **settings):
                alone[label] = last(self.request(model, label))
        with accelerate(model, **settings) as run:
            for label in (3, 7, 3):
                assert torch.equal(last(self.request(model, label)), alone[label])
                assert run.report.plan == "CC..C.CC"

    def test_a_request_that_was_given_up_holds_back_no_other(self) -> None:
        model = dit()
        settings = {"policy": Plan("CC..C.CC"), "forecaster": Lagrange(), "steps": len(self.TIMES)}
        with accelerate(model, **settings) as run:
            for label in range(10):
                left = self.request(model, label)
                next(left), next(left), next(left)
            last(self.request(model, 11))
            assert run.report.plan == "CC..C.CC"


@pytest.mark.parametrize("name", ["FlowMatchEulerDiscrete", "DDIM", "UniPCMultistep"])
def test_a_loop_by_hand_over_the_pipelines_scheduler_is_accelerated(name: str) -> None:
    pipe = loop(scheduler(name))
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
        for _ in range(2):
            last(request(pipe.transformer, pipe.scheduler, 3))
            assert run.report.plan == PLAN


def test_a_schedule_that_was_set_before_is_followed_once_the_scheduler_steps() -> None:
    pipe = loop()
    pipe.scheduler.set_timesteps(STEPS)
    x = torch.ones(1, 4, 8, 8)
    with torch.no_grad(), accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
        for t in pipe.scheduler.timesteps:
            guess = pipe.transformer(x, t.expand(1), torch.tensor([3])).sample
            x = pipe.scheduler.step(guess, t, x).prev_sample
        assert run.report.plan == PLAN


def test_a_copy_of_the_scheduler_does_not_move_the_run() -> None:
    pipe = loop()
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()):
        alone = pipe()

        def step_copy(_: int) -> None:
            other = copy.deepcopy(pipe.scheduler)
            if other.step_index < STEPS:
                other.step(torch.zeros(1, 4, 8, 8), other.timesteps[other.step_index], torch.zeros(1, 4, 8, 8))

        assert torch.equal(pipe(between=step_copy), alone)
