"""TC-Padé: a damped vector Padé approximant with error feedback."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry, beside, by_noise, unit
from padecast._noise import TINY
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, register
from padecast.forecasters.feedback import Feedback
from padecast.forecasters.lagrange import lagrange_basis
from padecast.forecasters.pade import Pade
from padecast.forecasters.printed import EARLY, LATE, Printed, trust


@register("tcpade")
@dataclass(frozen=True)
class TCPade(Forecaster):
    r"""A rational extrapolation that falls back to repetition where the trajectory is rough.

    .. math:: R(t) = R_1 + \sigma (R_\text{Padé}(t) - R_1), \qquad
              \sigma = \exp(-\lambda\, |R_1 - R_2| / |R_1 + R_2|) \;
              \min(1, |R_1 - R_2|^2 / |R_1 - L(t_1)|^2)

    so ``sigma = 0`` repeats the last residual, ``sigma = 1`` is :class:`Pade`, and the weights always sum to one. The
    second factor is hindsight: L is the line through the second and the third newest residual, and where it would have
    been further from the newest one than plain repetition, a new line is trusted less. What a stretch of forecasts
    turns out to have got wrong is paid back by the next one (:class:`Feedback`). Optional stage rules, by fraction of
    the step index: early, ``(1 - early) R_1 + early R_2``; late, ``+ late (R_1 - R_2)``.

    Args:
        order: Order of the Padé approximant. Default ``(1, 1)``.
        guard: Its pole guard. Default 2.
        damping: ``lambda``, at least 0; 0 does not damp. Default 8 (the paper prints 10).
        feedback: Share of that error that is paid back, in [0, 2]; 0 pays nothing. Default 1.
        hindsight: Whether hindsight damps too, once three residuals are known. Default true. Stage rules and the
            published form have none.
        early: Weight of the second residual in the first 30 % of the steps, or ``None`` (default) for no early
            rule. The released code has 0.1.
        late: Weight of the last change in the last 20 % of the steps. Default 0. The released code has 0.3.
        axis: ``"noise"`` (default): forecasts are made over the noise that there is to see, see
            :meth:`padecast._noise.Noise.effective`; ``"steps"``: over step indices. Where the scheduler tells no noise
            levels, both are the same.
        form: ``"damped"`` (default), or ``"published"``: the predictor as printed, see
            :class:`padecast.forecasters.printed.Printed`, for comparison. It takes no other option.

    Returns:
        ``(B, K)`` weights. The published form is not weights, but an extra.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
        >>> TCPade(damping=0.0, feedback=0.0).weights(Geometry.of(line, [0, 1, 2]), Position.at(3, 20)).tolist()
        [[2.0, -1.0, 0.0]]

    Reference:
        Cui et al., "TC-Padé: Trajectory-Consistent Padé Approximation for Diffusion Acceleration", arXiv:2603.02943.
    """

    order: tuple[int, int] = (1, 1)
    guard: float = 2.0
    damping: float = 8.0
    feedback: float = 1.0
    hindsight: bool = True
    early: float | None = None
    late: float = 0.0
    axis: str = "noise"
    form: str = "damped"
    needs_gram: ClassVar[bool] = True
    needs_stride: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.form in ("damped", "published"), "form", self.form, "'damped' or 'published'")
        check(self.axis in ("noise", "steps"), "axis", self.axis, "'noise' or 'steps'")
        check(0 <= self.damping < math.inf, "damping", self.damping, "0 or more, and finite")
        check(self.early is None or 0 <= self.early <= 1, "early", self.early, "a share between 0 and 1, or none")
        check(-10 <= self.late <= 10, "late", self.late, "-10 to 10")
        check(0 <= self.feedback <= 2, "feedback", self.feedback, "0 to 2")
        for name in ("order", "guard", "damping", "feedback", "hindsight", "early", "late", "axis"):
            usual, value = getattr(type(self), name), getattr(self, name)
            check(self.form == "damped" or value == usual, name, value, "nothing: the published form has no options")
        self._pade  # noqa: B018 - validates order and guard

    @property
    def _pade(self) -> Pade:
        return Pade(self.order, self.guard)

    @property
    def extra(self) -> Printed | None:
        """The published form, if that was asked for."""
        return Printed() if self.form == "published" else None

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights sum to one: if those of the rational function do."""
        return self._pade.sums_to_one

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        if self.extra is not None:
            return self.extra.window
        return max(self._pade.window, 3 if self.hindsight else 2) + (self.feedback > 0)

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        if self.extra is not None:
            return self._damp(geometry, at)
        if self.axis == "noise":
            geometry, at = by_noise(geometry, at)
        if self.feedback > 0:
            return Feedback(replace(self, feedback=0.0), self.feedback).weights(geometry, at)
        return self._damp(geometry, at)

    def _damp(self, geometry: Geometry, at: Position) -> Tensor:
        """Return the weights without feedback, over the abscissa as it is."""
        size = len(geometry)
        newest = unit(size, 0)
        if size < 2 or geometry.gram is None:
            return newest
        change = newest - unit(size, 1)
        if self.early is not None and at.index < EARLY * at.total:
            return newest - self.early * change
        rational = self._pade.weights(geometry, at)
        sigma = trust(geometry, self.damping)[:, None]
        if self.hindsight and size > 2:
            sigma = sigma * confirm(geometry)[:, None]
        newest = beside(newest, sigma)
        weights = newest + sigma * (beside(rational, sigma) - newest)
        return weights + (self.late * beside(change, sigma) if at.index >= LATE * at.total else 0.0)


def confirm(geometry: Geometry) -> Tensor:
    """Return ``min(1, |R1 - R2|² / |R1 - L(t1)|²)`` per sample, ``(B,)``, of three residuals at least.

    L is the line through R2 and R3. 1 where it was no further from R1 than repetition, and where nothing moved.

    Example:
        >>> turning = torch.tensor([[0.0], [1.0], [0.5]], dtype=torch.float64)  # the line said 2
        >>> confirm(Geometry.of(turning, [0, 1, 2])).tolist()
        [0.1111111111111111]
    """
    size = len(geometry)
    newest = unit(size, 0)
    line = torch.nn.functional.pad(lagrange_basis(geometry.time[1:3], geometry.time[0]), (1, size - 3))
    off, moved = newest - line, newest - unit(size, 1)
    change = geometry.quadratic(moved, moved).clamp_min(0)  # differences of nearly equal residuals round below it
    wrong = geometry.quadratic(off, off)
    return torch.where(wrong > change, change / wrong.clamp_min(TINY), torch.ones_like(wrong))
