"""Which steps to compute, to first order, from the Gram matrix alone: all budgets at once, without a model call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters import Forecaster, Wiener
from padecast.forecasters.base import check_plain

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
REACH = 3
"""How far a swap moves a computed step at most, where all swaps would be too many."""
ALL_SWAPS = 160


@dataclass(frozen=True)
class Objective:
    r"""What a plan costs to first order in the sampler's strides.

    With the forecast of step i written as ``v_i = sum_k w_k e_k - e_i``,

    .. math::
        J_0 = \sum_i |\Delta\sigma_i|^2 v_i^T G v_i, \qquad
        J_1 = c^T G c,\; c = \sum_i |\Delta\sigma_i| v_i, \qquad
        J_p = \sum_{s\ \text{computed}} |\Delta\sigma_s|\, E_s^T G E_s + J_1

    where ``E_s`` is what has been added to ``c`` before step s: independent errors, errors of neighbours that add up,
    and errors that also spoil what is computed from a state astray.

    Args:
        rule: The forecaster: Wiener weights (default, ``Wiener()``), or any other that is weights on residuals. One
            that reads inner products is shown the calibrated ones.
        coherent: Blend ``(1 - coherent) J_0 + coherent J_1``, 0 to 1. Default 0.5.
        path: Weight of the sum in ``J_p``, 0 or more. Default 0.

    Raises:
        InvalidOption: If an option is out of range, or the forecaster is not weights.
    """

    rule: Forecaster = field(default_factory=Wiener)
    coherent: float = 0.5
    path: float = 0.0

    def __post_init__(self) -> None:
        check(0 <= self.coherent <= 1, "coherent", self.coherent, "0 to 1")
        check(self.path >= 0, "path", self.path, "0 or more")
        check_plain("rule", self.rule)

    @property
    def exact(self) -> bool:
        """Whether :func:`exact_plans` can serve it: independent errors, weights that depend on the history alone."""
        # Every Wiener says that it reads strides; without feedback they change nothing.
        alone = self.rule.feedback == 0 if isinstance(self.rule, Wiener) else not self.rule.needs_stride
        return self.coherent == 0 and self.path == 0 and alone


def costs(gram: Array, strides: Sequence[float], masks: Mask, objective: Objective) -> Array:
    """Return what plans cost.

    Args:
        gram: ``(T, T)``.
        strides: ``|Delta sigma|`` of the T steps.
        masks: ``(N, T)``, true where a step is computed; the first step always is.
        objective: The cost.

    Returns:
        ``(N,)``, in the units of the Gram matrix.

    Example:
        >>> gram = 1 + np.outer(np.arange(4.0), np.arange(4.0))
        >>> masks = np.array([[True, True, False, False], [True, False, False, False]])
        >>> costs(gram, [0.25] * 4, masks, Objective(Wiener(ridge=0.0))).round(3).tolist()
        [0.0, 1.562]
    """
    total, pace = len(gram), np.asarray(strides, dtype=np.float64)
    count = len(masks)
    window = min(objective.rule.window, total)
    history = np.full((count, window), -1)
    owed = np.zeros((count, total))
    independent, carried = np.zeros(count), np.zeros(count)
    everyone = np.arange(count)
    for index in range(total):
        computed = masks[:, index]
        if computed.any():
            if objective.path and index:
                carried[computed] += pace[index] * quadratic(gram, owed[computed])
            # A mask copies what it reads, so that the shift does not overwrite its own source.
            history[computed, 1:] = history[computed, :-1]
            history[computed, 0] = index
        rest = everyone[~computed]
        if not len(rest):
            continue
        steps = history[rest]
        weights = weights_of(gram, pace, steps, owed[rest], index, objective.rule)
        error = np.zeros((len(rest), total + 1))
        np.put_along_axis(error, steps, weights, axis=1)  # absent ones, -1, fall into the spare column
        error[:, index] -= 1
        step = pace[index] * error[:, :total]
        independent[rest] += quadratic(gram, step)
        owed[rest] += step
    coherent = quadratic(gram, owed)
    if objective.path:
        return coherent + objective.path * carried
    return (1 - objective.coherent) * independent + objective.coherent * coherent


def propose(
    gram: Array, strides: Sequence[float], budgets: Iterable[int], objective: Objective, fixed: Sequence[int] = ()
) -> dict[int, str]:
    """Return the best plan of so many computed steps: greedy insertion, then swaps until none helps.

    Args:
        gram: ``(T, T)``.
        strides: ``|Delta sigma|`` of the T steps.
        budgets: Numbers of computed steps, each 1 to T.
        objective: The cost.
        fixed: Steps that are computed in any case, besides the first.

    Returns:
        Budgets and plans, as ``C`` and ``.``.

    Raises:
        InvalidOption: If a budget is out of range.

    Example:
        >>> gram = 1 + np.outer(np.arange(6.0), np.arange(6.0))  # a straight line
        >>> propose(gram, [1 / 6] * 6, [2], Objective(Wiener(window=2, ridge=1e-9)))
        {2: 'CC....'}
    """
    total, queue = len(gram), sorted(set(budgets))
    for computed in queue:
        check(1 <= computed <= total, "budget", computed, f"1 to {total}, the steps of the run")
    held = {0, *fixed}
    mask = np.zeros(total, dtype=bool)
    mask[list(held)] = True
    plans = {}
    while queue:
        size = int(mask.sum())
        # Goes beyond a budget where more steps are fixed. Insertion goes on from the mask before its swaps: a plan must
        # not depend on which other budgets are asked for.
        if size >= queue[0]:
            plans[queue.pop(0)] = as_plan(_improve(gram, strides, mask, objective, held))
            continue
        free = np.flatnonzero(~mask)
        mask = _best(gram, strides, _with(mask, [(None, int(f)) for f in free]), objective)[1]
    return plans


def _improve(gram: Array, strides: Sequence[float], mask: Mask, objective: Objective, held: set[int]) -> Mask:
    """Move one computed step at a time, as long as that helps."""
    cost = float(costs(gram, strides, mask[None], objective)[0])
    for _ in range(4 * len(mask)):
        moves = _swaps(mask, held)
        if not moves:
            return mask
        best, candidate = _best(gram, strides, _with(mask, moves), objective)
        # Less than rounding is no help: two plans of one cost would be swapped to and fro.
        if best >= cost * (1 - 1e-12):
            return mask
        cost, mask = best, candidate
    return mask


def _swaps(mask: Mask, held: set[int]) -> list[tuple[int | None, int]]:
    used, free = [int(u) for u in np.flatnonzero(mask) if u not in held], np.flatnonzero(~mask)
    moves: list[tuple[int | None, int]] = [(u, int(f)) for u in used for f in free]
    if len(moves) <= ALL_SWAPS:
        return moves
    return [(u, f) for u, f in moves if u is not None and abs(u - f) <= REACH]


def _with(mask: Mask, moves: Sequence[tuple[int | None, int]]) -> Mask:
    masks = np.repeat(mask[None], len(moves), axis=0)
    for row, (old, new) in enumerate(moves):
        if old is not None:
            masks[row, old] = False
        masks[row, new] = True
    return masks


def _best(gram: Array, strides: Sequence[float], masks: Mask, objective: Objective) -> tuple[float, Mask]:
    values = costs(gram, strides, masks, objective)
    place = int(np.argmin(values))
    return float(values[place]), masks[place]


def weights_of(gram: Array, pace: Array, steps: NDArray[np.int64], owed: Array, index: int, rule: Forecaster) -> Array:
    """Weights ``(N, K)`` on the computed ``steps``, newest first; absent ones, -1, get zero."""
    if not isinstance(rule, Wiener):
        rows, places = np.unique(steps, axis=0, return_inverse=True)  # most plans of a search share their histories
        strides = tuple(pace)
        return np.stack([_weigh(rule, row, index, gram, strides) for row in rows])[places.ravel()]
    total, absent = len(gram), steps < 0
    target = np.zeros((len(steps), total))
    target[:, index] = 1
    # A step that does not move the state cannot pay anything back.
    if rule.feedback and pace[index] > 0:
        target -= rule.feedback / pace[index] * owed
    # Absent ones, -1, read the last step, which may be still to come: they get a row of the identity and no weight.
    inner = gram[steps[:, :, None], steps[:, None, :]]
    off = absent[:, :, None] | absent[:, None, :]
    inner = np.where(off, 0.0, inner)
    # The 1e-12 is for no ridge at all, where three residuals on a line have no inverse.
    eye = np.eye(steps.shape[1])
    inner += eye * np.where(absent, 1.0, rule.ridge * np.diag(gram).mean() + 1e-12 * np.diag(gram).max())[:, None, :]
    right = np.where(absent, 0.0, np.take_along_axis(target @ gram, steps, axis=1))
    weights = np.linalg.solve(inner, right[:, :, None])[:, :, 0]
    if rule.constraint == "sum":
        spread = np.linalg.solve(inner, np.where(absent, 0.0, 1.0)[:, :, None])[:, :, 0]
        gap = target.sum(1) - weights.sum(1)
        weights += spread * (gap / spread.sum(1))[:, None]
    return np.where(absent, 0.0, weights)


def _weigh(rule: Forecaster, row: NDArray[np.int64], index: int, gram: Array, pace: tuple[float, ...]) -> Array:
    steps = row[row >= 0]
    inner = gram[np.ix_(steps, steps)].tobytes()
    return np.pad(_others(rule, tuple(steps.tolist()), index, inner, pace), (0, len(row) - len(steps)))


# The plans of a search differ in one or two steps, and share most of their histories.
@lru_cache(maxsize=200_000)
def _others(rule: Forecaster, steps: tuple[int, ...], index: int, inner: bytes, pace: tuple[float, ...]) -> Array:
    """Weights of any other forecaster on the computed steps, from the numbers of their Gram matrix."""
    gram = torch.frombuffer(bytearray(inner), dtype=torch.float64).view(1, len(steps), len(steps))
    geometry = Geometry(steps, tuple(map(float, steps)), gram)
    weights = rule.weights(geometry, Position.at(index, len(pace), strides=pace)).reshape(-1, len(steps))[0]
    return weights.double().numpy()


def quadratic(gram: Array, rows: Array) -> Array:
    """Return ``r^T G r`` of every row."""
    values: Array = np.einsum("nt,nt->n", rows @ gram, rows)
    return values


def as_plan(mask: Mask) -> str:
    """Write a mask as a plan."""
    return "".join("C" if computed else "." for computed in mask)
