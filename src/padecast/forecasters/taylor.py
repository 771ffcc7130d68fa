"""TaylorSeer's predictor, as published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import torch
from torch import Tensor

from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, check_order, pad, register


@register("taylor")
@dataclass(frozen=True)
class Taylor(Forecaster):
    r"""Finite differences in place of derivatives, in a Taylor polynomial.

    At a computed step that comes ``g`` steps after the one before,

    .. math:: D_0 = R, \quad D_{i+1} = (D_i - D_i^\text{previous}) / g

    and a step ``k`` later is forecast as ``sum_i D_i k^i / i!`` for ``i <= order``.

    Args:
        order: Highest difference, 0 to 32. Default 1, which is linear extrapolation.

    Returns:
        ``(K,)`` weights that sum to one.

    Raises:
        InvalidOption: If ``order`` is out of range.

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
        super().__post_init__()
        check_order("order", self.order)

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        return self.order + 1

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        nodes = geometry.time[: self.window]
        ahead = at.time - nodes[0]
        terms = [row * ahead**i / factorial(i) for i, row in enumerate(differences(nodes))]
        return pad(torch.stack(terms).sum(0), len(geometry))


def differences(nodes: Sequence[float]) -> list[Tensor]:
    """Return ``D_0, D_1, ...`` at the newest node as weights on the residuals, from times newest first.

    Example:
        >>> [row.tolist() for row in differences((4.0, 2.0))]
        [[1.0, 0.0], [0.5, -0.5]]
    """
    table = torch.eye(len(nodes), dtype=torch.float64)
    rows = [table[0]]
    for i in range(1, len(nodes)):
        gaps = torch.tensor([nodes[k] - nodes[k + 1] for k in range(len(nodes) - i)], dtype=torch.float64)
        table = (table[:-1] - table[1:]) / gaps[:, None]
        rows.append(table[0])
    return rows
