"""Weights fitted in closed loop, against images whose answers are known."""

from __future__ import annotations

import pytest
import torch
from tests.calibration.tiny import CASES, Case, Linear, call_digits, call_many, offsets_of
from tests.lab.tiny import digits
from tests.representative import representative
from torch import Tensor

from padecast.calibration import Refinement
from padecast.calibration.psnr import psnr
from padecast.calibration.refine import refine, stretches
from padecast.calibration.trials import Bench, Tape
from padecast.forecasters import Lagrange, Refined
from padecast.policies import Plan

PLAN = Plan("CC..C.C.")
LINE = Lagrange(1)
SEEDS = (0, 1, 2, 3)
LONG = Refinement(window=2, rounds=3, steps=12, enough=0.0)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def slots(plan: Plan, rows: int, window: int) -> int:
    return sum(rows * min(window, sum(i < run[0] for i in plan.indices)) for run in stretches(plan))


def test_offsets_that_make_up_for_everything_are_found() -> None:
    count = slots(PLAN, 2, 2)
    truth = 0.1 * random(count)
    answers = random(len(SEEDS), 30, count, seed=1)
    bench = Linear(None, lambda: None, SEEDS, base=-answers @ truth, answers=answers)
    refined = refine(bench, PLAN, LINE, SEEDS, parts=2, how=LONG)
    torch.testing.assert_close(offsets_of(PLAN, refined), truth, rtol=1e-2, atol=1e-3)
    assert refined.inner == LINE and refined.branches == ()


@pytest.mark.parametrize("rows", [1, 2])
def test_where_not_everything_can_be_made_up_for_the_least_squares_are_found(rows: int) -> None:
    count = slots(PLAN, rows, 2)
    answers, base = random(1, 30, count, seed=1), 0.1 * random(1, 30, seed=2)
    answers, base = answers.expand(4, -1, -1).contiguous(), base.expand(4, -1).contiguous()  # alike: one weight for all
    bench = Linear(None, lambda: None, SEEDS, base=base, answers=answers)
    refined = refine(bench, PLAN, LINE, SEEDS, parts=rows, how=LONG)
    best = torch.linalg.lstsq(answers[0], -base[0][:, None]).solution[:, 0]
    torch.testing.assert_close(offsets_of(PLAN, refined), best, rtol=5e-2, atol=2e-3)


def test_offsets_are_the_same_within_a_stretch_and_belong_to_their_branch() -> None:
    count = slots(PLAN, 2, 2)
    answers = random(len(SEEDS), 30, count, seed=1)
    bench = Linear(None, lambda: None, SEEDS, base=-answers @ (0.1 * random(count)), answers=answers)
    refined = refine(bench, PLAN, LINE, SEEDS, ("cond", "uncond"), 2, Refinement(window=2))
    table = dict(refined.offsets)
    assert sorted(table) == [2, 3, 5, 7] and table[2] == table[3] != table[5]
    assert all(len(rows) == 2 and len(rows[0]) == 2 for rows in table.values())
    assert refined.branches == ("cond", "uncond")


@pytest.mark.parametrize("window", [1, 3])
def test_only_residuals_that_exist_get_offsets(window: int) -> None:
    plan = Plan("C.C.CCC.")
    count = slots(plan, 1, window)
    answers = random(len(SEEDS), 30, count, seed=1)
    bench = Linear(None, lambda: None, SEEDS, base=-answers @ (0.1 * random(count)), answers=answers)
    refined = refine(bench, plan, LINE, SEEDS, how=Refinement(window=window))
    lengths = {step: len(rows[0]) for step, rows in refined.offsets}
    assert lengths == {1: 1, 3: min(window, 2), 7: window}


@pytest.mark.parametrize("bend", [0.0, 3.0, 300.0])
@pytest.mark.parametrize("seed", representative(range(3), "0"))
def test_it_is_never_worse_on_the_samples_that_it_was_fitted_to(bend: float, seed: int) -> None:
    count = slots(PLAN, 1, 2)
    answers, base = random(len(SEEDS), 30, count, seed=seed), 0.1 * random(len(SEEDS), 30, seed=seed + 50)
    bench = Linear(None, lambda: None, SEEDS, base=base, answers=answers, bend=bend)
    refined = refine(bench, PLAN, LINE, SEEDS, how=Refinement(window=2, rounds=2))
    before, after = (sum(bench.score(PLAN, rule, SEEDS, "")) for rule in (LINE, refined))
    assert after >= before
    assert after > before or bend == 300.0


def test_other_samples_are_never_looked_at() -> None:
    count = slots(PLAN, 1, 2)
    answers, base = random(6, 30, count), 0.1 * random(6, 30, seed=1)
    bench = Linear(None, lambda: None, tuple(range(6)), base=base, answers=answers)
    refine(bench, PLAN, LINE, (0, 2, 5), how=Refinement(window=2))
    assert {seed for seeds in bench.asked for seed in seeds} == {0, 2, 5}


@pytest.mark.parametrize("steps", ["CCCCCCCC", "C"])
def test_without_forecasts_there_is_nothing_to_fit(steps: str) -> None:
    bench = Linear(None, lambda: None, SEEDS, base=random(4, 9), answers=torch.zeros(4, 9, 1))
    assert refine(bench, Plan(steps), LINE, SEEDS) == Refined(LINE)


def test_an_answer_that_is_nothing_leaves_the_weights_alone() -> None:
    count = slots(PLAN, 1, 2)
    bench = Linear(None, lambda: None, SEEDS, base=random(4, 9), answers=torch.zeros(4, 9, count))
    refined = refine(bench, PLAN, LINE, SEEDS, how=Refinement(window=2))
    assert torch.equal(offsets_of(PLAN, refined), torch.zeros(0)) or not offsets_of(PLAN, refined).any()


def test_one_sample_is_enough() -> None:
    count = slots(PLAN, 1, 1)
    answers = random(1, 30, count)
    bench = Linear(None, lambda: None, (7,), base=-answers @ (0.1 * random(count, seed=1)), answers=answers)
    refined = refine(bench, PLAN, LINE, (7,), how=Refinement(window=1))
    assert bench.score(PLAN, refined, (7,), "")[0] > bench.score(PLAN, LINE, (7,), "")[0] + 10


@pytest.mark.parametrize(("span", "gain"), [("full", 0.5), ("output", 0.2)])
@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_in_the_sampler_it_helps_on_the_samples_that_it_was_fitted_to(case: Case, span: str, gain: float) -> None:
    plan, seeds = Plan("CC..C."), (0, 1)
    bench = Bench(case.make(), case.call, seeds, span=span)
    names = case.branches if case.name == "wan" else ()
    refined = refine(bench, plan, LINE, seeds, names, 2, Refinement(window=2, steps=2))
    before, after = (psnr(bench.reference(seeds), images(bench, plan, rule, seeds)) for rule in (LINE, refined))
    assert float(after.mean()) > float(before.mean()) + gain
    assert {len(rows) for _, rows in refined.offsets} == {2} and refined.branches == names


def images(bench: Bench, plan: Plan, rule: Lagrange | Refined, seeds: tuple[int, ...]) -> Tensor:
    return torch.cat([bench.image(plan, rule, (seed,), Tape()) for seed in seeds])


def test_seeds_in_batches_are_fitted_as_seeds_one_by_one() -> None:
    plan, how = Plan("CC..C."), Refinement(window=1, steps=1, difference=0.02)
    one = refine(Bench(digits(), call_digits, (0, 1)), plan, LINE, (0, 1), parts=2, how=how)
    both = refine(Bench(digits(), call_many, (0, 1), batch=2), plan, LINE, (0, 1), parts=2, how=how)
    torch.testing.assert_close(offsets_of(plan, both), offsets_of(plan, one), rtol=0.05, atol=1e-3)
