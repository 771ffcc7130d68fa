"""A vector rational function through the newest residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry, beside, precise
from padecast._noise import TINY
from padecast._steps import Position
from padecast.forecasters.base import MOST, Forecaster, pad, register
from padecast.forecasters.lagrange import lagrange_basis


@register("pade")
@dataclass(frozen=True)
class Pade(Forecaster):
    r"""Vector Padé approximant ``[m/1]``: polynomial numerators over one scalar denominator for all elements.

    With the ``m + 2`` newest residuals at abscissae ``t_k`` and ``D[f]`` the divided difference of order ``m + 1``,

    .. math::
        q(t) = 1 + c (t - t_1), \qquad
        c = -\frac{\langle D[(t - t_1) R], D[R] \rangle}{|D[(t - t_1) R]|^2}, \qquad
        w_k = \ell_k(t)\, q(t_k) / q(t)

    over the ``m + 1`` newest points: ``c`` makes ``q R`` as close to a polynomial of degree m as it can be.

    Args:
        order: ``(m, n)``, degree of numerator (0 to 32) and denominator; ``n`` is 1, or 0 for a plain polynomial.
            Default ``(1, 1)``.
        guard: A sample whose ``q(t)`` or ``q(t_k)`` leaves ``[1/guard, guard]`` is close to a pole and falls back to
            the polynomial (``c = 0``). At least 1. Default 2.

    Returns:
        ``(B, K)`` weights that sum to one (but for order ``(0, 1)``, whose only weight is ``1 / q(t)``); with too few
        residuals the ``(K,)`` weights of a lower degree.

    Raises:
        InvalidOption: If the order or the guard is out of range.

    Example:
        >>> t = torch.arange(4.0, dtype=torch.float64)[:, None]
        >>> hyperbola = torch.cat([1 / (1 + 0.1 * t), (2 + t) / (1 + 0.1 * t)], dim=1)
        >>> weights = Pade().weights(Geometry.of(hyperbola[:3], [0, 1, 2]), Position.at(3, 20))
        >>> torch.allclose(weights @ hyperbola[:3].flip(0), hyperbola[3])
        True

    Reference:
        Cui et al., "TC-Padé: Trajectory-Consistent Padé Approximation for Diffusion Acceleration", arXiv:2603.02943,
        whose predictor is element-wise with poles that depend on the features' scale (see :class:`TCPade`). Ours
        is the simultaneous (vector) approximant, see Baker and Graves-Morris, "Padé Approximants", 1996, chapter 8.
    """

    order: tuple[int, int] = (1, 1)
    guard: float = 2.0
    needs_gram: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        is_pair = isinstance(self.order, tuple) and len(self.order) == 2
        check(is_pair and 0 <= self.order[0] <= MOST, "order", self.order, f"(m, 1) with m from 0 to {MOST}")
        check(self.order[1] in (0, 1), "order", self.order, "a denominator of degree 0 or 1")
        check(self.guard >= 1, "guard", self.guard, "1 or more")

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights sum to one: not over a constant numerator."""
        return self.order != (0, 1)

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        return sum(self.order) + 1

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        degree = min(self.order[0], len(geometry) - 1)
        basis = lagrange_basis(geometry.time[: degree + 1], at.time)
        if self.order[1] == 0 or len(geometry) < degree + 2 or geometry.gram is None:
            return pad(basis, len(geometry))
        nodes = geometry.time[: degree + 2]
        slope = self._denominator(geometry.newest(degree + 2), nodes)
        offsets = torch.tensor([at.time, *nodes], dtype=torch.float64) - nodes[0]
        q = 1 + slope[:, None] * beside(offsets, slope)
        near_pole = (q < 1 / self.guard) | (q > self.guard)
        q = torch.where(near_pole.any(dim=1, keepdim=True), torch.ones_like(q), q)
        return pad(beside(basis, q) * q[:, 1 : degree + 2] / q[:, :1], len(geometry))

    def _denominator(self, geometry: Geometry, nodes: tuple[float, ...]) -> Tensor:
        """Return the slope c of the denominator per sample, ``(B,)``; zero where nothing determines it."""
        assert geometry.gram is not None
        plain = weigh_divided_difference(nodes)
        risen = plain * (torch.tensor(nodes, dtype=torch.float64) - nodes[0])
        square = geometry.quadratic(risen, risen)
        scale = precise(geometry.gram)[:, 0, 0] * risen.abs().max() ** 2
        slope = -geometry.quadratic(risen, plain) / square.clamp_min(TINY)
        return torch.where(square > 1e-14 * scale, slope, torch.zeros_like(slope))


def weigh_divided_difference(nodes: tuple[float, ...]) -> Tensor:
    """Return the weights of the divided difference over all the nodes, ``1 / prod_j (t_k - t_j)``."""
    values = []
    for k, node in enumerate(nodes):
        value = 1.0
        for j, other in enumerate(nodes):
            if j != k:
                value /= node - other
        values.append(value)
    return torch.tensor(values, dtype=torch.float64)
