"""Step-size control: compute when the forecasts have extrapolated too far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from padecast._errors import check
from padecast._history import Geometry, Position, Trace, unit
from padecast.forecasters import Forecaster, Lagrange
from padecast.forecasters.base import check_plain
from padecast.policies.base import Policy


@dataclass(frozen=True)
class Tolerance(Policy):
    r"""Forecast until the distance travelled on extrapolation exceeds a tolerance.

    At a forecast step j an extrapolation lies ``d_j = |R(t_j) - R_1| / |R_1|`` away from plain repetition, known from
    the Gram matrix alone, over a span ``s_j = (t_j - t_2) / T`` of the run whose slope it takes to be constant, and
    the sampler moves the state by ``|\Delta\sigma_j|`` times what the stack says. A step is computed if

    .. math:: \sum_{j} |\Delta\sigma_j|\, d_j\, s_j^{1/4} > \text{tolerance}

    over the forecast steps since the last computed one and this one: the error estimate of an embedded pair, integrated
    along the schedule. ``d_j`` is the error of repetition and ``d_j s_j`` goes with that of a line; damped
    extrapolation lies between them. A slope that only two residuals vouch for counts ``doubt`` times, since
    second stretches were too long without it. While only one residual is known, ``d_j`` is taken to be ``prior``
    times the way that the noise level has gone since, and ``s_j`` twice the steps since. The exponent was chosen by
    measurement on the development seeds of the demo digits, ``prior`` and ``doubt`` on those of all demo models.

    Args:
        tolerance: In units of the newest residual times the whole way. Larger is faster. Above 0.
        prior: Relative change of the residual over the whole way, assumed before any was seen. At least 0. Default 10.
        doubt: What a distance counts that only two residuals vouch for, at least 1. Default 2.5.
        warmup: Steps computed at the start, at least 1. Default 1.
        last: Whether the last step is always computed. Default false: the tolerance decides there too.
        reference: The extrapolation that is compared with repetition, which need not be the one that forecasts.
            Default linear.

    Raises:
        InvalidOption: If an option is out of range.

    Note:
        ``d_j`` is the root mean square over all samples and branches: one decision for a whole batch, without samples
        that are not a number. On a GPU every decision waits once for the Gram matrix.

    Example:
        >>> Tolerance(tolerance=-1.0)
        Traceback (most recent call last):
            ...
        padecast._errors.InvalidOption: tolerance=-1.0 is out of range: expected more than 0, and finite.

    Reference:
        Ours; the idea of an embedded pair is that of Runge-Kutta-Fehlberg step-size control, see Hairer, Norsett and
        Wanner, "Solving Ordinary Differential Equations I", 1993, section II.4.
    """

    tolerance: float = 0.0075
    prior: float = 10.0
    doubt: float = 2.5
    warmup: int = 1
    last: bool = False
    reference: Forecaster = field(default_factory=Lagrange)
    needs_gram: ClassVar[bool] = True
    needs_stride: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.tolerance < math.inf, "tolerance", self.tolerance, "more than 0, and finite")
        check(0 <= self.prior < math.inf, "prior", self.prior, "0 or more, and finite")
        check(1 <= self.doubt < math.inf, "doubt", self.doubt, "1 or more, and finite")
        check(self.warmup >= 1, "warmup", self.warmup, "1 or more (the first step of a run is always computed)")
        check_plain("reference", self.reference)

    @property
    def looks_back(self) -> int:
        """Residuals whose inner products it wants to see."""
        return max(self.reference.window, 3)

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        if at.index - trace.steps[0].at.index < self.warmup or (self.last and at.is_last):
            return True
        known = geometry.on_host()
        travelled = sum(step.weight * self.estimate(step, known) for step in (*trace.since_computed, at))
        return not travelled <= self.tolerance

    def estimate(self, at: Position, geometry: Geometry) -> float:
        """Return the estimated error of one forecast, relative to the newest residual."""
        newest = geometry.index[0]
        if len(geometry) < 2:
            changed = self.prior * sum(at.weight_of(index) for index in range(newest, at.index))
            return changed * _root(2 * (at.index - newest) / at.total)
        apart = geometry.distance(self.reference.weights(geometry, at), unit(len(geometry), 0))
        doubt = self.doubt if len(geometry) == 2 else 1.0
        return doubt * _root((at.index - geometry.index[1]) / at.total) * float(apart.square().mean().sqrt())


def _root(span: float) -> float:
    """Return the fourth root of a span; a branch that is newer than the step has none."""
    return math.sqrt(math.sqrt(max(span, 0.0)))
