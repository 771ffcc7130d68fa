"""Follow a plan, and compute a step more where a run surprises."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch.nn.functional import pad

from padecast._geometry import Geometry, unit
from padecast._steps import Position, Trace
from padecast.forecasters import Forecaster, Reuse
from padecast.memory.arithmetic import pad as pad_weights
from padecast.policies.plan import Plan

LEAST = 3
"""Runs of a plan after which it is known what is usual."""
LIMIT = 2.0
"""Decibels above what is usual from which on a step surprises (benchmarks/results/trial-risk.json)."""
SHARE = 4
"""Of so many planned steps one more may be computed; one in any case."""
FLOOR = 1e-12
"""Squared errors below it, relative, are rounding."""


@dataclass(eq=False)
class Surprises:
    """What the runs of a plan had at its computed steps.

    Threads share it without a lock: a run whose figure another one overwrites is not counted, and that is all.

    Example:
        >>> surprises = Surprises()
        >>> for decibels in (-20.0, -22.0, -24.0):
        ...     surprises.add(5, decibels)
        >>> surprises.usual(5), surprises.usual(6)
        (-22.0, None)
    """

    _sums: dict[int, tuple[int, float]] = field(default_factory=dict, init=False)

    def add(self, index: int, decibels: float) -> None:
        """Add what one run had at a step."""
        count, total = self._sums.get(index, (0, 0.0))
        self._sums[index] = count + 1, total + decibels

    def usual(self, index: int) -> float | None:
        """Return the mean of the runs so far; ``None`` before there are three."""
        count, total = self._sums.get(index, (0, 0.0))
        return total / count if count >= LEAST else None

    @property
    def runs(self) -> int:
        """Runs that were seen."""
        return max((count for count, _ in list(self._sums.values())), default=0)


@dataclass(frozen=True)
class Watchful(Plan):
    r"""Follow a plan; where a computed step lies far from its forecast, compute the step after it too.

    .. math:: 10 \log_{10} \frac{\lVert R_i - \hat R_i \rVert^2}{\lVert R_i \rVert^2} > \text{usual}_i + 2

    with the forecast that the run would have had for a computed step i. What is usual is the mean over earlier runs of
    the plan, three at least. A quarter of the planned steps are added to a run at most, and one in any case. On a GPU
    every computed step is waited for once.

    Args:
        steps: See :class:`Plan`.
        forecaster: That of the run. Default repetition.
        surprises: What earlier runs had, and where this one's are added.

    Example:
        >>> Watchful("CC..C...").most()
        1

    Reference:
        Ours.
    """

    forecaster: Forecaster = field(default_factory=Reuse)
    surprises: Surprises = field(default_factory=Surprises, compare=False, repr=False)
    needs_gram: ClassVar[bool] = True
    needs_stride: ClassVar[bool] = True

    @property
    def looks_back(self) -> int:
        """Residuals whose inner products it wants to see: those of a forecast, and the one that it is for."""
        return self.forecaster.window + 1

    def most(self, start: int = 0) -> int:
        """Return how many steps a run that begins at a step computes beyond the plan at most."""
        return max(1, self.steps[start:].count("C") // SHARE)

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        is_planned = super().computes(at, trace, geometry)
        start = trace.steps[0].at.index  # before it the plan was another model's, or nobody's
        newest, added = geometry.index[0], len(trace.computed) - self.steps[start : at.index].count("C")
        if at.index != newest + 1 or self.steps[newest] != "C" or len(geometry) < 2:
            return is_planned
        usual, decibels = self.surprises.usual(newest), measure_surprise(geometry, at, self.forecaster)
        if math.isnan(decibels):
            return is_planned
        if added <= 0:  # a step that was added brings those after it nearer than is usual
            self.surprises.add(newest, decibels)
        return is_planned or (usual is not None and decibels > usual + LIMIT and added < self.most(start))


def measure_surprise(geometry: Geometry, at: Position, forecaster: Forecaster) -> float:
    """Return the squared error that a forecast of the newest residual would have had, relative to it, in decibels.

    Args:
        geometry: Two residuals at least, with their inner products; the mean is taken over its samples.
        at: A step of the run.
        forecaster: Of the forecast.

    Example:
        >>> import torch
        >>> geometry = Geometry.of(torch.tensor([[1.0, 0.0], [1.0, 0.1]]), [0, 1])
        >>> round(measure_surprise(geometry, Position.at(2, 8), Reuse()), 1)
        -20.0
    """
    geometry = geometry.on_host()
    past = geometry.before_newest()
    place = replace(at, index=geometry.index[0], time=geometry.time[0])
    weights = pad_weights(forecaster.weights(past, place), len(past)).double()
    newest = unit(len(geometry), 0)
    gap = newest - pad(weights, (1, 0))
    share = geometry.quadratic(gap, gap) / geometry.quadratic(newest, newest)
    mean = float(share.mean())
    return 10 * math.log10(max(mean, FLOOR)) if math.isfinite(mean) else math.nan
