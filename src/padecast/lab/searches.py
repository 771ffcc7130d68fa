"""Searches for plans that are published: simulated annealing on real runs, and the shortest path through them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from padecast._errors import check

Array = NDArray[np.float64]
POWER = 2.0
"""The exponent that suppresses peaks: of two paths of one sum, the one without a bad stretch is shorter."""
WARM = 0.5
"""Share of the tries that annealing takes; hill climbing has the rest."""


def anneal(loss: Callable[[str], float], steps: int, computed: int, tries: int, seed: int = 0) -> str:
    """Return the plan of the least loss that so many tries find, as BudCache searches.

    From even steps on, a computed step is swapped with one that is not, or shifted by one. Annealing accepts a plan
    that is worse by ``d`` with probability ``exp(-d / t)``, where ``t`` falls from a tenth of the first loss to 0;
    hill climbing then goes on from the best plan.

    Args:
        loss: What a plan loses; each is asked for once.
        steps: Of the schedule.
        computed: How many are computed.
        tries: Plans that are tried, at most.
        seed: Of the moves.

    Raises:
        InvalidOption: If the numbers are out of range.

    Example:
        >>> anneal(lambda plan: sum(i for i, letter in enumerate(plan) if letter == "C"), 6, 3, tries=60)
        'CCC...'

    Reference:
        Lei et al., "Budget-Constrained Step-Level Diffusion Caching", arXiv:2606.13496. Published searches take
        hundreds of tries; the neighbourhood of a plan is tried in random order here, not as a whole.
    """
    check(1 <= computed <= steps, "computed", computed, f"1 to {steps}, the steps of the schedule")
    check(tries >= 1, "tries", tries, "1 or more")
    generator, losses = random.Random(seed), dict[tuple[int, ...], float]()

    def ask(places: tuple[int, ...]) -> float:
        if places not in losses:
            losses[places] = loss(_write(places, steps))
        return losses[places]

    current = best = tuple(sorted({round(k * steps / computed) for k in range(computed)}))
    if computed in (1, steps):
        return _write(current, steps)
    start = ask(current)
    warm = max(1, round(WARM * tries))
    for _ in range(20 * tries):  # plans that are known already cost nothing, and end nothing
        if len(losses) >= tries:
            break
        heat = 0.1 * start * max(0.0, 1 - len(losses) / warm)
        current = best if heat == 0 else current
        move = _move(current, steps, generator)
        worse = ask(move) - losses[current]
        if worse <= 0 or (heat > 0 and generator.random() < math.exp(-worse / heat)):
            current = move
        best = min(best, current, key=losses.__getitem__)
    return _write(best, steps)


def shortest(gram: Array, strides: Sequence[float], computed: int, power: float = POWER) -> str:
    r"""Return the plan that is the shortest path through the steps, as MeanCache searches.

    Going from the computed step t to the next, s, costs a power of the error of the average velocity that is estimated
    with the slope from the computed step r before it:

    .. math:: C = |u(t, s) - \hat u(t, s)|^\gamma, \qquad
        \hat u(t, s) = v_t + (s - t) \frac{v_t - v_r}{2 (t - r)}

    without a slope at the first. ``u`` is the mean of what the sampler was given on the way, by its strides. A path is
    found exactly, by dynamic programming over pairs of computed steps.

    Args:
        gram: ``(T, T)``: inner products of what the sampler was given at the steps of uncached runs.
        strides: How far the sampler moves the state at every step.
        computed: How many steps are computed.
        power: Gamma, above 0. Default 2.

    Raises:
        InvalidOption: If a number is out of range.

    Example:
        >>> velocity = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3)  # turns once
        >>> shortest(velocity @ velocity.T, [1 / 6] * 6, 3)
        'C..CC.'

    Reference:
        Gao et al., "MeanCache: From Instantaneous to Average Velocity for Accelerating Flow Matching Inference",
        arXiv:2601.19961. Published are edges with slopes from a fixed number of steps before; here from the computed
        step before, which is the one that a run has.
    """
    total = len(gram)
    check(1 <= computed <= total, "computed", computed, f"1 to {total}, the steps of the schedule")
    check(0 < power < math.inf, "power", power, "more than 0, and finite")
    place = np.concatenate([[0.0], np.cumsum(np.abs(strides))])

    def edge(before: int, begin: int, end: int) -> float:
        return math.pow(path_cost(gram, place, before, begin, end), power / 2)

    reached: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {(-1, 0): (0.0, (0,))}
    for _ in range(computed - 1):
        following: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
        for (before, begin), (cost, path) in reached.items():
            for end in range(begin + 1, total):
                longer = cost + edge(before, begin, end)
                if longer < following.get((begin, end), (math.inf, ()))[0]:
                    following[begin, end] = longer, (*path, end)
        reached = following
    _, path = min((cost + edge(*pair, total), path) for pair, (cost, path) in reached.items())
    return _write(path, total)


def path_cost(gram: Array, place: Array, before: int, begin: int, end: int) -> float:
    """Return the squared error of the average velocity from one computed step to the next.

    Args:
        gram: ``(T, T)``.
        place: ``(T + 1,)`` how far the state has come before every step.
        before: The computed step before, or -1.
        begin: The computed step.
        end: The next one, or T.
    """
    way = place[end] - place[begin]
    row = np.zeros(len(gram))
    row[begin:end] = np.diff(place[begin : end + 1]) / way if way > 0 else 1 / (end - begin)
    row[begin] -= 1
    behind = place[begin] - place[before] if before >= 0 else 0.0
    if behind > 0:
        row[begin] -= way / (2 * behind)
        row[before] += way / (2 * behind)
    return max(0.0, float(row @ gram @ row))


def fit_gain(places: Sequence[int], gains: Sequence[float], total: int) -> tuple[float, float, float]:
    r"""Return ``lambda, alpha, beta`` of :math:`\lambda ((T - k) / T)^\alpha + \beta`, in least squares.

    Args:
        places: Steps k.
        gains: What an error of each did to the image.
        total: T.

    Example:
        >>> fit_gain([0, 5, 9], [2.5, 1.0, 0.52], 10)
        (2.0, 2.0, 0.5)

    Reference:
        RA-CFGCache, arXiv:2609.36433, equation 12.
    """
    rest, targets = 1 - np.asarray(places, dtype=np.float64) / total, np.asarray(gains, dtype=np.float64)
    fits = []
    for power in np.arange(1, 33) / 4:
        columns = np.stack([rest**power, np.ones_like(rest)], axis=1)
        solution = np.linalg.lstsq(columns, targets, rcond=None)[0]
        error = float(np.square(columns @ solution - targets).sum())
        fits.append((round(error, 12), float(power), *(round(float(value), 6) for value in solution)))
    _, power, slope, floor = min(fits)
    return slope, power, floor


def _write(places: Sequence[int], steps: int) -> str:
    return "".join("C" if step in places else "." for step in range(steps))


def _move(places: tuple[int, ...], steps: int, generator: random.Random) -> tuple[int, ...]:
    """Swap a computed step with another, or shift it by one; the first stays."""
    free = [step for step in range(1, steps) if step not in places]
    old = generator.choice(places[1:])
    near = [step for step in (old - 1, old + 1) if step in free]
    new = generator.choice(near if near and generator.random() < 0.5 else free)
    return tuple(sorted({*places} - {old} | {new}))
