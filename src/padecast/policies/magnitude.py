"""MagCache's rule: compute when repeated residuals would have the wrong magnitude."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register

LEAST = 1e-9
"""Stands for 0 where numbers are compared by their ratio."""
THRESHOLDS = [10 ** (power / 40) for power in range(-160, 81)]
"""Tried to compute as many steps as wanted: 1e-4 to 100."""


@register("magnitude")
@dataclass(frozen=True)
class Magnitude(Policy):
    r"""Follow how residuals' magnitudes went in a calibration run, and compute before repeating one errs too much.

    With ``gamma_s`` the mean over tokens of ``|r_s| / |r_{s-1}|`` in that run, over the steps since the last computed
    one and this one,

    .. math:: P_s = \prod_{j \le s} \gamma_j, \qquad E = \sum_s |1 - P_s|

    a step is forecast while ``E <= threshold`` and at most ``limit`` forecasts are in a row, after a first share of the
    schedule that is computed.

    Args:
        ratios: ``gamma`` of every step, the first being 1; from :func:`padecast.lab.magnitudes`. Another number of
            steps is interpolated. Default all 1, so that ``limit`` decides.
        threshold: Of ``E``, above 0. Default 0.06.
        limit: Forecasts in a row, at least 1. Default 3.
        retention: Share of the schedule computed at the start, in [0, 1). Default 0.2.
        last: Whether the last step is always computed. Default true.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Magnitude(ratios=(1, 0.99, 0.99, 0.98, 0.97, 0.95, 0.9, 0.8), retention=0.25), 8)
        'CC..C.CC'

    Reference:
        Ma et al., "MagCache: Fast Video Generation with Magnitude-Aware Cache", arXiv:2506.09045.
    """

    ratios: tuple[float, ...] = (1.0,)
    threshold: float = 0.06
    limit: int = 3
    retention: float = 0.2
    last: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        plain = len(self.ratios) > 0 and all(0 <= ratio < math.inf for ratio in self.ratios)
        check(plain, "ratios", self.ratios, "one number or more, 0 or above and finite")
        check(0 < self.threshold < math.inf, "threshold", self.threshold, "more than 0, and finite")
        check(self.limit >= 1, "limit", self.limit, "1 or more")
        check(0 <= self.retention < 1, "retention", self.retention, "0 to 1, without 1")

    @property
    def preparation(self) -> str:
        """Ratios, if it was given none."""
        return "ratios" if self.ratios == (1.0,) else ""

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """Yield thresholds, and limits and shares in which they work: by how many octaves these change."""
        if "threshold" in fixed:
            return
        own = self.limit, self.retention
        limits = [self.limit] if "limit" in fixed else list(range(self.limit, steps + 1))
        shares = [self.retention] if "retention" in fixed else [self.retention, self.retention / 2, 1 / (2 * steps)]
        thresholds = sorted(THRESHOLDS, key=lambda value: octaves(value, self.threshold))
        for limit, retention in sorted(product(limits, shares), key=lambda room: sum(map(octaves, room, own))):
            for threshold in thresholds:
                options = {"limit": limit, "retention": retention, "threshold": float(f"{threshold:.4g}")}
                yield {name: value for name, value in options.items() if value != getattr(self, name)}

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        retained = at.index < self.retention * at.total
        if retained or trace.forecasts_in_a_row >= self.limit or (self.last and at.is_last):
            return True
        magnitude, error = 1.0, 0.0
        for step in (*trace.since_computed, at):
            magnitude *= self.ratio(step.index, step.total)
            error += abs(1 - magnitude)
        return not error <= self.threshold

    def ratio(self, index: int, total: int) -> float:
        """Return ``gamma`` at a step of a schedule that may be longer or shorter than the calibration's."""
        place = index * (len(self.ratios) - 1) / max(total - 1, 1)
        low = min(int(place), len(self.ratios) - 1)
        high = min(low + 1, len(self.ratios) - 1)
        return self.ratios[low] + (place - low) * (self.ratios[high] - self.ratios[low])


def octaves(value: float, base: float) -> float:
    """Return how many times one number is twice the other; 0 stands for nearly nothing.

    Example:
        >>> octaves(1.0, 4.0)
        2.0
    """
    return abs(math.log2(max(value, LEAST) / max(base, LEAST)))
