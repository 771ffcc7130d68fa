"""Gains that are measured by errors: against a sampler whose response is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor, nn

from padecast import AlreadyAccelerated, DamagedFile, InvalidOption, accelerate, measure_gains
from padecast._noise import Noise
from padecast.handles.learning import library_of
from padecast.lessons import Gains, Identity, Lesson, Library, Planner
from padecast.lessons.analytic import make_look, make_noise
from padecast.lessons.cost import gains_of
from padecast.lessons.display import lines

pytestmark = pytest.mark.filterwarnings("ignore:__array_?.*:DeprecationWarning")  # of diffusers
WHO = Identity("DiT")
PULL = 0.7
"""The model's output is so many times the latents, and a wave of time besides."""


class Pipe:
    """A loop over a linear model, with a batch of two samples of 64 numbers."""

    def __init__(self, scheduler: Any = None) -> None:
        self.transformer, self.calls = nn.Linear(1, 1), 0
        self.scheduler = scheduler or FlowMatchEulerDiscreteScheduler()

    def __call__(
        self,
        seed: int | None = 0,
        steps: int = 8,
        wave: float = 1.0,
        between: Callable[[int], None] = lambda step: None,
    ) -> Tensor:
        self.calls += 1
        self.scheduler.set_timesteps(steps)
        generator = torch.Generator().manual_seed(self.calls if seed is None else seed)
        x = torch.randn(2, 64, generator=generator, dtype=torch.float64)
        for step, t in enumerate(self.scheduler.timesteps):
            output = PULL * x + wave * torch.sin(t / 300)
            x = self.scheduler.step(output, t, x, return_dict=False)[0].double()
            between(step)
        return x


def call(pipe: Pipe, seed: int) -> Tensor:
    return pipe(seed)


def solve(steps: int) -> tuple[Any, Noise]:
    """Return the gains in closed form, and the noise: an error is scaled by every step behind it."""
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(steps)
    sigmas = scheduler.sigmas.double().numpy()
    strides = np.diff(sigmas)
    behind = np.cumprod((1 + PULL * strides)[::-1])[::-1]
    values = np.abs(strides) * np.append(behind[1:], 1.0)
    return values, Noise(tuple(1 - sigmas), tuple(sigmas), 64.0, tuple(sigmas[:-1]))


def test_gains_are_those_of_a_linear_response() -> None:
    pipe, (expected, _) = Pipe(), solve(8)
    every = measure_gains(pipe, call, pushes=7, lessons=False)
    np.testing.assert_allclose(every.values[1:], expected[1:], rtol=1e-4)
    assert pipe.calls == 8
    few = measure_gains(pipe, call, pushes=3, lessons=False)
    np.testing.assert_allclose(np.array(few.values)[[1, 4, 7]], expected[[1, 4, 7]], rtol=1e-4)
    np.testing.assert_allclose(few.values[1:], expected[1:], rtol=0.25)
    assert measure_gains(pipe, call, pushes=1, lessons=False).values[1] == pytest.approx(expected[1], rel=1e-4)


def test_nothing_is_changed_by_the_measurement() -> None:
    pipe = Pipe()
    before, held = call(pipe, 3), set(vars(pipe.scheduler))
    first = measure_gains(pipe, call, lessons=False)
    assert torch.equal(call(pipe, 3), before) and set(vars(pipe.scheduler)) == held
    assert measure_gains(pipe, call, lessons=False) == first


def test_a_solver_with_a_history_answers_through_it() -> None:
    pipe = Pipe(UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True))
    gains = measure_gains(pipe, call, lessons=False)
    assert len(gains.values) == 8 and min(gains.values) > 0


def test_gains_are_read_at_other_step_counts() -> None:
    gains = measure_gains(Pipe(), call, pushes=7, lessons=False)
    for steps in (5, 20):
        expected, noise = solve(steps)
        ratio = np.log(gains.at(noise)[1:-1] / expected[1:-1])
        assert np.ptp(ratio) < 0.35 * np.ptp(np.log(gains_of(noise)[1:-1] / expected[1:-1]))


def test_at_their_own_grid_gains_have_the_scale_of_the_formula() -> None:
    noise = make_noise(12)
    gains = Gains.between(noise, {1: 0.5, 6: 0.02, 11: 0.01})
    read = gains.at(noise)
    np.testing.assert_allclose(read / gains.values, read[0] / gains.values[0])
    assert np.log(read / gains_of(noise)).mean() == pytest.approx(0.0, abs=1e-12)
    assert np.array(gains.values)[[1, 6, 11]] == pytest.approx([0.5, 0.02, 0.01])


def test_after_an_error_in_the_call_nothing_is_left_behind(tmp_path: Path) -> None:
    pipe, library = Pipe(), Library(tmp_path)
    pipe()
    held = set(vars(pipe.scheduler))

    def fail(step: int) -> None:
        if pipe.calls == 4 and step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_gains(pipe, lambda pipe, seed: pipe(seed, between=fail), lessons=library)
    assert set(vars(pipe.scheduler)) == held and library.list() == []
    assert len(measure_gains(pipe, call, lessons=library).values) == 8


class Mute:
    """Tells no noise levels."""

    def set_timesteps(self, steps: int) -> None:
        self.timesteps = torch.linspace(900, 100, steps)

    def step(self, output: Tensor, timestep: Any, sample: Tensor, **options: Any) -> tuple[Tensor]:
        return (sample - 0.1 * output,)


@pytest.mark.parametrize(
    ("scheduler", "draw", "message"),
    [
        (
            FlowMatchEulerDiscreteScheduler,
            lambda pipe, seed: pipe(None),
            r"two calls do not draw the same image[\s\S]*no seed",
        ),
        (
            FlowMatchEulerDiscreteScheduler,
            lambda pipe, seed: pipe(seed, steps=7 + (pipe.calls == 0)),
            "two calls do not draw the same image",
        ),
        (
            FlowMatchEulerDiscreteScheduler,
            lambda pipe, seed: pipe(seed) + pipe(seed),
            r"took 16 steps[\s\S]*draws several times",
        ),
        (FlowMatchEulerDiscreteScheduler, lambda pipe, seed: pipe(seed, steps=1), "took 1 steps"),
        (FlowMatchEulerDiscreteScheduler, lambda pipe, seed: None, r"took 0 steps[\s\S]*new scheduler"),
        (FlowMatchEulerDiscreteScheduler, lambda pipe, seed: pipe(seed, wave=float("nan")), "has a gain of nan"),
        (EulerAncestralDiscreteScheduler, call, "draws noise at its steps"),
        (FlowMatchHeunDiscreteScheduler, call, "has noise levels that do not fall"),
        (Mute, call, "tells no noise levels"),
        (SimpleNamespace, lambda pipe, seed: None, "took 0 steps"),
    ],
    ids=["no seed", "other steps", "twice", "one step", "nothing", "nan", "random", "heun", "mute", "no schedule"],
)
def test_what_cannot_be_measured_is_refused_in_words(scheduler: Any, draw: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        measure_gains(Pipe(scheduler()), draw, lessons=False)


def test_options_are_checked() -> None:
    with pytest.raises(InvalidOption, match="pushes=0 is out of range"):
        measure_gains(Pipe(), call, pushes=0)
    with pytest.raises(InvalidOption, match="tells no noise levels"):
        measure_gains(nn.Linear(1, 1), call)


# What a lesson does with them ----------------------------------------------------------------------------------------


def make_gains(steps: int = 12, power: float = 1.0) -> Gains:
    noise = make_noise(steps)
    levels = np.array(noise.levels[:-1])
    return Gains.between(noise, dict(enumerate((gains_of(noise) * levels**power).tolist())))


def test_gains_are_kept_in_the_file_of_a_lesson(tmp_path: Path) -> None:
    gains = make_gains()
    lesson = Lesson(WHO, (make_look(12),), gains)
    assert Lesson.load(lesson.save(tmp_path / "a.json")).gains == gains
    assert Lesson.from_dict(Lesson(WHO, (make_look(12),)).to_dict()).gains is None
    assert "gains" not in Lesson(WHO).to_dict()
    assert "gains measured at 12 steps" in lines(lesson)[-1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"levels": [0.9]}, "steps of gains.levels is 1"),
        ({"levels": [0.5] * 12}, "gains.levels do not fall"),
        ({"levels": [2.0] * 12}, "where 0 to 1 are possible"),
        ({"values": [1.0]}, "gains.values has 1 values, not 12"),
        ({"ratios": [0.0] * 12}, "gains.ratios is 0"),
        ({"ratios": [float("inf")] * 12}, "gains.ratios holds inf"),
        ({"values": "x"}, "gains.values is str"),
    ],
)
def test_damaged_gains_are_refused_by_their_place(fields: dict[str, Any], message: str) -> None:
    document = Lesson(WHO, (make_look(12),), make_gains()).to_dict()
    document["gains"].update(fields)
    with pytest.raises(DamagedFile, match=message):
        Lesson.from_dict(document)


@pytest.mark.parametrize("part", [None, [], "x", {}])
def test_what_is_no_table_of_gains_is_refused(part: Any) -> None:
    with pytest.raises(DamagedFile, match=r"gains.levels is missing"):
        Lesson.from_dict({**Lesson(WHO).to_dict(), "gains": part})


def test_the_newer_gains_stay_when_lessons_add_up() -> None:
    old, new, none = (Lesson(WHO, (), gains) for gains in (make_gains(8), make_gains(12), None))
    assert (old + new).gains == new.gains and (old + none).gains == old.gains == (none + old).gains
    assert old.add(make_look(8)).gains == old.gains
    assert old.unite(new).gains == old.gains and none.unite(new).gains == new.gains


def test_a_planner_counts_errors_by_measured_gains() -> None:
    look, gains = make_look(12), make_gains(20)
    lesson, noise, steps = Lesson(WHO, (look,), gains), look.noise, (0, 1, 4, 8)
    plain = Planner.of(Lesson(WHO, (look,)), noise)
    measured = Planner(look.singles, noise, gains=gains.at(noise))
    assert Planner.of(lesson, noise).cost(steps) == pytest.approx(measured.cost(steps))
    assert Planner.of(lesson, noise).cost(steps) != pytest.approx(plain.cost(steps))
    assert Planner.of(lesson, noise, gains=gains_of(noise)).cost(steps) == pytest.approx(plain.cost(steps))


def test_plans_are_made_anew_once_gains_are_measured() -> None:
    library = Library(False)
    lesson = library.add(WHO, make_look(12))
    assert library.plan(lesson, "wish", lambda: 1) == library.plan(lesson, "wish", lambda: 2) == 1
    assert library.plan(library.keep(WHO, make_gains()), "wish", lambda: 3) == 3
    assert library.get(WHO) is not None and library.show(WHO.key).looks == lesson.looks


def test_a_method_that_learns_uses_what_was_measured() -> None:
    from tests.lab.tiny import digits

    library_of.cache_clear()
    pipe, library = digits(0), Library(False)
    pipe.set_progress_bar_config(disable=True)

    def draw(pipe: Any, seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return pipe([3], num_inference_steps=8, guidance_scale=3.0, generator=generator, output_type="pt").images

    untouched = draw(pipe, 0)
    measure_gains(pipe, draw, pushes=2, lessons=library)
    with accelerate(pipe, "learned", computed=4, lessons=library) as run:
        assert torch.equal(draw(pipe, 0), untouched)
        assert any("nothing was known" in remark for remark in run.report.remarks), "gains alone are no lesson"
        draw(pipe, 1)
        assert run.report.computed == 4
        assert any("errors count by gains measured at 8 steps" in remark for remark in run.report.remarks)
        with pytest.raises(AlreadyAccelerated):
            measure_gains(pipe, draw, lessons=library)
    assert len(library.list()) == 1, "one setting, one lesson"
