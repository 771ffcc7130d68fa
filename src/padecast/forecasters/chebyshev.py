"""Spectrum's predictor: a ridge regression on Chebyshev polynomials of time."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, check_order, pad, register
from padecast.forecasters.extras import Moments
from padecast.forecasters.lagrange import lagrange_basis

if TYPE_CHECKING:
    from padecast.memory.arithmetic import Streams
    from padecast.memory.memory import Memory


@register("chebyshev")
@dataclass(frozen=True)
class Chebyshev(Forecaster, Moments):
    r"""Fit Chebyshev polynomials ``T_0 .. T_M`` to all computed residuals and evaluate them at the forecast step.

    .. math:: w = (1 - \beta)\,\ell(t) + \beta\,\phi(\tau)^T (\Phi^T \Phi + \lambda I)^{-1} \Phi^T

    with ``phi`` the polynomials, ``tau`` in [-1, 1] the step on the run's schedule, ``lambda`` the ridge, ``ell``
    linear extrapolation of the two newest residuals and ``beta`` the blend.

    Args:
        degree: Highest polynomial M, 0 to 32. Default 4.
        ridge: Ridge ``lambda``, at least 0. Default 0.1.
        blend: Share ``beta`` of the regression, in [0, 1]; the rest is linear extrapolation. Default 1.
        span: Number of steps that map to [-1, 1]; ``None`` (default) is the run's own length. The released code has 50
            fixed, so that shorter runs use part of the interval.
        abscissa: ``"index"`` maps the step index, ``"time"`` the abscissa, which must then lie in [0, 1].

    Returns:
        ``(K,)`` weights over all computed steps. They do not sum to one: the report's weight sum says how far off.

    Raises:
        InvalidOption: If an option is out of range, or the time of a step with the abscissa ``"time"``.

    Memory:
        The ``M + 1`` moments ``Phi^T R`` in float32, and the two newest residuals; it does not grow with the run. A
        ridge near 0 mixes the moments with large weights of both signs, at the cost of digits.

    Note:
        The ridge is not relative to the number of computed steps, so with few of them it pulls hard towards zero: with
        the published 4 and 0.1, five computed steps of 20 forecast a line behind its newest residual.

    Example:
        >>> weights = Chebyshev(degree=1, ridge=0.0).weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20))
        >>> [round(w, 6) for w in weights.tolist()]
        [1.5, -0.5]

    Reference:
        Han et al., "Adaptive Spectral Feature Forecasting for Diffusion Sampling Acceleration", arXiv:2603.01623.
        The paper forecasts the last block's output; ours the stack's residual, the same boundary. Time is kept in
        float64 where the released code rounds it to bfloat16.
    """

    degree: int = 4
    ridge: float = 0.1
    blend: float = 1.0
    span: int | None = None
    abscissa: str = "index"
    sums_to_one: ClassVar[bool] = False
    window: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order("degree", self.degree)
        check(0 <= self.ridge < inf, "ridge", self.ridge, "0 or more")
        check(0 <= self.blend <= 1, "blend", self.blend, "a share between 0 and 1")
        check(self.span is None or self.span >= 2, "span", self.span, "2 steps or more, or none")
        check(self.abscissa in ("index", "time"), "abscissa", self.abscissa, "'index' or 'time'")

    @property
    def extra(self) -> Moments:
        """Its moments."""
        return self

    @property
    def moments(self) -> int:
        """See :attr:`Moments.moments`."""
        return self.degree + 1

    def basis(self, at: Position) -> Tensor:
        """Return ``T_0 .. T_M`` at a step, ``(M + 1,)`` float64."""
        return self._polynomials(torch.tensor([self._place(at.index, at.time)], dtype=torch.float64), at.total)[0]

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        regression = self.basis(at) @ self._inverse(geometry, at.total)[:, : len(geometry)]
        return self.blend * regression + pad(self._linear(geometry, at), len(geometry))

    def forecast(self, memory: Memory, geometry: Geometry, entry: Streams, at: Position) -> Streams:
        """Mix the moments, which is the same forecast as :meth:`weights` on every computed residual."""
        return memory.add_moments(entry, self._linear(geometry, at), self.blend * self._solution(geometry, at))

    def _linear(self, geometry: Geometry, at: Position) -> Tensor:
        return (1 - self.blend) * lagrange_basis(geometry.time[:2], at.time)

    def _solution(self, geometry: Geometry, at: Position) -> Tensor:
        """Return ``(Phi^T Phi + ridge I)^-1 phi(tau)``: the weight of every moment."""
        inverse = self._inverse(geometry, at.total)
        return inverse @ (inverse.T @ self.basis(at))

    def _inverse(self, geometry: Geometry, total: int) -> Tensor:
        """Return the pseudoinverse of ``Phi`` over ``sqrt(ridge) I``: better conditioned than the normal equations."""
        places = [self._place(i, t) for i, t in zip(geometry.index, geometry.time, strict=True)]
        design = self._polynomials(torch.tensor(places, dtype=torch.float64), total)
        ridge = sqrt(self.ridge) * torch.eye(self.moments, dtype=torch.float64)
        inverse: Tensor = torch.linalg.pinv(torch.cat([design, ridge]))
        return inverse

    def _place(self, index: int, time: float) -> float:
        if self.abscissa == "index":
            return float(index)
        expected = "a time in [0, 1], see Session.step, or the abscissa 'index'"
        check(0 <= time <= 1, "time", time, expected)
        return time

    def _polynomials(self, places: Tensor, total: int) -> Tensor:
        length = 1.0 if self.abscissa == "time" else float(max((self.span or total) - 1, 1))
        tau = 2 * places / length - 1
        columns = [torch.ones_like(tau), tau]
        for _ in range(2, self.moments):
            columns.append(2 * tau * columns[-1] - columns[-2])
        return torch.stack(columns[: self.moments], dim=1)
