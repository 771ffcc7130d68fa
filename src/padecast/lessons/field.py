"""Plans that are worth trying in the real sampler: of lessons under several laws of gains, and of the rule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from padecast._noise import Noise
from padecast.lessons.cost import gains_of
from padecast.lessons.planner import OBJECTIVES, Planner, Steps

FEW = 3
"""Plans of a field for which no planner is asked but two."""


SPARSE = 0.6
"""Density of the rule that begins less densely: under a solver of several steps it may be far ahead, or behind."""


def list_plans(planner: Planner, budgets: Sequence[int], count: int) -> dict[int, list[Steps]]:
    """Return so many plans of every budget, at most, all different: those first of which most is to be expected.

    The planner's own; its plans where errors count by the share of noise that a step takes away, or, under a solver of
    several steps, those of a rule that begins less densely; the uncalibrated rule's; and, where more are wanted, those
    of a law between both, of the other objective, and denser rules'.

    Args:
        planner: Of lessons.
        budgets: Numbers of computed steps, each 1 to T.
        count: Plans of each.

    Example:
        >>> from padecast.lessons.analytic import make_look
        >>> look = make_look(steps=8)
        >>> list_plans(Planner(look.singles, look.noise), [2], 3)
        {2: [(0, 3), (0, 4), (0, 7)]}
    """
    noise = planner.noise
    planners = [planner, planner.alter(gains=gains_of(noise, 1.0))]
    if count > FEW:
        other = next(name for name in OBJECTIVES if name != planner.objective)
        planners += [planner.alter(gains=gains_of(noise, 0.5)), planner.alter(objective=other)]
    proposals = [each.plans(budgets) for each in planners]
    fields = {}
    for budget in budgets:
        steps = [each[budget].steps for each in proposals]
        rules = [planner.spaced(budget, density, last) for density in (1.0, 1.4) for last in (True, False)]
        second = [steps[1], rules[0]]
        if planner.multistep:
            second = [planner.spaced(budget, SPARSE, last=False), rules[0], steps[1]]
        order = [steps[0], *second, *steps[2:], *rules[1:]]
        fields[budget] = list(dict.fromkeys(order))[:count]
    return fields


def noise_of_strides(strides: Sequence[float]) -> Noise:
    """Return the levels that strides come to, as if the sampler went straight.

    Example:
        >>> noise_of_strides([0.75, 0.25]).sigmas
        (1.0, 0.25, 0.0)
    """
    sigmas = [*accumulate(reversed(strides), initial=0.0)][::-1]
    return Noise(tuple(1 - sigma for sigma in sigmas), tuple(sigmas))
