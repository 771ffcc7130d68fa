"""The field of candidates, and who wins: judged on samples that nothing was fitted to."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.calibration.tiny import FITTING, QUICK, Linear, call_dit, call_wan
from tests.tiny import dit_pipeline, wan_pipeline

from padecast.calibration import Candidate, Effort, Refinement, Statistic, allowance, calibrate
from padecast.calibration import proposals as proposals_module
from padecast.calibration.candidate import names
from padecast.calibration.choice import Choice, choose, split
from padecast.calibration.proposals import RULES, adaptive_plans, neighbours, proposals
from padecast.calibration.trials import Bench
from padecast.forecasters import Forecaster, Lagrange, Refined, Wiener
from padecast.lessons import Planner
from padecast.lessons.field import list_plans
from padecast.policies import Plan, Tolerance

STEPS = 8
STRIDES = [1 / STEPS] * STEPS
SEEDS = tuple(range(9))


def statistic(branches: tuple[str, ...] = ("cond", "uncond")) -> Statistic:
    total = STEPS * len(branches)
    rows = torch.randn(total, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).cumsum(0) + 3
    joint = rows @ rows.T / 40
    return Statistic(branches, 1, joint, joint[:STEPS, :STEPS] * 2, torch.ones(len(branches)).double())


@dataclass
class Field(Linear):
    """Gives every candidate a score from its plan and rule, and notes who was asked about what."""

    trials: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    luck: dict[str, float] = field(default_factory=dict)

    def score(
        self, plan: Plan, forecaster: Forecaster, seeds: Sequence[int], key: str, retrace: bool = False
    ) -> list[float]:
        self.trials.append((key, tuple(seeds)))
        worth = sum(i * i for i in plan.indices) % 17 + len(key.split()[1]) / 50
        return [worth + 0.3 * ((seed * 7) % 5) + self.luck.get(key, 0.0) for seed in seeds]


def field_of() -> Field:
    count = 60
    base = 0.1 * torch.randn(len(SEEDS), 20, generator=torch.Generator().manual_seed(1))
    answers = torch.randn(len(SEEDS), 20, count, generator=torch.Generator().manual_seed(2))
    bench = Field(None, lambda: None, SEEDS, base=base, answers=answers)
    bench.fit_saved = bench.fitted.__setitem__
    return bench


@given(st.lists(st.integers(0, 999), min_size=1, max_size=40, unique=True))
def test_seeds_are_parted_into_two_thirds_and_one(seeds: list[int]) -> None:
    fit, held = split(seeds)
    assert sorted([*fit, *held]) == sorted(seeds) and len(held) == len(seeds) // 3 and fit


@given(st.lists(st.sampled_from("C."), min_size=1, max_size=9).map(lambda rest: "C" + "".join(rest)))
def test_neighbours_have_one_computed_step_elsewhere(plan: str) -> None:
    found = neighbours(plan)
    assert len(set(found)) == len(found)
    pairs = [i for i in range(1, len(plan) - 1) if plan[i] != plan[i + 1]]
    assert len(found) == len(pairs)
    for near in found:
        differing = [i for i, (a, b) in enumerate(zip(near, plan, strict=True)) if a != b]
        assert len(differing) == 2 and differing[1] == differing[0] + 1
        assert near[0] == "C" and near.count("C") == plan.count("C")


def test_proposals_are_distinct_of_the_right_size_and_hold_even_and_known_plans() -> None:
    known = ["C......C", "CCCCCCC.", "C.C.C..C"]
    found = proposals(statistic(), STRIDES, [2, 4], known)
    assert sorted(found) == [2, 4]
    for budget, plans in found.items():
        assert len(set(plans)) == len(plans) >= 3
        assert all(p.count("C") == budget and len(p) == STEPS and p[0] == "C" for p in plans)
    assert "C......C" in found[2] and "C..C..CC" in found[4]  # as the interval policy has them
    assert "C.C.C..C" in found[4] and "CCCCCCC." not in found[4]


def test_all_matrices_propose() -> None:
    known, budgets = statistic(("call 1",)), range(2, 6)
    early = torch.tensor([[4.0 ** -max(i, j) for i in range(STEPS)] for j in range(STEPS)]).double()
    blind = proposals(replace(known, output=torch.zeros_like(early)), STRIDES, budgets)
    seeing = proposals(replace(known, output=early), STRIDES, budgets)
    assert all(set(blind[budget]) <= set(seeing[budget]) for budget in budgets)
    assert sum(map(len, seeing.values())) > sum(map(len, blind.values()))


@pytest.mark.parametrize(
    ("branches", "named"),
    [
        (("cond", "uncond"), ("cond", "uncond")),
        (("call 1",), ()),
        (("call 1 part 1", "call 1 part 2"), ()),
        (("call 1", "call 2"), ("call 1", "call 2")),
    ],
)
def test_branches_that_share_a_batch_have_no_names(branches: tuple[str, ...], named: tuple[str, ...]) -> None:
    assert names(statistic(branches)) == named


def test_a_candidate_is_built_with_the_calibrated_matrix() -> None:
    plan, known = "CC..C..C", statistic()
    built = Candidate(plan, "wiener:window=2,feedback=1").built(known)
    assert isinstance(built, Wiener) and (built.window, built.feedback, built.plan) == (2, 1.0, plan)
    assert torch.equal(torch.tensor(built.gram, dtype=torch.float64), known.gram())
    offsets = ((2, ((0.1,), (0.2,))),)
    refined = Candidate(plan, "lagrange", offsets).built(known)
    assert refined == Refined(Lagrange(), offsets, ("cond", "uncond"))
    assert Candidate(plan, "lagrange", offsets).key != Candidate(plan, "lagrange").key


@functools.cache
def proposed() -> tuple[str, ...]:
    return tuple(proposals(statistic(), STRIDES, [4])[4])


def chosen(bench: Field, effort: Effort) -> Choice:
    return choose(bench, statistic(), proposed(), effort)


@pytest.mark.parametrize("effort", [QUICK, FITTING, Effort(scouts=2, finalists=3, moves=2, refined=0)], ids=range(3))
def test_the_same_measurements_make_the_same_choice(effort: Effort) -> None:
    one, other = chosen(field_of(), effort), chosen(field_of(), effort)
    assert one == other
    assert one.best.candidate.plan.count("C") == 4 and sorted(one.best.psnr) == list(SEEDS)


def test_the_ranking_is_sorted_and_measured_on_all_fitting_samples() -> None:
    choice = chosen(field_of(), Effort(scouts=2, finalists=4, moves=2, refined=0))
    means = [m.mean for m in choice.ranking]
    assert means == sorted(means, reverse=True) and len(means) >= 4
    assert all(tuple(m.psnr) == split(SEEDS)[0] for m in choice.ranking)
    assert choice.best.candidate == choice.ranking[0].candidate
    assert len({m.candidate.key for m in choice.ranking}) == len(choice.ranking)
    assert choice.held_out == pytest.approx(fmean(choice.best.psnr[seed] for seed in split(SEEDS)[1]))


@pytest.mark.parametrize("effort", [FITTING, Effort(scouts=2, finalists=3, moves=2, refined=2)], ids=range(2))
def test_held_out_samples_are_seen_only_at_the_last_judgement(effort: Effort) -> None:
    bench = field_of()
    fit, held = split(SEEDS)
    choice = chosen(bench, effort)
    judged = [place for place, (_, seeds) in enumerate(bench.trials) if set(seeds) & set(held)]
    first = min(judged)
    assert judged == list(range(first, len(bench.trials)))  # once they were seen, nothing else is measured
    assert [seeds for _, seeds in bench.trials[first:-1]] == [held] * (len(judged) - 1)
    assert len(judged) <= 2 + effort.refined  # the best, those refined, and the winner for the record
    assert bench.trials[-1] == (choice.best.candidate.key, SEEDS)
    assert not {seed for seeds in bench.asked for seed in seeds} & set(held)
    assert {seed for _, seeds in bench.trials[:first] for seed in seeds} == set(fit)


def test_fewer_are_tried_as_samples_are_added() -> None:
    bench = field_of()
    chosen(bench, Effort(scouts=2, finalists=3, moves=0, refined=0))
    tried = Counter(len(seeds) for _, seeds in bench.trials)
    assert tried[2] > tried[6] == 3


def test_a_fit_is_taken_only_if_it_helps_on_samples_held_out() -> None:
    unlucky = chosen(field_of(), FITTING)
    assert unlucky.best.candidate.offsets == ()
    plain = unlucky.best.candidate
    for gain, won in ((-1.0, False), (5.0, True)):
        bench = field_of()
        bench.luck = {f"{plain.plan} {rule} refined": gain for rule in ("tcpade", "lagrange", "pade", plain.forecaster)}
        best = chosen(bench, FITTING).best.candidate
        assert bool(best.offsets) == won and best.plan == plain.plan


def test_a_fit_needs_no_journal() -> None:
    bench = field_of()
    bench.fit_saved = lambda _key, _offsets: None  # a bench's own default
    assert chosen(bench, FITTING).best.psnr


def test_one_seed_is_enough() -> None:
    bench = field_of()
    bench.seeds = (4,)
    bench.base, bench.answers = bench.base[:1], bench.answers[:1]
    choice = chosen(bench, FITTING)
    assert list(choice.best.psnr) == [4] and choice.held_out == choice.best.mean


@pytest.mark.slow
def test_adaptive_plans_are_those_of_the_tolerance_policy_at_several_tolerances() -> None:
    told: list[float] = []
    bench = Bench(wan_pipeline(), call_wan, (0,), progress=lambda _what, work: told.append(work))
    plans = adaptive_plans(bench, [3], (0,))
    counts = [plan.count("C") for plan in plans]
    assert counts == sorted(counts, reverse=True) and all(len(plan) == 6 and plan[0] == "C" for plan in plans)
    assert sum(count < 3 for count in counts) <= len(RULES)
    assert len(told) >= len(counts) and {round(6 * work) for work in told} == set(counts)


def test_a_budget_between_two_tolerances_of_the_grid_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(_bench: Any, policy: Tolerance, _seeds: Any) -> str:
        computed = 4 if policy.tolerance < 0.004 else 3 if policy.tolerance < 0.0045 else 2
        return ("C" * computed).ljust(6, ".")

    monkeypatch.setattr(proposals_module, "_adaptive_plan", made)
    assert adaptive_plans(None, [2, 3], (0,)) == ["CCCC..", "CCC...", "CC...."]
    assert adaptive_plans(None, [2, 5], (0,)) == ["CCCC..", "CC...."]  # no tolerance gives five


def test_both_rules_propose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        proposals_module, "_adaptive_plan", lambda _bench, policy, _seeds: "CC...." if policy.warmup > 2 else "C.C..."
    )
    assert adaptive_plans(None, [2], (0,)) == ["CC....", "C.C..."]


def test_tolerances_grow_until_a_budget_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    def made(_bench: Any, policy: Tolerance, _seeds: Any) -> str:
        tried.append(policy.tolerance)
        return "CCC..." if policy.tolerance < 0.15 else "C....."

    monkeypatch.setattr(proposals_module, "_adaptive_plan", made)
    assert adaptive_plans(None, [3], (0,)) == ["CCC...", "C....."]
    assert max(tried) < 0.25 and len(tried) == 12 * len(RULES)


class Slope(Field):
    """The later the second computed step, the better; nothing else counts."""

    def score(
        self, plan: Plan, forecaster: Forecaster, seeds: Sequence[int], key: str, retrace: bool = False
    ) -> list[float]:
        return [float(plan.indices[1])] * len(seeds)


@pytest.mark.parametrize(("moves", "reached"), [(0, 2), (1, 3), (2, 4), (9, 7)])
def test_the_search_goes_on_from_where_it_came_until_nothing_near_is_better(moves: int, reached: int) -> None:
    bench = Slope(None, lambda: None, SEEDS)
    effort = Effort(scouts=1, finalists=1, moves=moves, refined=0)
    assert choose(bench, statistic(), ["C.C....."], effort).best.candidate.plan.index("C", 1) == reached


def test_a_refinement_is_a_value() -> None:
    assert Effort() == Effort(refinement=Refinement()) and hash(Effort()) == hash(Effort())


def test_the_worst_samples_decide_where_that_is_asked_for() -> None:
    even, uneven = {seed: 30.0 for seed in range(10)}, {seed: 20.0 if seed < 2 else 40.0 for seed in range(10)}
    bench = Bench(None, lambda: None, SEEDS)
    assert bench.judge("uneven", uneven) > bench.judge("even", even)
    bench.objective = "low"
    assert bench.judge("uneven", uneven) < bench.judge("even", even)
    bench.objective = lambda images, reference: images
    bench.scores = {"even by <lambda>": dict.fromkeys(even, 0.1), "uneven by <lambda>": dict.fromkeys(even, 0.05)}
    assert bench.judge("uneven", uneven) > bench.judge("even", even)


def test_a_quick_calibration_plans_for_the_solver_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    planners: list[Planner] = []

    def listen(planner: Planner, budgets: Any, count: int) -> Any:
        planners.append(planner)
        return list_plans(planner, budgets, count)

    monkeypatch.setattr(allowance, "list_plans", listen)
    calibrate(wan_pipeline(), call_wan, [3], range(2))  # UniPC
    calibrate(dit_pipeline(), call_dit, [3], range(2))
    assert [planner.multistep for planner in planners] == [True, False]
