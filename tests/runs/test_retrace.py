"""Stretches of forecast steps are gone through again: as the formula says, on that scheduler alone, and no further."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import pytest
import torch
from tests.lab.tiny import digits
from tests.tiny import dit_pipeline, flux_pipeline, sample_dit, sample_flux
from torch import Tensor

from padecast import accelerate
from padecast._noise import noise_of
from padecast.forecasters import Lagrange, Reuse, TCPade
from padecast.forecasters.lagrange import lagrange_basis
from padecast.hooks.retrace import Retrace, suit
from padecast.methods import Method
from padecast.policies import Plan

pytestmark = pytest.mark.filterwarnings("ignore:__array_?.*:DeprecationWarning")  # of diffusers
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
SOLVERS: dict[str, Callable[[], Any]] = {
    "Euler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=0.5),
    "Heun": lambda: diffusers.FlowMatchHeunDiscreteScheduler(),
    "UniPC": lambda: diffusers.UniPCMultistepScheduler(**FLOW, flow_shift=0.5),
    "DPM++": lambda: diffusers.DPMSolverMultistepScheduler(**FLOW, flow_shift=0.5),
    "DEIS": lambda: diffusers.DEISMultistepScheduler(**FLOW, flow_shift=0.5),
}
every_solver = pytest.mark.parametrize("solver", SOLVERS)
PLAN = "CCC..C..C."


def method(plan: str = PLAN, forecaster: Any = None, retrace: bool = True) -> Method:
    """Repetition by default, so that what a stretch is gone through with is all that differs."""
    return Method("retraced", Plan(plan), forecaster or Reuse(), "for tests", span="output", retrace=retrace)


def sample(pipe: Any, steps: int = len(PLAN), **options: Any) -> Tensor:
    options = {"guidance_scale": 3.0, "generator": torch.Generator().manual_seed(0), "output_type": "pt", **options}
    images: Tensor = pipe([3, 7], num_inference_steps=steps, **options).images
    return images


def piped(solver: str = "Euler") -> Any:
    pipe = digits()
    pipe.scheduler = SOLVERS[solver]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents_after(pipe: Any, run: Method | None, steps: int = len(PLAN), **options: Any) -> list[Tensor]:
    """The latents after every step."""
    seen: list[Tensor] = []

    def note(_pipe: Any, _index: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(tensors["latents"])
        return tensors

    if run is None:
        sample(pipe, steps, callback_on_step_end=note, **options)
    else:
        with accelerate(pipe, run):
            sample(pipe, steps, callback_on_step_end=note, **options)
    return seen


def test_a_stretch_is_gone_through_as_the_formula_says() -> None:
    """By hand, under Euler: outputs at computed steps, interpolated ones between, from the latents before them."""
    pipe = piped()
    latents = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    seen = latents_after(pipe, method(), latents=latents, shift=0.5)
    conditions, levels = torch.tensor([3, 7, 10, 10]), pipe.scheduler.sigmas.tolist()
    noise = noise_of(pipe.scheduler, latents[0].numel())
    assert noise is not None and noise.roots is not None
    pipe._guidance_scale = 3.0
    x, outputs, start, known = latents, dict[int, Tensor](), latents, 0
    with torch.no_grad():
        for index, letter in enumerate(PLAN):
            if letter == "C":
                outputs[index] = pipe.velocity(x, pipe.scheduler.timesteps[index], conditions)
                if index - known > 1:
                    x, nodes = start, sorted(outputs)[-3:]
                    for j in range(known, index):
                        weights = lagrange_basis(tuple(noise.roots[k] for k in nodes), noise.roots[j]).tolist()
                        inner = sum(w * outputs[k] for w, k in zip(weights, nodes, strict=True))
                        inner = outputs[known] + len(PLAN) / (len(PLAN) + index - known) * (inner - outputs[known])
                        x = x + (levels[j + 1] - levels[j]) * (outputs.get(j, inner))
                start, known = x, index
            x = x + (levels[index + 1] - levels[index]) * outputs[known]
            torch.testing.assert_close(seen[index], x, rtol=1e-4, atol=1e-5)


@every_solver
def test_computing_every_step_changes_nothing(solver: str) -> None:
    pipe = piped(solver)
    untouched = sample(pipe, 6)
    total = len(pipe.scheduler.timesteps)
    with accelerate(pipe, method("C" * total)):
        assert torch.equal(sample(pipe, 6), untouched)
    assert torch.equal(sample(pipe, 6), untouched)


@every_solver
def test_interpolated_outputs_lead_closer_than_repeated_ones(solver: str) -> None:
    pipe = piped(solver)
    untouched = sample(pipe, 20)
    total = len(pipe.scheduler.timesteps)
    plan = "".join("C" if index < 3 or index % 3 == 0 or index == total - 1 else "." for index in range(total))
    apart = []
    for retrace in (True, False):
        with accelerate(pipe, method(plan, retrace=retrace)):
            apart.append(float((sample(pipe, 20) - untouched).square().mean()))
    assert apart[0] < 0.7 * apart[1], apart


@every_solver
def test_a_run_after_another_and_one_by_a_fresh_pipeline_are_the_same(solver: str) -> None:
    total = len(piped_timesteps(solver))
    plan = (PLAN * 3)[:total]
    with accelerate(piped(solver), method(plan)) as run:
        images = [sample(run.pipe) for _ in range(2)]
    with accelerate(piped(solver), method(plan)) as run:
        images.append(sample(run.pipe))
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])


def piped_timesteps(solver: str) -> Tensor:
    pipe = piped(solver)
    sample(pipe)
    timesteps: Tensor = pipe.scheduler.timesteps
    return timesteps


def test_nothing_is_left_on_the_scheduler() -> None:
    pipe = piped()
    before = set(vars(pipe.scheduler))
    with accelerate(pipe, method()):
        assert isinstance(vars(pipe.scheduler)["step"], object) and "step" in vars(pipe.scheduler)
        plain = copy.deepcopy(pipe.scheduler)
        assert "step" not in vars(plain) and "step" not in vars(pickle.loads(pickle.dumps(pipe.scheduler)))
        sample(pipe)
    assert "step" not in vars(pipe.scheduler) and before <= set(vars(pipe.scheduler))


def test_another_scheduler_is_gone_through_too() -> None:
    pipe = piped()
    with accelerate(pipe, method()):
        sample(pipe)
        first, pipe.scheduler = pipe.scheduler, SOLVERS["UniPC"]()
        changed = sample(pipe)
        assert "step" not in vars(first)
    with accelerate(piped("UniPC"), method()) as run:
        assert torch.equal(sample(run.pipe), changed)
    assert "step" not in vars(pipe.scheduler)


def test_latents_that_a_callback_changes_are_left_alone() -> None:
    def shift(_pipe: Any, _index: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"latents": tensors["latents"] + 0.01}

    pipe, images = piped(), []
    for retrace in (True, False):
        with accelerate(pipe, method(retrace=retrace)):
            images.append(sample(pipe, callback_on_step_end=shift))
    assert torch.equal(*images)


@pytest.mark.parametrize("where", [1, 4, 6])
def test_the_run_after_one_that_failed_is_a_fresh_one(where: int) -> None:
    def fail(_pipe: Any, index: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if index == where:
            raise RuntimeError("stop")
        return tensors

    pipe = piped("UniPC")
    with accelerate(pipe, method()):
        fresh = sample(pipe)
        with pytest.raises(RuntimeError, match="stop"):
            sample(pipe, callback_on_step_end=fail)
        assert torch.equal(sample(pipe), fresh)


def test_schedulers_that_draw_noise_get_repetition_and_no_second_way() -> None:
    pipe, images = piped(), []
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    for forecaster, retrace in ((TCPade(), True), (Reuse(), False)):
        with accelerate(pipe, method(forecaster=forecaster, retrace=retrace)):
            images.append(sample(pipe))
    assert torch.equal(*images)


@pytest.mark.parametrize("solver", ["UniPC", "DPM++", "DEIS"])
def test_that_steps_repeat_is_said_in_the_report(solver: str) -> None:
    with accelerate(piped(solver), "tc-pade:every=3,damping=2") as run:
        sample(run.pipe)
        (remark,) = run.report.remarks
        assert "forecast steps repeat" in remark and type(run.pipe.scheduler).__name__ in remark


def test_a_step_that_is_told_to_draw_noise_is_taken_once() -> None:
    """DDIM draws where its pipeline passes eta: going through a stretch again would draw anew."""
    images = []
    for retrace in (True, False):
        pipe = dit_pipeline()
        step = pipe.scheduler.step
        noisy = partial(step, eta=0.7, generator=torch.Generator().manual_seed(5))
        pipe.scheduler.step = lambda *args, noisy=noisy, **kwargs: noisy(*args, **kwargs)
        with accelerate(pipe, method(retrace=retrace)) as run:
            images.append(sample_dit(pipe, len(PLAN)))
            assert run.report.plan == PLAN
    assert torch.equal(*images)


def test_what_is_kept_for_going_through_again_is_counted() -> None:
    """Three outputs and the latents before the latest computed step, beside one remembered output of each branch."""
    sizes = []
    for retrace in (True, False):
        with accelerate(piped(), method(retrace=retrace), measure=False) as run:
            sample(run.pipe)
            sizes.append(run.report.history_bytes)
    latents = 2 * 16 * 16 * 4
    assert sizes[0] - sizes[1] == 4 * latents


def test_the_forecaster_goes_with_the_solver() -> None:
    euler, unipc = SOLVERS["Euler"](), SOLVERS["UniPC"]()
    assert suit(TCPade(damping=2.0), euler, retraced=True) == TCPade(feedback=0.0, damping=2.0)
    assert suit(TCPade(), euler, retraced=False) == TCPade()
    assert suit(TCPade(), unipc, retraced=True) == Reuse()
    for other in (Lagrange(), TCPade(form="published")):
        assert suit(other, unipc, retraced=True) == other


def test_methods_of_others_are_not_gone_through_again() -> None:
    pipe = piped()
    with accelerate(pipe, "fora:every=3,span=output"):
        assert "step" not in vars(pipe.scheduler)


def test_in_a_pipeline_of_diffusers_with_separate_guidance() -> None:
    pipe = flux_pipeline()
    untouched, apart = sample_flux(pipe, 12), []
    plan = "CCC..C..C..C"
    for retrace in (True, False):
        with accelerate(pipe, method(plan, retrace=retrace)) as run:
            apart.append(float((sample_flux(pipe, 12) - untouched).square().mean()))
            assert run.report.plan == plan and len(run.report.branches) == 2
    assert apart[0] < apart[1]


def test_it_needs_a_step_that_takes_an_output_a_timestep_and_latents() -> None:
    class Odd:
        timesteps = torch.tensor([2.0, 1.0])

        def step(self, output: Tensor) -> Tensor:
            return output

    pipe = type("Pipe", (), {"scheduler": Odd()})()
    retrace = Retrace(pipe, type("Switch", (), {"on": True})()).install()
    assert torch.equal(pipe.scheduler.step(torch.ones(1)), torch.ones(1))
    retrace.remove()
    assert "step" not in vars(pipe.scheduler)


def test_that_no_noise_levels_are_known_is_said_in_the_report() -> None:
    """Steps count by their index then."""
    pipe = piped()
    with accelerate(pipe, "tc-pade:every=3") as run:
        sample(pipe)
        assert run.report.remarks == ()
    with accelerate(pipe.transformer, "tc-pade:every=3", steps=6) as bare:
        for t in (900.0, 700.0, 500.0, 300.0, 100.0, 50.0):
            with torch.no_grad():
                pipe.transformer(torch.zeros(1, 1, 16, 16), timestep=torch.tensor([t]), class_labels=torch.tensor([1]))
        assert bare.report.remarks[0] == "steps count by their index: there is no scheduler"
        assert "note: steps count by their index" in str(bare.report)
