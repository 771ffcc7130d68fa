"""The best plans of all, by dynamic programming, where a step's cost depends on the last computed steps alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from padecast._errors import InvalidOption, check
from padecast.calibration.planner import Array, Objective, as_plan, quadratic, weights_of
from padecast.forecasters import Forecaster

Arrivals = Sequence[dict[tuple[int, ...], tuple[float, tuple[int, ...]]]]


def exact_plans(gram: Array, strides: Sequence[float], budgets: Iterable[int], objective: Objective) -> dict[int, str]:
    """Return the best plan of so many computed steps, exactly, by dynamic programming over the last ``window`` of them.

    Only for independent errors (``coherent=0``) and a window of at most 3, where the cost of the steps between two
    computed ones depends on the last ``window`` computed steps alone.

    Args:
        gram: ``(T, T)``.
        strides: ``|Delta sigma|`` of the T steps.
        budgets: Numbers of computed steps, each 1 to T.
        objective: The cost.

    Raises:
        InvalidOption: If the objective or the window does not allow it.

    Example:
        >>> from padecast.forecasters import Wiener
        >>> gram = 1 + np.outer(np.arange(6.0), np.arange(6.0))
        >>> exact_plans(gram, [1 / 6] * 6, [2], Objective(Wiener(window=2, ridge=1e-9), coherent=0.0))
        {2: 'CC....'}
    """
    total, window = len(gram), objective.rule.window
    if not objective.exact or window > 3:
        raise InvalidOption(
            f"exact planning needs independent errors, no feedback and a window of at most 3, not {objective}.\n"
            "Use propose(), or Objective(Wiener(window=3), coherent=0.0)."
        )
    most = max(budgets := sorted(set(budgets)))
    for computed in budgets:
        check(1 <= computed <= total, "budget", computed, f"1 to {total}, the steps of the run")
    spent = _stretches(gram, np.asarray(strides, dtype=np.float64), objective.rule)
    value: dict[tuple[int, ...], float] = {(0,): 0.0}
    arrivals: list[dict[tuple[int, ...], tuple[float, tuple[int, ...]]]] = [{(0,): (0.0, ())}]
    plans: dict[int, tuple[float, tuple[int, ...], int]] = {1: (spent[(0,)][total], (0,), 0)}
    for count in range(2, most + 1):
        following: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
        for state, cost in value.items():
            row = spent[state]
            for new in range(state[0] + 1, total):
                reached = (new, *state)[:window]
                candidate = cost + row[new]
                if reached not in following or candidate < following[reached][0]:
                    following[reached] = (candidate, state)
        arrivals.append(following)
        value = {state: cost for state, (cost, _) in following.items()}
        ending = min(value, key=lambda state: value[state] + spent[state][total])
        plans[count] = (value[ending] + spent[ending][total], ending, count - 1)
    return {computed: _trace_back(arrivals, plans[computed][1], plans[computed][2], total) for computed in budgets}


def _stretches(gram: Array, pace: Array, rule: Forecaster) -> dict[tuple[int, ...], Array]:
    """Cost of all steps from after a state's newest to before place p, for p up to T; per state."""
    total, window = len(gram), rule.window
    states: list[tuple[int, ...]] = [(a,) for a in range(total)] if window == 1 else [(0,)]
    if window >= 2:
        states += [(a, b) for a in range(total) for b in range(a) if window == 2 or b == 0]
    if window == 3:
        states += [(a, b, c) for a in range(total) for b in range(a) for c in range(b)]
    spent: dict[tuple[int, ...], Array] = {}
    for size in range(1, window + 1):
        group = [state for state in states if len(state) == size]
        if not group:
            continue
        steps = np.full((len(group), window), -1)
        steps[:, :size] = group
        running = np.zeros((len(group), total + 1))
        for index in range(1, total):
            later = np.flatnonzero(steps[:, 0] < index)
            running[:, index + 1] = running[:, index]
            if len(later):
                weights = weights_of(gram, pace, steps[later], np.zeros((len(later), total)), index, rule)
                error = np.zeros((len(later), total + 1))
                np.put_along_axis(error, steps[later], weights, axis=1)
                error[:, index] -= 1
                running[later, index + 1] += quadratic(gram, pace[index] * error[:, :total])
        spent.update(zip(group, running, strict=True))
    return spent


def _trace_back(
    arrivals: Sequence[dict[tuple[int, ...], tuple[float, tuple[int, ...]]]],
    state: tuple[int, ...],
    at: int,
    total: int,
) -> str:
    mask = np.zeros(total, dtype=bool)
    while state:
        mask[state[0]] = True
        state, at = arrivals[at][state][1], at - 1
    return as_plan(mask)
