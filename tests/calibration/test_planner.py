"""What plans cost to first order, and the search for cheap ones."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.representative import representative

from padecast import Geometry, InvalidOption, Position
from padecast.calibration import Objective, exact_plans, propose
from padecast.calibration.planner import Array, as_plan, costs
from padecast.forecasters import Chebyshev, Forecaster, Lagrange, Oracle, Pade, Reuse, TCPade, Wiener

TOTAL = 8
RULES: list[Forecaster] = [
    Wiener(window=2, ridge=0.0),
    Wiener(window=3, ridge=1e-3, feedback=1.0),
    Wiener(window=2, ridge=0.1, feedback=0.5, constraint="sum"),
    Reuse(),
    Lagrange(1),
    Lagrange(2),
    Pade((1, 1)),
    TCPade(),
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)


def gram_of(seed: int, total: int = TOTAL) -> Array:
    """Of residuals that follow one another, as a model's do."""
    draw = np.random.default_rng(seed).normal(size=(total, 30)).cumsum(0) + 3
    return draw @ draw.T / 30


def strides_of(seed: int, total: int = TOTAL) -> list[float]:
    draw = np.random.default_rng(1000 + seed).uniform(0.2, 2, size=total)
    return list(map(float, draw / draw.sum()))


def plans_of(total: int, budget: int) -> list[str]:
    """All plans with so many computed steps, the first among them."""
    chosen = ({0, *rest} for rest in combinations(range(1, total), budget - 1))
    return ["".join("C" if i in own else "." for i in range(total)) for own in chosen]


def mask_of(plan: str) -> Array:
    return np.array([[letter == "C" for letter in plan]])


def by_hand(gram: Array, strides: list[float], plan: str, objective: Objective) -> float:
    """The cost of one plan, step by step, from what the forecaster itself says its weights are."""
    total, rule = len(gram), objective.rule
    if isinstance(rule, Wiener):
        matrix = tuple(map(tuple, gram.tolist()))
        rule = Wiener(matrix, rule.window, rule.ridge, rule.feedback, rule.constraint, plan)
    independent, carried, astray = 0.0, 0.0, np.zeros(total)
    for i in range(total):
        if plan[i] == "C":
            carried += strides[i] * (astray @ gram @ astray)
            continue
        known = [j for j in reversed(range(i)) if plan[j] == "C"][: rule.window]
        shown = torch.from_numpy(gram[np.ix_(known, known)])[None]
        at = Position.at(i, total, strides=tuple(strides))
        weights = rule.weights(Geometry(tuple(known), tuple(map(float, known)), shown), at).reshape(-1, len(known))[0]
        error = np.zeros(total)
        error[known] = weights.double().numpy()
        error[i] = -1
        independent += strides[i] ** 2 * (error @ gram @ error)
        astray += strides[i] * error
    coherent = astray @ gram @ astray
    if objective.path:
        return float(coherent + objective.path * carried)
    return float((1 - objective.coherent) * independent + objective.coherent * coherent)


OPTIONS = [{"coherent": 0.0}, {"coherent": 0.3}, {"coherent": 1.0}, {"path": 2.0}]


@every_rule
@pytest.mark.parametrize("options", representative(OPTIONS, map(str, OPTIONS[1::2])), ids=str)
@given(st.integers(0, 99), st.lists(st.sampled_from("C."), min_size=TOTAL - 1, max_size=TOTAL - 1))
def test_costs_are_those_of_a_loop_over_the_steps(
    rule: Forecaster, options: dict[str, float], seed: int, rest: list[str]
) -> None:
    gram, strides, plan = gram_of(seed), strides_of(seed), "C" + "".join(rest)
    objective = Objective(rule, **options)
    (cost,) = costs(gram, strides, mask_of(plan), objective)
    assert cost == pytest.approx(by_hand(gram, strides, plan, objective), rel=1e-6, abs=1e-9)


@every_rule
def test_costs_of_many_plans_are_those_of_each(rule: Forecaster) -> None:
    gram, strides, objective = gram_of(0), strides_of(0), Objective(rule)
    masks = np.concatenate([mask_of(plan) for budget in (1, 3, 5, 8) for plan in plans_of(TOTAL, budget)[:5]])
    together = costs(gram, strides, masks, objective)
    alone = [costs(gram, strides, mask[None], objective)[0] for mask in masks]
    assert together == pytest.approx(alone, rel=1e-9, abs=1e-12)
    assert together[-1] == 0  # everything computed


def greedy(gram: Array, strides: list[float], budgets: list[int], objective: Objective) -> dict[int, str]:
    """The start: one computed step after the other, each the best of its moment."""
    mask = np.zeros(len(gram), dtype=bool)
    mask[0] = True
    found = {}
    for size in range(1, max(budgets) + 1):
        if size in budgets:
            found[size] = as_plan(mask)
        tried = [mask | (np.arange(len(gram)) == i) for i in range(len(gram)) if not mask[i]]
        if tried:
            mask = tried[int(np.argmin(costs(gram, strides, np.array(tried), objective)))]
    return found


@every_rule
@pytest.mark.parametrize("seed", representative(range(2), "0"))
def test_proposals_are_plans_of_the_wanted_size_and_no_worse_than_their_start(rule: Forecaster, seed: int) -> None:
    gram, strides, budgets = gram_of(seed, 12), strides_of(seed, 12), [1, 3, 5, 12]
    objective = Objective(rule)
    found = propose(gram, strides, reversed(budgets), objective)
    assert sorted(found) == budgets
    starts = greedy(gram, strides, budgets, objective)
    for budget, plan in found.items():
        assert plan.count("C") == budget and len(plan) == 12 and plan[0] == "C" and set(plan) <= {"C", "."}
        own, start = (costs(gram, strides, mask_of(p), objective)[0] for p in (plan, starts[budget]))
        assert own <= start * (1 + 1e-9)


def test_swaps_improve_on_greedy_insertion_somewhere() -> None:
    better = 0
    for seed in range(12):
        gram, strides, objective = gram_of(seed, 12), strides_of(seed, 12), Objective(Wiener(window=2))
        start, found = greedy(gram, strides, [4], objective)[4], propose(gram, strides, [4], objective)[4]
        own, before = (costs(gram, strides, mask_of(plan), objective)[0] for plan in (found, start))
        better += bool(own < before * (1 - 1e-6))
    assert better >= 2


def test_no_single_swap_improves_a_proposal() -> None:
    gram, strides, objective = gram_of(3), strides_of(3), Objective(Wiener(window=2))
    plan = propose(gram, strides, [4], objective)[4]
    own = costs(gram, strides, mask_of(plan), objective)[0]
    near = [p for p in plans_of(TOTAL, 4) if sum(a != b for a, b in zip(p, plan, strict=True)) == 2]
    assert near and all(costs(gram, strides, mask_of(p), objective)[0] >= own * (1 - 1e-9) for p in near)


@pytest.mark.parametrize("fixed", [[5], [7, 2], [0, 6]])
def test_steps_that_are_fixed_stay_computed(fixed: list[int]) -> None:
    for budget, plan in propose(gram_of(1), strides_of(1), [3, 5, 8], Objective(), fixed).items():
        assert plan.count("C") == budget and plan[0] == "C" and all(plan[i] == "C" for i in fixed)


@pytest.mark.parametrize("rule", [Wiener(window=k, ridge=r) for k in (1, 2, 3) for r in (0.0, 0.01)], ids=repr)
@pytest.mark.parametrize("total", [1, 2, 6, 9])
def test_exact_plans_are_the_best_of_all_plans(rule: Wiener, total: int) -> None:
    objective = Objective(rule, coherent=0.0)
    for seed in range(2):
        gram, strides = gram_of(seed, total), strides_of(seed, total)
        best = exact_plans(gram, strides, range(1, total + 1), objective)
        for budget in range(1, total + 1):
            masks = np.concatenate([mask_of(plan) for plan in plans_of(total, budget)])
            least = costs(gram, strides, masks, objective).min()
            assert best[budget].count("C") == budget and best[budget][0] == "C"
            own = costs(gram, strides, mask_of(best[budget]), objective)[0]
            assert own == pytest.approx(least, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rule", [Reuse(), Lagrange(1), Lagrange(2), Pade((1, 1))], ids=repr)
def test_exact_plans_serve_any_forecaster_whose_weights_depend_on_the_history_alone(rule: Forecaster) -> None:
    gram, strides, objective = gram_of(4, 7), strides_of(4, 7), Objective(rule, coherent=0.0)
    for budget, plan in exact_plans(gram, strides, [2, 4], objective).items():
        masks = np.concatenate([mask_of(p) for p in plans_of(7, budget)])
        least = costs(gram, strides, masks, objective).min()
        assert costs(gram, strides, mask_of(plan), objective)[0] == pytest.approx(least, rel=1e-9)


@given(st.integers(0, 999), st.integers(1, 3))
def test_exact_plans_are_never_worse_than_proposals(seed: int, window: int) -> None:
    gram, strides = gram_of(seed, 14), strides_of(seed, 14)
    objective = Objective(Wiener(window=window), coherent=0.0)
    best, found = (make(gram, strides, [4, 7], objective) for make in (exact_plans, propose))
    for budget in (4, 7):
        own, other = (costs(gram, strides, mask_of(p[budget]), objective)[0] for p in (best, found))
        assert own <= other * (1 + 1e-9)


def test_a_changed_matrix_is_not_mistaken_for_the_one_before() -> None:
    objective, strides, mask = Objective(Pade((1, 1))), strides_of(0), mask_of("CCC..C..")
    first, second = (costs(gram_of(seed), strides, mask, objective)[0] for seed in (0, 1))
    assert first == pytest.approx(by_hand(gram_of(0), strides, "CCC..C..", objective), rel=1e-6)
    assert second == pytest.approx(by_hand(gram_of(1), strides, "CCC..C..", objective), rel=1e-6)


@pytest.mark.parametrize("search", [propose, exact_plans])
@pytest.mark.parametrize("budget", [0, -1, TOTAL + 1])
def test_a_budget_out_of_range_is_refused(search: object, budget: int) -> None:
    with pytest.raises(InvalidOption, match=f"budget={budget} is out of range: expected 1 to {TOTAL}"):
        search(gram_of(0), strides_of(0), [3, budget], Objective(Wiener(window=2), coherent=0.0))  # type: ignore[operator]


@pytest.mark.parametrize(
    "objective",
    [
        Objective(Wiener(window=2), coherent=0.5),
        Objective(Wiener(window=2), coherent=0.0, path=1.0),
        Objective(Wiener(window=2, feedback=1.0), coherent=0.0),
        Objective(Wiener(window=4), coherent=0.0),
        Objective(TCPade(), coherent=0.0),
    ],
    ids=str,
)
def test_what_depends_on_more_than_the_last_computed_steps_is_refused(objective: Objective) -> None:
    with pytest.raises(InvalidOption, match="exact planning needs"):
        exact_plans(gram_of(0), strides_of(0), [3], objective)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"coherent": -0.1}, "coherent="), ({"coherent": 1.1}, "coherent="), ({"path": -1.0}, "path=")],
)
def test_an_objective_out_of_range_is_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        Objective(**options)


@pytest.mark.parametrize("rule", [Chebyshev(), Oracle(), TCPade(form="published")], ids=repr)
def test_a_rule_that_is_not_weights_on_residuals_is_refused(rule: Forecaster) -> None:
    with pytest.raises(InvalidOption, match="rule="):
        Objective(rule)
