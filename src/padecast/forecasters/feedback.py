"""Pay back what earlier forecasts are now known to have got wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import ClassVar

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry, beside
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, check_plain, pad, register
from padecast.forecasters.lagrange import Lagrange, lagrange_basis


@register("feedback")
@dataclass(frozen=True)
class Feedback(Forecaster):
    r"""A forecaster that pays back the error of the last stretch of forecasts.

    When a computed residual closes a stretch of forecast steps j, the residuals between its two ends can be
    interpolated instead of extrapolated, which tells how far those forecasts have moved the state astray:

    .. math:: E = \sum_j |\Delta\sigma_j| \, (w_j - \tilde w_j)

    in weights on the residuals, with ``w_j`` what the forecaster had said and ``\tilde w_j`` the polynomial through the
    three newest residuals. The next forecast, if it follows at once, pays it back:

    .. math:: w = w_\text{inner} - \text{share} \cdot E / \max(|\Delta\sigma|, \overline{|\Delta\sigma_j|})

    with the stretch's mean stride as a bound, so that a short step is not asked to pay for long ones.

    Args:
        inner: The forecaster that is corrected. Default linear extrapolation.
        share: Part of the error that is paid back, in [0, 2]; 0 pays nothing. Default 0.5.

    Returns:
        ``(K,)`` or ``(B, K)`` weights; they sum to one if the inner ones do.

    Raises:
        InvalidOption: If ``share`` leaves [0, 2], or the inner forecaster is not weights on residuals.

    Example:
        >>> from padecast.forecasters import Reuse
        >>> Feedback(Reuse(), share=1.0).weights(Geometry((2, 0), (2.0, 0.0)), Position.at(3, 20)).tolist()
        [1.5, -0.5]

    Reference:
        Ours. It is noise shaping (error-feedback quantization) and, seen from numerical integration, a deferred
        correction; see Dutt, Greengard and Rokhlin, BIT 40(2), 2000.
    """

    inner: Forecaster = field(default_factory=Lagrange)
    share: float = 0.5
    needs_stride: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.share <= 2, "share", self.share, "0 to 2")
        check_plain("inner", self.inner)

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full: one more, to know what was forecast before the newest."""
        return max(self.inner.window + 1, INTERPOLATION)

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        weights = pad(self.inner.weights(geometry, at), len(geometry))
        stretch = _stretch(geometry)
        follows = at.index == geometry.index[0] + 1 and at.weight > 0
        if self.share == 0 or not stretch or not follows:
            return weights
        moved = max(at.weight, fmean(map(at.weight_of, stretch)))
        debt = self._debt(geometry, stretch, at)
        like = weights if weights.ndim >= debt.ndim else debt
        return beside(weights, like) - self.share / moved * beside(debt, like)

    def _debt(self, geometry: Geometry, stretch: range, at: Position) -> Tensor:
        """Return the weights of the state's error after a stretch of forecasts."""
        nodes, before = geometry.time[:INTERPOLATION], geometry.before_newest()
        pace = (geometry.time[0] - geometry.time[1]) / (geometry.index[0] - geometry.index[1])
        debt = torch.zeros(len(geometry), dtype=torch.float64)
        for index in stretch:
            time = geometry.time[1] + pace * (index - geometry.index[1]) if at.times is None else at.times[index]
            step = replace(at, index=index, time=time, stride=None if at.strides is None else at.strides[index])
            forecast = self.inner.weights(before, step)
            forecast = torch.nn.functional.pad(pad(forecast, len(before)), (1, 0))
            hindsight = pad(lagrange_basis(nodes, time), len(geometry))
            debt = beside(debt, forecast) + at.weight_of(index) * (forecast - beside(hindsight, forecast))
        return debt


INTERPOLATION = 3


def _stretch(geometry: Geometry) -> range:
    """Return the step indices that were forecast between the two newest computed steps."""
    return range(geometry.index[1] + 1, geometry.index[0]) if len(geometry) > 1 else range(0)
