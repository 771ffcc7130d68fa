"""Compute a given number of steps, evenly but for a little closer ones at both ends, or as the sampler moves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from padecast._errors import check
from padecast._history import TINY, Geometry, Position, Trace
from padecast.policies.base import Policy


@dataclass(frozen=True)
class Spaced(Policy):
    r"""Compute so many steps, the first and the last among them, where forecasts would cost most.

    Of a run of n steps with strides :math:`d_i = |\sigma_i - \sigma_{i+1}|`, step i takes the part
    :math:`h_i = (1 - s) / n + s \, d_i / \sum_j d_j` of the way, of which :math:`w_i = \sum_{j < i} h_j` lies before
    it. Where c(i) is the last computed step before step i, the computed ones minimise this sum over all forecast ones:

    .. math:: \sum_i h_i \, \bigl(1 + e \, (2 i / (n - 1) - 1)^2\bigr) \, (w_i - w_{c(i)})^p

    There are :math:`1 + \lceil (n - 1) / every \rceil` computed steps, as many as of ``every``-th ones and the last.

    Args:
        every: Distance of computed steps on average, 1 or more. Default 4.
        power: p, how fast a forecast's error grows with its distance, above 0. Default 3.
        ends: e, by how much an error at either end counts more than one in the middle, at least 0. Default 1,
            which was better than 0 in the mean over the demo models.
        noise: s, the share of the way that is measured by noise levels, from 0 to 1: above 0 more steps are computed
            where the sampler takes long strides. Where no noise levels are known, all steps count alike. Default 0.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Spaced(), 20), plan_of(Spaced(every=2.5), 20)
        ('C...C...C...C...C..C', 'C.C.C..C..C..C.C.C.C')

    Note:
        Rectified flow with shift 3 takes most of its way in the last steps: of 20 steps, ``Spaced(every=3, noise=1)``
        then computes ``C.....C...C..C.C.CCC``. With 6, 8 and 10 computed steps this is better on demo digits with that
        shift, and worse on demo scenes and motion, where captions decide early what goes where (docs/comparison.md),
        and so it is no default.

    Reference:
        Ours. The power was chosen on the demo digits, seeds 1000 to 1007, the share of noise levels on digits and
        scenes, 1000 to 1015, the ends on all demo models, 1000 to 1023.
    """

    every: float = 4.0
    power: float = 3.0
    ends: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(1 <= self.every < math.inf, "every", self.every, "1 or more")
        check(0 < self.power < math.inf, "power", self.power, "above 0")
        check(0 <= self.ends < math.inf, "ends", self.ends, "0 or more")
        check(0 <= self.noise <= 1, "noise", self.noise, "0 to 1")

    @property
    def needs_stride(self) -> bool:  # type: ignore[override]
        """Whether the way is measured by noise levels at all."""
        return self.noise > 0

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        start = trace.steps[0].at.index
        size = at.total - start
        parts = (1.0,) * size
        if self.noise > 0 and at.strides is not None:
            way = max(sum(at.strides[start:]), TINY)
            parts = tuple((1 - self.noise) / size + self.noise * stride / way for stride in at.strides[start:])
        return at.index - start in chosen(parts, self.computed(size), self.power, self.ends)

    def computed(self, steps: int) -> int:
        """How many of so many steps are computed."""
        return 1 + math.ceil((steps - 1) / self.every - 1e-9)


@lru_cache(maxsize=64)
def chosen(parts: tuple[float, ...], count: int, power: float, ends: float) -> frozenset[int]:
    """Return the places of the computed steps, by dynamic programming over the latest computed step.

    Args:
        parts: Of the way, that each step takes.
        count: How many are computed, the first and the last among them.
        power: See :class:`Spaced`.
        ends: See :class:`Spaced`.
    """
    size = len(parts)
    steps = torch.tensor(parts, dtype=torch.float64, device="cpu")
    way = (steps.cumsum(0) - steps) / steps.sum().clamp_min(TINY)
    index = torch.arange(size, dtype=torch.float64, device="cpu")
    counts = steps * (1 + ends * (2 * index / max(size - 1, 1) - 1).square())
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
