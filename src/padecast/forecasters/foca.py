"""FoCa's predictor and corrector: the feature's trajectory as an ordinary differential equation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from padecast._geometry import Geometry, unit
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, pad, register
from padecast.forecasters.lagrange import lagrange_basis, lagrange_slope


@register("foca")
@dataclass(frozen=True)
class FoCa(Forecaster):
    r"""Forecast with a backward differentiation formula, then calibrate with Heun's rule.

    With the newest residuals ``R_1, R_2``, ``h`` the time ahead, ``g`` the time between them and ``w = h / g``,

    .. math:: \hat R = \frac{(1 + w)^2 R_1 - w^2 R_2 + h (1 + w) R'_1}{1 + 2 w}, \qquad
              R = R_1 + \frac{h}{2} (R'_1 + \hat R')

    which for ``w = 1`` is the printed ``4/3 R_1 - 1/3 R_2 + 2h/3 R'_1``. ``R'_1`` is the slope at the newest residual
    of the parabola through the three newest, ``\hat R'`` that at the forecast of the one through it and the two newest.

    Args:
        corrected: Whether Heun's rule follows. Default true.

    Returns:
        ``(K,)`` weights that sum to one; with two residuals those of the line, with one repetition.

    Example:
        >>> FoCa(corrected=False).weights(Geometry((8, 4), (8.0, 4.0)), Position.at(10, 20)).tolist()
        [1.5, -0.5]

    Note:
        The paper prints the formula for equal steps. Forecasts look ahead by less than the interval between computed
        steps, so the formula for variable steps is used; the printed one would be wrong on a straight line.

    Reference:
        Zheng et al., "Forecast then Calibrate: Feature Caching as ODE for Efficient Diffusion Transformers",
        arXiv:2508.16211. Ours forecasts the residual of the whole stack instead of every module's output. The formula
        for variable steps: Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", section III.5.
    """

    corrected: bool = True
    window: ClassVar[int] = 3

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        nodes = geometry.time[: self.window]
        if len(nodes) < 2:
            return pad(lagrange_basis(nodes, at.time), len(geometry))
        newest, before = unit(len(nodes), 0), unit(len(nodes), 1)
        ahead = at.time - nodes[0]
        ratio, slope = ahead / (nodes[0] - nodes[1]), lagrange_slope(nodes, nodes[0])
        forecast = (1 + ratio) ** 2 * newest - ratio**2 * before + ahead * (1 + ratio) * slope
        forecast = forecast / (1 + 2 * ratio)
        if self.corrected and ahead != 0:
            three = torch.stack([forecast, newest, before])
            arrival = lagrange_slope((at.time, *nodes[:2]), at.time) @ three
            forecast = newest + ahead / 2 * (slope + arrival)
        return pad(forecast, len(geometry))
