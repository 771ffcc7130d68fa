"""Compute steps that are spaced as the sampler moves: more where it takes long strides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from padecast._errors import check
from padecast._history import TINY, Geometry, Position, Trace
from padecast.policies.base import Policy


@dataclass(frozen=True)
class Spaced(Policy):
    r"""Compute so many steps, the first and the last among them, where forecasts would cost most.

    Of a run of n steps with strides :math:`h_i = |\sigma_i - \sigma_{i+1}|`, where c(i) is the last computed step
    before step i, the computed ones minimise this sum over all forecast ones:

    .. math:: \sum_i h_i \, (1 + l \, i / n) \, (\sigma_{c(i)} - \sigma_i)^p

    There are :math:`1 + \lceil (n - 1) / every \rceil` computed steps, as many as of ``every``-th ones and the last.
    Where no noise levels are known, all strides count alike.

    Args:
        every: Distance of computed steps on average, 1 or more. Default 4.
        power: p, how fast a forecast's error grows with its distance, above 0. Default 3.
        late: l, by how much an error at the end counts more than one at the start, which later steps partly mend; at
            least 0. Default 0.5.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Spaced(), 20), plan_of(Spaced(every=2.5), 20)
        ('C...C...C...C...C..C', 'C..C..C..C.C.C.C.C.C')

    Note:
        Rectified flow with shift 3 takes most of its way in the last steps: of 20 steps, ``Spaced(every=3)`` then
        computes ``C....C...C..C.C.C.CC``.

    Reference:
        Ours. Power and lateness were chosen on the demo digits, seeds 1000 to 1007.
    """

    needs_stride: ClassVar[bool] = True

    every: float = 4.0
    power: float = 3.0
    late: float = 0.5

    def __post_init__(self) -> None:
        check(1 <= self.every < math.inf, "every", self.every, "1 or more")
        check(0 < self.power < math.inf, "power", self.power, "above 0")
        check(0 <= self.late < math.inf, "late", self.late, "0 or more")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        start = trace.steps[0].at.index
        strides = at.strides[start:] if at.strides is not None else (1.0,) * (at.total - start)
        return at.index - start in chosen(strides, self.computed(len(strides)), self.power, self.late)

    def computed(self, steps: int) -> int:
        """How many of so many steps are computed."""
        return 1 + math.ceil((steps - 1) / self.every - 1e-9)


@lru_cache(maxsize=64)
def chosen(strides: tuple[float, ...], count: int, power: float, late: float) -> frozenset[int]:
    """Return the places of the computed steps, by dynamic programming over the latest computed step.

    Args:
        strides: Of all steps of the run.
        count: How many are computed, the first and the last among them.
        power: See :class:`Spaced`.
        late: See :class:`Spaced`.
    """
    size = len(strides)
    steps = torch.tensor(strides, dtype=torch.float64, device="cpu")
    way = (steps.cumsum(0) - steps) / steps.sum().clamp_min(TINY)
    counts = steps * (1 + late * torch.arange(size, device="cpu") / size)
    costs = (counts * (way - way[:, None]).clamp_min(0) ** power).cumsum(1)
    # costs[c, e]: of forecasting the steps between c and e; none that comes after e begins before c
    costs = torch.cat([costs.new_zeros(size, 1), costs[:, :-1]], 1).masked_fill(
        costs.new_ones(size, size).tril().bool(), math.inf
    )
    best, befores = costs.new_full((size,), math.inf), []
    best[0] = 0
    for _ in range(min(count, size) - 1):
        best, before = (best[:, None] + costs).min(0)
        befores.append(before.tolist())
    places = [size - 1]
    for before in reversed(befores):
        places.append(before[places[-1]])
    return frozenset(places)
