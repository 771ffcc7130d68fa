"""Every branch of a step has its own history, and all of them share one decision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.tiny import PLAN, STEPS, counted, flux, flux_prompt, loop
from torch import Tensor

from padecast import Handle, accelerate
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.policies import Always, Plan

TIMES = torch.linspace(1.0, 0.1, STEPS)


def inputs() -> Tensor:
    """The model's input at every step: fixed, so that no branch acts on another through the sample."""
    walk = torch.randn(STEPS, 1, 6, 4, generator=torch.Generator().manual_seed(7))
    return 0.3 * walk.cumsum(0)


class Branches:
    """A FLUX transformer called by hand, once per branch and step."""

    def __init__(self, named: bool) -> None:
        self.model, self.named = flux(), named
        texts = torch.Generator().manual_seed(8)
        self.text = {name: torch.randn(1, 5, 8, generator=texts) for name in ("cond", "uncond", "image")}
        self.rest: dict[str, Any] = {
            "pooled_projections": flux_prompt()["pooled_prompt_embeds"],
            "img_ids": torch.zeros(6, 3),
            "txt_ids": torch.zeros(5, 3),
        }

    @contextlib.contextmanager
    def on(self, plan: str = PLAN, **options: Any) -> Iterator[Handle]:
        fixed = {"policy": Plan(plan), "forecaster": Lagrange()}
        with torch.no_grad(), accelerate(self.model, **{**fixed, **options}, steps=STEPS) as run:
            yield run

    def call(self, step: int, branch: str) -> Tensor:
        context = self.model.cache_context(branch) if self.named else contextlib.nullcontext()
        text = self.text[branch]
        with context, torch.no_grad():
            return self.model(inputs()[step], text, timestep=TIMES[step].expand(1), **self.rest).sample

    def run(self, *schedule: str) -> dict[str, list[Tensor]]:
        """Call the branches of every step in the order given, and return what each of them got."""
        got: dict[str, list[Tensor]] = {}
        for step, branches in enumerate(schedule):
            for branch in branches.split():
                got.setdefault(branch, []).append(self.call(step, branch))
        return got


def equal(one: list[Tensor], two: list[Tensor]) -> bool:
    return len(one) == len(two) and all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.fixture(params=[True, False], ids=["named", "unnamed"])
def branches(request: pytest.FixtureRequest) -> Branches:
    return Branches(named=request.param)


@pytest.mark.parametrize("names", ["cond uncond", "cond uncond image"])
def test_a_branch_gets_what_it_gets_alone(branches: Branches, names: str) -> None:
    with branches.on() as run:
        together = branches.run(*[names] * STEPS)
    assert run.report.plan == PLAN
    assert len(run.report.branches) == len(names.split())
    for name in names.split():
        with branches.on():
            alone = branches.run(*[name] * STEPS)[name]
        assert equal(together[name], alone)
    assert not torch.allclose(together["cond"][2], together["uncond"][2], atol=1e-3)


def test_one_decision_for_all_branches(branches: Branches) -> None:
    with branches.on() as run, counted(branches.model) as runs:
        branches.run(*["cond uncond image"] * STEPS)
    assert set(runs.values()) == {3 * PLAN.count("C")}
    assert len(run.report.steps) == STEPS


class TestGuidanceInterval:
    """The unconditional branch is there in steps 0 to 2, gone in 3 and 4, and back from step 5 on."""

    SCHEDULE = ["cond uncond"] * 3 + ["cond"] * 2 + ["cond uncond"] * 3
    PLAN = "CC.C...."

    def test_the_other_branch_does_not_notice(self, branches: Branches) -> None:
        with branches.on(self.PLAN):
            interval = branches.run(*self.SCHEDULE)
        with branches.on(self.PLAN):
            alone = branches.run(*["cond"] * STEPS)
        assert equal(interval["cond"], alone["cond"])

    def test_a_branch_that_missed_a_computed_step_is_computed_when_it_comes_back(self, branches: Branches) -> None:
        untouched = branches.run(*["uncond"] * STEPS)["uncond"]
        with branches.on(self.PLAN) as run, counted(branches.model) as runs:
            got = branches.run(*self.SCHEDULE)["uncond"]
        assert torch.equal(got[3], untouched[5])
        assert not torch.equal(got[4], untouched[6])
        assert run.report.plan == self.PLAN  # the step was forecast for the other branch
        assert set(runs.values()) == {3 + 2 + 1}
        assert list(run.report.notes) == [f"step 5, {'uncond' if branches.named else 'call 2'}"]
        assert "missed the last computed step" in str(run.report)

    def test_a_step_whose_first_branch_came_back_is_computed_whole(self) -> None:
        branches = Branches(named=True)
        with branches.on(self.PLAN) as run:
            branches.run(*["uncond cond"] * 3 + ["cond"] * 2 + ["uncond cond"] * 3)
        assert run.report.plan == "CC.C.C.."

    def test_in_a_pipeline(self) -> None:
        pipe, guided = loop(), lambda i: 2 <= i < 5
        untouched = pipe(guided=guided)
        with accelerate(pipe, policy=Always(), forecaster=Reuse()):
            assert torch.equal(pipe(guided=guided), untouched)
        with accelerate(pipe, policy=Plan("CC......"), forecaster=Oracle()):
            torch.testing.assert_close(pipe(guided=guided), untouched)
        with accelerate(pipe, policy=Plan("CC......"), forecaster=Reuse()) as run, counted(pipe.transformer) as runs:
            pipe(guided=guided)
        assert runs["transformer_blocks"] == 3  # the second branch appears in a forecast step, and is computed once
        assert run.report.notes == {"step 2, call 2": "computed because nothing was remembered for this branch"}


def test_without_names_the_second_call_at_a_timestep_is_the_second_branch() -> None:
    pipe = loop()
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        pipe()
    assert run.report.branches == ("call 1", "call 2")
    assert not hasattr(pipe.transformer, "cache_context")


def test_a_named_branch_that_comes_twice_in_a_step_is_computed() -> None:
    branches = Branches(named=True)
    expected = branches.call(2, "cond")
    with branches.on() as run:
        got = branches.run("cond", "cond", "cond cond", "cond")["cond"]
        assert torch.equal(got[3], expected)
    assert list(run.report.notes) == ["step 2, cond"]
