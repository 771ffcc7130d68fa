"""HiCache's predictor, as published."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, check_order, pad, register
from padecast.forecasters.taylor import differences


@register("hermite")
@dataclass(frozen=True)
class Hermite(Forecaster):
    r"""Finite differences in a Hermite series: :class:`Taylor` with contracted Hermite polynomials in place of powers.

    A step ``k`` after the newest computed one is forecast as

    .. math:: \sum_{i \le \text{order}} D_i \, \frac{\sigma^i H_i(\sigma k)}{i!}, \qquad
              H_0 = 1, \; H_1(x) = 2x, \; H_{i+1}(x) = 2x H_i(x) - 2i H_{i-1}(x)

    with the differences ``D_i`` of :class:`Taylor`. With ``scale=0.5`` the first order goes half as far as Taylor's.

    Args:
        order: Highest difference, 0 to 32. Default 2.
        scale: ``sigma``, in (0, 1]. Default 0.5.

    Returns:
        ``(K,)`` weights that sum to one.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> Hermite(1).weights(Geometry((8, 4), (8.0, 4.0)), Position.at(10, 20)).tolist()
        [1.25, -0.25]

    Reference:
        Feng et al., "HiCache: Training-free Acceleration of Diffusion Models via Hermite Polynomial-based Feature
        Caching", arXiv:2508.16984. Ours forecasts the residual of the whole stack instead of every module's output.
    """

    order: int = 2
    scale: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order("order", self.order)
        check(0 < self.scale <= 1, "scale", self.scale, "more than 0, at most 1")

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        return self.order + 1

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        nodes = geometry.time[: self.window]
        basis = hermite(self.scale * (at.time - nodes[0]), len(nodes))
        rows = differences(nodes)
        terms = [self.scale**i * basis[i] / factorial(i) * row for i, row in enumerate(rows)]
        return pad(torch.stack(terms).sum(0), len(geometry))


def hermite(x: float, count: int) -> list[float]:
    """Return the first physicists' Hermite polynomials at a point.

    Example:
        >>> hermite(0.5, 4)
        [1.0, 1.0, -1.0, -5.0]
    """
    values = [1.0, 2 * x]
    for i in range(1, count - 1):
        values.append(2 * x * values[i] - 2 * i * values[i - 1])
    return values[:count]
