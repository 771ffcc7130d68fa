"""A loop by hand teaches a lesson, and the next one follows its plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests import samplers
from torch import Tensor

from padecast import Grid, PadecastWarning, Report, Session, rehearse
from padecast.forecasters import TCPade
from padecast.lessons import Identity, Library, Planner, Teacher
from padecast.policies import Always, Interval, Plan

SIGMAS = torch.linspace(1, 0, 21)
WHO = Identity("loop", guidance=3.0)


def run(session: Session, sampler: Any = samplers.euler, guides: bool = True, sigmas: Tensor = SIGMAS) -> Tensor:
    """Sample two branches whose outputs bend most at first."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 16, 16, generator=generator) / 4
    x = torch.randn(2, 16, generator=generator)

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        cond, uncond = (
            session.step(
                None,
                like=x,
                sigma=sigma,
                branch=name,
                compute=lambda weight=weight: torch.tanh(x @ weight + 4 * sigma[0] ** 3),
            )
            for name, weight in zip(("cond", "uncond"), weights, strict=True)
        )
        guided = uncond + 3 * (cond - uncond)
        return session.guide(guided) if guides else guided

    return sampler(model, x, sigmas)


@pytest.mark.parametrize("sampler", [samplers.euler, samplers.heun], ids=["euler", "heun"])
def test_a_session_teaches_and_the_next_follows_what_was_learnt(sampler: Any, tmp_path: Path) -> None:
    library, grid = Library(tmp_path), rehearse(sampler, SIGMAS).grid(output="image")
    exact = run(Session(Always(), TCPade(), grid=grid, observers=[Teacher.of(library, WHO, grid)]), sampler)
    lesson = Library(tmp_path).get(WHO)
    assert lesson is not None and (lesson.runs, lesson.samples) == (1, 2) and lesson.looks[0].kind == "guided"
    assert lesson.looks[0].noise.size == 16  # as the latents have it
    noise = grid.noise(16)
    plan = Planner.of(lesson, noise, objective="low").plans([8])[8].plan
    session = Session(plan, TCPade(), grid=grid)
    learnt = (run(session, sampler) - exact).norm()
    others = Session(Interval(every=3), TCPade(), grid=grid)
    regular = (run(others, sampler) - exact).norm()
    assert session.plan == plan.steps and plan.nfe == 8 == Report.of(others).computed
    assert 0 < learnt < regular


def test_without_guidance_a_run_teaches_when_its_teacher_is_closed() -> None:
    library, grid = Library(False), Grid(SIGMAS)
    teacher = Teacher.of(library, WHO, grid)
    run(Session(Always(), TCPade(), grid=grid, observers=[teacher]), guides=False)
    assert library.get(WHO) is None and teacher.is_open
    teacher.close()
    teacher.close()
    lesson = library.get(WHO)
    assert lesson is not None and lesson.runs == 1 and not teacher.is_open


def test_a_run_that_begins_in_the_middle_teaches_of_what_it_visits() -> None:
    library, grid = Library(False), Grid(SIGMAS, output="image")
    run(Session(Always(), TCPade(), grid=grid, observers=[Teacher.of(library, WHO, grid)]), sigmas=SIGMAS[8:])
    lesson = library.get(WHO)
    assert lesson is not None and lesson.looks[0].steps == 12
    assert lesson.looks[0].levels == pytest.approx(grid.noise(16).levels[8:20])


def test_a_run_that_showed_too_little_says_so() -> None:
    library, grid = Library(False), Grid(SIGMAS)
    teacher = Teacher.of(library, WHO, grid)
    with pytest.warns(PadecastWarning, match=r"taught nothing of loop(?s:.*)policies.Always"):
        run(Session(Plan("C" + "." * 19), TCPade(), grid=grid, observers=[teacher]))
    assert library.get(WHO) is None
    with pytest.warns(PadecastWarning, match="taught nothing"):
        Teacher.of(library, WHO, grid).close()
