"""Searches for plans: exact where an exact answer is known, and within what they may take."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from padecast.lab import Entry, Task, tune
from padecast.lab.preparation import prepare
from padecast.lab.searches import anneal, fit_gain, path_cost, shortest
from padecast.methods import Method
from padecast.policies import GuidedRisk, Searched


def test_annealing_finds_the_best_of_all_plans_given_the_tries() -> None:
    generator = np.random.default_rng(0)
    worth = generator.random(10)

    def lose(plan: str) -> float:
        return 5 - sum(worth[i] for i, letter in enumerate(plan) if letter == "C")

    best = {0, *(1 + np.argsort(worth[1:])[-3:])}
    assert anneal(lose, 10, 4, tries=80) == "".join("C" if i in best else "." for i in range(10))


@pytest.mark.parametrize("tries", [1, 2, 9])
def test_annealing_asks_no_more_often_than_it_may_and_never_twice(tries: int) -> None:
    asked: list[str] = []

    def lose(plan: str) -> float:
        asked.append(plan)
        return float(plan.rindex("C"))

    plan = anneal(lose, 12, 5, tries)
    assert len(asked) == len(set(asked)) <= tries
    assert {p.count("C") for p in (*asked, plan)} == {5} and all(p.startswith("C") for p in asked)
    assert plan == min(asked, key=lambda p: p.rindex("C"))


def test_the_shortest_path_is_that_of_all_plans() -> None:
    walk = np.random.default_rng(1).standard_normal((8, 5)).cumsum(0)
    gram, strides = walk @ walk.T, [0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05]
    place = np.concatenate([[0.0], np.cumsum(strides)])

    def cost(steps: tuple[int, ...]) -> float:
        path = (-1, 0, *steps, 8)
        return sum(path_cost(gram, place, *path[k : k + 3]) for k in range(len(path) - 2))

    best = min(combinations(range(1, 8), 3), key=cost)
    assert shortest(gram, strides, 4) == "".join("C" if i in (0, *best) else "." for i in range(8))


def test_the_average_of_a_straight_velocity_is_estimated_ahead_and_not_behind() -> None:
    time = (np.arange(200) + 0.5) / 200  # so fine that the sampler's sum is the integral
    place = np.concatenate([[0.0], np.cumsum(np.full(200, 1 / 200))])
    gram = np.outer(time, time)
    assert path_cost(gram, place, 40, 100, 160) < 1e-5
    assert path_cost(gram, place, -1, 100, 160) == pytest.approx(0.15**2, rel=0.05), "without a slope half the way"


def test_a_path_computes_where_the_velocity_turns() -> None:
    velocity = np.array([[1.0, 0.0]] * 6 + [[0.0, 1.0]] * 6)
    assert shortest(velocity @ velocity.T, [1 / 12] * 12, 3)[6] == "C"


def test_gains_that_lie_on_a_power_law_are_found() -> None:
    places = [1, 4, 7, 10, 13, 16, 19]
    gains = [0.8 * (1 - k / 20) ** 1.5 + 0.3 for k in places]
    assert fit_gain(places, gains, 20) == pytest.approx((0.8, 1.5, 0.3), abs=1e-4)


def test_l2p_is_fitted_on_the_seeds_kept_for_tuning(task: Task) -> None:
    kept = dataclasses.replace(task, development=(7, 8, 9)).tuning()
    entry = tune(kept, Entry.of("l2p", wanted=4), 4)
    assert isinstance(entry.method, Method)
    assert len(entry.method.forecaster.gram) == 10 and entry.teaching == 3  # type: ignore[attr-defined]
    assert prepare(kept, entry) == entry


def test_risks_are_those_of_both_branches_and_the_guidance_is_read_off(task: Task) -> None:
    kept = dataclasses.replace(task, development=(7, 8, 9), memory={}).tuning()
    entry = tune(kept, Entry.of("ra-cfgcache", wanted=4), 4)
    assert isinstance(entry.method, Method) and isinstance(entry.method.policy, GuidedRisk)
    policy = entry.method.policy
    assert policy.scale == pytest.approx(3.0, abs=1e-3) and policy.length == 10
    assert {len(row) for row in policy.ratios} == {10} and all(row[0] == 1 for row in policy.ratios)
    cosines = np.array(policy.alignment)
    assert cosines.shape == (10, 10) and np.allclose(cosines, cosines.T) and np.abs(cosines).max() <= 1
    assert entry.teaching == 2 * (1 + 3) and "threshold" in entry.written


def test_a_run_without_guidance_has_one_branch_twice(task: Task) -> None:
    plain = dataclasses.replace(task.call, guidance=1.0)  # type: ignore[type-var]
    kept = dataclasses.replace(task, call=plain, development=(7, 8)).tuning()
    entry = prepare(kept, Entry.of("ra-cfgcache", wanted=4))
    assert isinstance(entry.method, Method) and isinstance(entry.method.policy, GuidedRisk)
    assert entry.method.policy.scale == 1 and entry.method.policy.ratios[0] == entry.method.policy.ratios[1]


@pytest.mark.parametrize("name", ["budcache", "meancache"])
def test_a_plan_is_searched_for_as_many_steps_as_wanted_and_written_down(task: Task, name: str) -> None:
    kept = dataclasses.replace(task, development=(7, 8, 9), memory={}).tuning()
    entry = tune(kept, Entry.of(f"{name}:images=2", wanted=4), 4)
    assert isinstance(entry.method, Method) and isinstance(entry.method.policy, Searched)
    assert entry.method.policy.steps.count("C") == 4 and entry.teaching == 2
    again = Entry.of(entry.written)
    assert again.method == entry.method and prepare(kept, again) == again
