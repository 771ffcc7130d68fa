"""Extrapolate the polynomial through the newest residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, check_order, pad, register


@register("lagrange")
@dataclass(frozen=True)
class Lagrange(Forecaster):
    r"""The polynomial of ``degree`` through the newest ``degree + 1`` residuals.

    .. math:: w_k = \ell_k(t) = \prod_{j \neq k} \frac{t - t_j}{t_k - t_j}

    Args:
        degree: Degree of the polynomial, 0 to 32; 1 is linear extrapolation. Default 1. With fewer residuals the
            degree is lower.

    Returns:
        ``(K,)`` weights that sum to one, exact for polynomials of that degree.

    Raises:
        InvalidOption: If ``degree`` is out of range.

    Example:
        >>> Lagrange(1).weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20)).tolist()
        [1.5, -0.5]

    Reference:
        Classical; see e.g. Berrut and Trefethen, "Barycentric Lagrange Interpolation", SIAM Review 46(3), 2004.
    """

    degree: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order("degree", self.degree)

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        return self.degree + 1

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        return pad(lagrange_basis(geometry.time[: self.degree + 1], at.time), len(geometry.index))


def lagrange_basis(nodes: tuple[float, ...], at: float) -> Tensor:
    """Return Lagrange's basis polynomials of the nodes at one abscissa, ``(len(nodes),)`` float64."""
    values = []
    for k, node in enumerate(nodes):
        value = 1.0
        for j, other in enumerate(nodes):
            if j != k:
                value *= (at - other) / (node - other)
        values.append(value)
    return torch.tensor(values, dtype=torch.float64)


def lagrange_slope(nodes: Sequence[float], at: float) -> Tensor:
    """Return the weights of the derivative at a time of the polynomial through the nodes; zeros with one node.

    Example:
        >>> lagrange_slope((4.0, 2.0), 4.0).tolist()
        [0.5, -0.5]
    """
    slopes = []
    for k, node in enumerate(nodes):
        others = [other for j, other in enumerate(nodes) if j != k]
        terms = [prod(at - other for i, other in enumerate(others) if i != j) for j in range(len(others))]
        slopes.append(sum(terms) / prod(node - other for other in others))
    return torch.tensor(slopes, dtype=torch.float64)
