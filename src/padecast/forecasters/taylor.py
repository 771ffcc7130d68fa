"""TaylorSeer's predictor, as published."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import torch
from torch import Tensor

from padecast._errors import check
from padecast._history import Geometry, Position
from padecast.forecasters.base import Forecaster, fitted


@dataclass(frozen=True)
class Taylor(Forecaster):
    r"""Finite differences in place of derivatives, in a Taylor polynomial.

    At a computed step that comes ``g`` steps after the one before,

    .. math:: D_0 = R, \quad D_{i+1} = (D_i - D_i^\text{previous}) / g

    and a step ``k`` later is forecast as ``sum_i D_i k^i / i!`` for ``i <= order``.

    Args:
        order: Highest difference, at least 0. Default 1, which is linear extrapolation.

    Returns:
        ``(K,)`` weights that sum to one.

    Raises:
        InvalidOption: If ``order`` is negative.

    Example:
        >>> Taylor(2).weights(Geometry((8, 4, 0), (8.0, 4.0, 0.0)), Position.at(10, 20)).tolist()
        [1.625, -0.75, 0.125]

    Note:
        The differences are backward differences, not derivatives at the newest step, so a quadratic is not
        extrapolated exactly whatever the order; :class:`Lagrange` is the true polynomial. Kept as published.

    Reference:
        Liu et al., "From Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers", arXiv:2503.06923.
        Ours forecasts the residual of the whole stack instead of every module's output.
    """

    order: int = 1

    def __post_init__(self) -> None:
        check(self.order >= 0, "order", self.order, "0 or more")

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        return self.order + 1

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        nodes = geometry.time[: self.window]
        ahead = at.time - nodes[0]
        differences = torch.eye(len(nodes), dtype=torch.float64)
        total = differences[0].clone()
        for i in range(1, len(nodes)):
            gaps = torch.tensor([nodes[k] - nodes[k + 1] for k in range(len(nodes) - i)], dtype=torch.float64)
            differences = (differences[:-1] - differences[1:]) / gaps[:, None]
            total += differences[0] * ahead**i / factorial(i)
        return fitted(total, len(geometry))
