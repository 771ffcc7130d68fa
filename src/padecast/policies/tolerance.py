"""Step-size control: compute when the forecasts have extrapolated too far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from padecast._errors import check
from padecast._history import Geometry, Position, Trace, unit
from padecast.forecasters import Forecaster, TCPade
from padecast.policies.base import Policy


@dataclass(frozen=True)
class Tolerance(Policy):
    r"""Forecast until the distance travelled on extrapolation exceeds a tolerance.

    At a forecast step j the forecast lies ``d_j = |R(t_j) - R_1| / |R_1|`` away from plain repetition, known from the Gram
    matrix alone, and the sampler moves the state by ``stride_j`` times what the stack says. The step is computed if

    .. math:: \sum_{j} |\Delta\sigma_j|\, d_j > \text{tolerance}

    over the forecast steps since the last computed one and this one: an embedded pair's error estimate, integrated
    along the schedule.

    Args:
        tolerance: In units of the newest residual times the whole way. Larger is faster. Above 0.
        warmup: Steps computed at the start, at least 1. Default 2.
        forecaster: The extrapolation that is compared with repetition.
        last: Whether the last step is always computed. Default true.

    Raises:
        InvalidOption: If an option is out of range.

    Note:
        ``d_j`` is the root mean square over all samples and branches: one decision for a whole batch.

    Example:
        >>> Tolerance(tolerance=-1.0)
        Traceback (most recent call last):
            ...
        padecast._errors.InvalidOption: tolerance=-1.0 is out of range: expected more than 0.

    Reference:
        Ours; the idea of an embedded pair is that of Runge-Kutta-Fehlberg step-size control.
    """

    tolerance: float = 0.05
    warmup: int = 2
    forecaster: Forecaster = field(default_factory=TCPade)
    last: bool = True
    needs_gram: ClassVar[bool] = True
    needs_stride: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self.tolerance > 0, "tolerance", self.tolerance, "more than 0")
        check(self.warmup >= 1, "warmup", self.warmup, "1 or more (the first step of a run is always computed)")

    @property
    def looks_back(self) -> int:
        """Residuals whose inner products it wants to see."""
        return max(self.forecaster.window, 2)

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        place = at.index - trace.steps[0].at.index
        if place < self.warmup or len(geometry) < 2 or (self.last and at.is_last):
            return True
        travelled = sum(self.distance(step, geometry) for step in (*trace.since_computed, at))
        return bool(travelled > self.tolerance)

    def distance(self, at: Position, geometry: Geometry) -> torch.Tensor:
        """Return how far the state moves on extrapolation at one step, a scalar tensor."""
        weights = self.forecaster.weights(geometry, at)
        return at.weight * geometry.distance(weights, unit(len(geometry), 0)).square().mean().sqrt()
