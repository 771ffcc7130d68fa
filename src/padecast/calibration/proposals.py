"""Which plans are worth trying: what the matrices, even intervals and the tolerance policy propose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from padecast.calibration.exact import exact_plans
from padecast.calibration.planner import Objective, propose
from padecast.calibration.statistic import Statistic
from padecast.calibration.trials import Bench
from padecast.forecasters import TCPade, Wiener
from padecast.handles.attach import around
from padecast.policies import Interval, Policy, Tolerance, plan_of
from padecast.session.session import Session


def objectives() -> list[Objective]:
    """Return the objectives that propose plans."""
    rules = [Wiener(window=2), Wiener(window=3, feedback=0.5), Wiener(window=3, feedback=1.0), Wiener(window=4)]
    blends = [Objective(rule, coherent=c) for rule in rules for c in (0.0, 0.5, 1.0)]
    paths = [Objective(rule, path=p) for rule in rules[:3] for p in (1.0, 4.0)]
    return [*blends, *paths]


def proposals(
    statistic: Statistic, strides: Sequence[float], budgets: Iterable[int], extra: Iterable[str] = ()
) -> dict[int, list[str]]:
    """Return distinct plans by their computed steps: from all matrices and objectives, even ones, and those given.

    Args:
        statistic: The matrices.
        strides: Of the sampler.
        budgets: Numbers of computed steps.
        extra: Further plans, of any number of computed steps.
    """
    pools: dict[int, dict[str, None]] = {computed: {} for computed in budgets}
    for kind in statistic.kinds:
        gram = np.asarray(statistic.gram(kind).numpy())
        for objective in objectives():
            for computed, plan in propose(gram, strides, pools, objective).items():
                pools[computed][plan] = None
        for computed, plan in exact_plans(gram, strides, pools, Objective(Wiener(window=3), coherent=0.0)).items():
            pools[computed][plan] = None
    even = [plan_of(Interval(every=every), statistic.steps) for every in range(1, statistic.steps)]
    for plan in (*even, *extra):
        if plan.count("C") in pools:
            pools[plan.count("C")][plan] = None
    return {computed: list(plans) for computed, plans in pools.items()}


def adaptive_plans(bench: Bench, budgets: Sequence[int], seeds: Sequence[int]) -> list[str]:
    """Return the plans that the tolerance policy makes by itself, finest first, under each of :data:`RULES`.

    They come from a grid of tolerances, and from between those neighbours that leave a wanted number out.

    Args:
        bench: Draws.
        budgets: Numbers of computed steps that are wanted.
        seeds: Samples that decide together; the first call's are used.
    """
    plans = dict.fromkeys(plan for rule in RULES for plan in _plans_of(bench, rule, budgets, seeds))
    return sorted(plans, key=lambda plan: -plan.count("C"))


def _plans_of(bench: Bench, rule: Tolerance, budgets: Sequence[int], seeds: Sequence[int]) -> list[str]:
    plans: dict[float, str] = {}

    def attempt(tolerance: float) -> None:
        plans[tolerance] = _adaptive_plan(bench, replace(rule, tolerance=tolerance), seeds)

    for power in range(GRID):
        attempt(0.0025 * 1.5**power)
        if min(_counts(plans)) < max(min(budgets), FEWEST + 1):
            break
    for computed in budgets:
        for _ in range(HALVINGS):
            finer = [t for t, plan in plans.items() if plan.count("C") > computed]
            coarser = [t for t, plan in plans.items() if plan.count("C") < computed]
            if computed in _counts(plans) or not finer or not coarser:
                break
            attempt(math.sqrt(max(finer) * min(coarser)))
    return [plans[tolerance] for tolerance in sorted(plans)]


RULES = (Tolerance(), Tolerance(warmup=2))
"""The default, and one that leaves a longer first stretch, for models whose residuals change little at first."""
GRID = 12
"""Tolerances at most: 0.0025 to 0.22."""
HALVINGS = 4
FEWEST = 1
"""Steps that the policy computes under any tolerance: the first."""


def _counts(plans: dict[float, str]) -> set[int]:
    return {plan.count("C") for plan in plans.values()}


def _adaptive_plan(bench: Bench, policy: Policy, seeds: Sequence[int]) -> str:
    seeds = bench.batches(seeds)[0]
    with around(bench.pipe, bench.span, lambda total: Session(policy, TCPade(), total, measure=False)) as begun:
        bench.draw(seeds)
    plan = begun[-1].plan
    bench.progress("scouting", plan.count("C") * len(seeds) / max(len(plan), 1))
    return plan


def neighbours(plan: str) -> list[str]:
    """Return the plans that differ by one computed step moved by one place.

    Example:
        >>> neighbours("C.C.")
        ['CC..', 'C..C']
    """
    plans = []
    for place in range(1, len(plan)):
        for other in (place - 1, place + 1):
            if plan[place] == "C" and 0 < other < len(plan) and plan[other] == ".":
                letters = list(plan)
                letters[place], letters[other] = ".", "C"
                plans.append("".join(letters))
    return plans
