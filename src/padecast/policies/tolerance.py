"""Step-size control: compute when the forecasts may have led the image too far astray."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from padecast._errors import check
from padecast._geometry import Geometry, unit
from padecast._noise import TINY
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.knob import Knob


@register("tolerance")
@dataclass(frozen=True)
class Tolerance(Policy):
    r"""Forecast until what the forecasts may have done to the image exceeds a tolerance.

    Let :math:`u_j = 1 - \sqrt{\sigma_{\text{eff}, j}}` be how far step j is on the way from noise to the image, from 0
    to 1, see :meth:`padecast._noise.Noise.effective`. What the model says has changed from the second newest to the
    newest computed step by the share :math:`|R_1 - R_2| / |R_1|`, known from the Gram matrix alone. At this pace
    repetition would err at step j by

    .. math:: d_j = \frac{|R_1 - R_2|}{|R_1|} \cdot \frac{u_j - u_1}{u_1 - u_2}

    and a line by d_j times the way that it is drawn out. A step is computed if

    .. math:: \sum_j g_j \, d_j \, (u_j - u_1) > \text{tolerance},
              \qquad g_j = \gamma_j \, \frac{|\Delta\sigma_{\text{eff}, j}|}{\sigma_{\text{eff}, j}}

    over the forecast steps since the last computed one and this one. The weight :math:`g_j` says what an error of this
    step does to the image: :math:`\gamma_j` turns an error of the output into one of the clean image, and the rest is
    the share of the noise that the step takes away. Where no noise levels are known, all steps count alike.

    Args:
        tolerance: Larger is faster. Above 0. Default 0.0005.
        warmup: Steps computed at the start, at least 2: a pace is known from two steps. Default 3, so that the first
            extrapolation was confirmed.
        last: Whether the last step is always computed. Default false: the tolerance decides there too.

    Raises:
        InvalidOption: If an option is out of range.

    Note:
        Changes are root mean squares over all samples and branches: one decision for a whole batch, without samples
        that are not a number. On a GPU every decision waits once for the Gram matrix.

    Example:
        >>> Tolerance(tolerance=-1.0)
        Traceback (most recent call last):
            ...
        padecast._errors.InvalidOption: tolerance=-1.0 is out of range: expected more than 0, and finite.

    Reference:
        Ours; the idea of step-size control by an error estimate is that of Runge-Kutta-Fehlberg, see Hairer, Norsett
        and Wanner, "Solving Ordinary Differential Equations I", 1993, section II.4.
    """

    tolerance: float = 0.0005
    warmup: int = 3
    last: bool = False
    needs_gram: ClassVar[bool] = True
    needs_stride: ClassVar[bool] = True
    knob: ClassVar[Knob] = Knob("tolerance", 1e-5, 10.0, rising=False, logarithmic=True)
    looks_back: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.tolerance < math.inf, "tolerance", self.tolerance, "more than 0, and finite")
        check(self.warmup >= 2, "warmup", self.warmup, "2 or more: a pace is known from two computed steps")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        place = at.index - trace.steps[0].at.index
        if place < self.warmup or len(geometry) < 2 or (self.last and at.is_last):
            return True
        pace = self.pace(at, geometry.on_host())
        strayed = sum(weight(step) * way(step, geometry.index[0]) ** 2 for step in (*trace.since_computed, at))
        return not pace * strayed <= self.tolerance

    @staticmethod
    def pace(at: Position, geometry: Geometry) -> float:
        """Return the relative change of the residual over the newest stretch, per unit of the way to the image."""
        apart = geometry.distance(unit(len(geometry), 0), unit(len(geometry), 1))
        newest, before = geometry.index[:2]
        return float(apart.square().mean().sqrt()) / max(abs(place_of(at, newest) - place_of(at, before)), TINY)


def place_of(at: Position, index: int) -> float:
    """Return how far a step is on the way from noise to the image; the share of the steps where no noise is known.

    Example:
        >>> place_of(Position.at(3, 20), 10)
        0.5
    """
    if at.noise is None:
        return index / at.total
    return 1 - math.sqrt(at.noise.levels[index])


def way(at: Position, since: int) -> float:
    """Return how far a step is from a computed one before it, also on a way that leads to noise; else nothing."""
    return abs(place_of(at, at.index) - place_of(at, since)) if since < at.index else 0.0


def weight(at: Position) -> float:
    """Return what an error of a step's output does to the image."""
    if at.noise is None:
        return 1.0 / at.total
    level, after = at.noise.levels[at.index : at.index + 2]
    return at.noise.gains[at.index] * abs(level - after) / max(level, after, TINY)
