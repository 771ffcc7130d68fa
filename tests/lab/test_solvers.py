"""Fewer steps of better solvers: of the order that they say, evaluated as often, and to the same image."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from padecast._errors import InvalidOption, UnknownName
from padecast.lab import UNCACHED, Entry, Sampling, Task, compare, draw, psnr
from padecast.lab.origins import origin
from padecast.lab.solvers import SOLVERS, follow, swapped
from padecast.zoo.digits import DigitsPipeline

# DEIS of diffusers mixes tensors with NumPy's logarithm.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")
MEAN, WIDTH = 0.7, 0.4
BETTER = [name for name in SOLVERS if name != "euler"]


def width(level: float) -> float:
    """Standard deviation of the noisy latents of normally distributed data."""
    return math.hypot((1 - level) * WIDTH, level)


def velocity(x: torch.Tensor, level: float) -> torch.Tensor:
    """The exact velocity of normally distributed data, whose flow is ``(1 - s) m + width(s) z``."""
    slope = (level - (1 - level) * WIDTH**2) / width(level)
    return -MEAN + slope / width(level) * (x - (1 - level) * MEAN)


def err(name: str, steps: int, begin: float = 0.9) -> float:
    """Error of a solver against the closed form, from a level with signal on."""
    solver = follow(FlowMatchEulerDiscreteScheduler(), name)
    solver.set_timesteps(sigmas=[begin * (1 - i / steps) for i in range(steps)])
    z = torch.tensor([[-1.0, 0.5, 2.0]])
    x = (1 - begin) * MEAN + width(begin) * z
    for time in solver.timesteps:
        x = solver.step(velocity(x, float(time) / 1000), time, x, return_dict=False)[0]
    return float((x - (MEAN + WIDTH * z)).abs().max())


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_converges_at_its_order(name: str) -> None:
    ratio = err(name, 32) / err(name, 128)
    low, high = (3.0, 5.5) if name == "euler" else (6.0, 100.0)
    assert low < ratio < high, f"{name}: four times the steps divide the error by {ratio:.2f}"


@pytest.mark.parametrize("name", BETTER)
def test_a_solver_of_second_order_is_nearer_than_euler(name: str) -> None:
    assert err(name, 24) < err("euler", 24) / 2


@pytest.mark.parametrize(
    "own",
    [
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    ],
)
@pytest.mark.parametrize("name", SOLVERS)
def test_levels_are_those_of_the_other_scheduler_and_unrounded(name: str, own: Any) -> None:
    solver = follow(own, name)
    solver.set_timesteps(8)
    own.set_timesteps(8)
    levels = torch.unique_consecutive(solver.sigmas[:-1])
    torch.testing.assert_close(levels, own.sigmas[:-1].float().clamp_max(SOLVERS[name].highest))
    assert solver.sigmas[-1] == SOLVERS[name].lowest
    torch.testing.assert_close(torch.unique_consecutive(solver.timesteps), own.sigmas[:-1].float() * 1000)


@pytest.mark.parametrize(
    ("name", "wanted", "steps", "evaluations"),
    [
        *((name, n, n, n) for name in ("euler", "dpmpp", "unipc", "deis") for n in (1, 4)),
        *(("heun", n, (n + 1) // 2, n - (n + 1) % 2) for n in (1, 2, 5, 6)),
    ],
)
def test_the_model_is_evaluated_as_often_as_a_row_says(
    task: Task, name: str, wanted: int, steps: int, evaluations: int
) -> None:
    calls = []
    handle = task.pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    try:
        drawn = draw(task, Entry.of(f"fewer-steps:solver={name}", wanted=wanted), [0])
    finally:
        handle.remove()
    assert (drawn.nfe, len(calls), drawn.plan) == (evaluations, evaluations, "C" * evaluations)
    assert Entry.of(f"fewer-steps:solver={name}", wanted=wanted).steps == steps


@pytest.mark.parametrize("name", SOLVERS)
def test_all_solvers_find_the_image_of_many_euler_steps(task: Task, name: str) -> None:
    many = draw(task, dataclasses.replace(UNCACHED, steps=160), [0, 1]).images
    near = draw(task, Entry.of(f"fewer-steps:solver={name},steps=60"), [0, 1]).images
    few = draw(task, UNCACHED, [0, 1]).images
    assert float(psnr(near, many).min()) > max(33.0, float(psnr(few, many).min()) + 6)


def test_euler_is_the_pipelines_own_solver(task: Task) -> None:
    own = draw(task, Entry.fewer(5), [0, 1]).images
    torch.testing.assert_close(draw(task, Entry.of("fewer-steps:solver=euler", wanted=5), [0, 1]).images, own)


def test_a_pipeline_gets_its_own_solver_back(pipe: DigitsPipeline) -> None:
    before, shift = pipe.scheduler, pipe.scheduler.shift
    with swapped(pipe, "dpmpp"):
        assert type(pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    with pytest.raises(RuntimeError, match="middle"), swapped(pipe, "dpmpp"):
        raise RuntimeError("in the middle")
    assert pipe.scheduler is before and before.shift == shift


def test_a_pipeline_without_flow_is_a_row_that_says_why(task: Task) -> None:
    pipe = DigitsPipeline(task.pipe.transformer, DDIMScheduler())
    other = dataclasses.replace(task, pipe=pipe, call=Sampling(guidance=3.0))
    (refusal,) = compare(other, ["fewer-steps:solver=heun,steps=2"]).refusals
    assert "DDIMScheduler is no scheduler of flow matching" in refusal.why


@pytest.mark.parametrize(
    ("written", "error", "word"),
    [
        ("fewer-steps:solver=huen", UnknownName, "nearest is 'heun'"),
        ("fewer-steps:solvr=heun", UnknownName, "nearest is 'solver'"),
        ("fewer-steps:steps=0", InvalidOption, "steps='0'"),
        ("fewer-steps:steps=some", InvalidOption, "1 or more"),
    ],
)
def test_a_row_that_cannot_be_read_says_so(written: str, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        Entry.of(written)


def test_steps_and_evaluations_are_not_both_asked_for() -> None:
    with pytest.raises(InvalidOption, match="Leave steps= out"):
        Entry.of("fewer-steps:solver=heun,steps=4", wanted=8)


def test_a_row_is_written_so_that_it_can_be_repeated(task: Task) -> None:
    compared = compare(task, ["fewer-steps:solver=heun"], nfe=[5])
    row = compared.results[-1]
    assert (row.name, row.written, row.nfe) == ("fewer-steps:solver=heun", "fewer-steps:solver=heun,steps=3", 5)
    assert origin("digits", row.name) != origin("digits", "fewer-steps:solver=dpmpp")
