"""Best linear prediction from a calibrated Gram matrix, with optional error feedback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from padecast._errors import InvalidOption, check
from padecast._geometry import Geometry
from padecast._options import is_finite
from padecast._steps import Position
from padecast.forecasters.base import MOST, Forecaster, pad, register

Matrix = tuple[tuple[float, ...], ...]
CONSTRAINTS = ("none", "sum")


@register("wiener")
@dataclass(frozen=True)
class Wiener(Forecaster):
    r"""The weights with the smallest expected squared error, given how residuals lie to one another (kriging).

    With the calibrated Gram matrix ``G[i, j] = mean <R_i, R_j> / numel`` and the newest ``window`` computed steps H,

    .. math::
        w = (G_{HH} + \lambda\, \overline{\mathrm{diag}\, G}\, I)^{-1} G_{H \cdot}
            \left(e_i - \varphi\, E_i / |\Delta\sigma_i|\right), \qquad
        E_i = \sum_{j < i,\ \text{forecast}} |\Delta\sigma_j| \left(\sum_k w_k e_k - e_j\right)

    so that a forecast pays back a share ``feedback`` of what earlier ones are expected to have got wrong.

    Args:
        gram: ``T x T``, symmetric, rows newest last, of a run as long as the one to be forecast. Without one (the
            default) residuals are taken to be smooth in the step index, with covariance ``1 + s t + exp(-|s - t|^2)``
            of ``s, t = 4 i / T``: a guess that needs no calibration.
        window: Residuals that are mixed, K, 1 to 32. Default 3.
        ridge: ``lambda``, relative to the mean of the diagonal, 0 to a million. Default 0.001.
        feedback: ``phi``, 0 or more; 0 is the plain predictor. Default 0.
        constraint: ``"sum"`` makes the weights sum to ``1 - phi 1^T E_i / |Delta sigma_i|``, which is one without
            feedback and keeps a residual that stands still exact in any case; ``"none"`` (default) lets them shrink.
        plan: The whole run as ``C`` and ``.``. By default, and where a run has not followed it, it is read from the
            remembered steps, which forgets what was owed before the oldest of them.
        strides: ``|Delta sigma|`` of the T steps. By default those of the run's sampler.

    Returns:
        ``(K,)`` weights.

    Raises:
        InvalidOption: If an option is out of range, or the matrix is not square; in a forecast, if the matrix is of a
            run of another length.

    Example:
        >>> line = torch.arange(1.0, 6.0, dtype=torch.float64)
        >>> gram = tuple(map(tuple, (1 + torch.outer(line, line)).tolist()))  # R_i = (1, i)
        >>> Wiener(gram, window=2, ridge=0.0).weights(Geometry((1, 0), (1.0, 0.0)), Position.at(2, 5)).round().tolist()
        [2.0, -1.0]

    Reference:
        Wiener, "Extrapolation, Interpolation, and Smoothing of Stationary Time Series", 1949; Matheron, "Principles
        of geostatistics", Economic Geology 58(8), 1963 (kriging). Error feedback is noise shaping. The application
        to residuals of diffusion transformers is ours; MagCache (arXiv:2506.09045) is its rank-one case.
    """

    gram: Matrix = field(default=(), repr=False)
    window: int = 3
    ridge: float = 1e-3
    feedback: float = 0.0
    constraint: str = "none"
    plan: str = ""
    strides: tuple[float, ...] = field(default=(), repr=False)
    needs_stride: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(1 <= self.window <= MOST, "window", self.window, f"1 to {MOST}")
        check(0 <= self.ridge <= 1e6, "ridge", self.ridge, "0 to a million")
        check(0 <= self.feedback <= 2, "feedback", self.feedback, "0 to 2")
        check(self.constraint in CONSTRAINTS, "constraint", self.constraint, " or ".join(map(repr, CONSTRAINTS)))
        check(set(self.plan) <= {"C", "."}, "plan", self.plan, "C and . alone")
        square = all(len(row) == len(self.gram) for row in self.gram)
        check(square, "gram", f"{len(self.gram)} rows", "as many columns as rows")
        check(is_finite(self.gram), "gram", f"{len(self.gram)} rows", "finite numbers")
        plain = is_finite(self.strides) and all(stride >= 0 for stride in self.strides)
        check(plain, "strides", self.strides, "finite numbers of 0 or more")

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights sum to one: only if they are made to."""
        return self.constraint == "sum"

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        for name, length in (("gram", len(self.gram)), ("plan", len(self.plan)), ("strides", len(self.strides))):
            if length not in (0, at.total):
                raise InvalidOption(
                    f"this run has {at.total} steps, the Wiener forecaster's {name} has {length}.\n"
                    "A Gram matrix belongs to one schedule: calibrate this one."
                )
        computed = self._find_computed(geometry, at)
        strides = self.strides or tuple(map(at.weight_of, range(at.total)))
        gram = self.gram or smooth_prior(at.total)
        table = solve_steps(gram, strides, computed, self.window, self.ridge, self.feedback, self.constraint)
        return pad(table[at.index], len(geometry)).clone()

    def _find_computed(self, geometry: Geometry, at: Position) -> tuple[int, ...]:
        """Return the computed steps: those planned, if that is what is remembered."""
        planned = tuple(i for i, c in enumerate(self.plan) if c == "C" and i < at.index)
        size = min(self.window, len(planned))
        followed = planned and planned[::-1][:size] == geometry.index[:size]
        return planned if followed else tuple(reversed(geometry.index))


@lru_cache(maxsize=64)
def solve_steps(
    gram: Matrix,
    strides: Sequence[float],
    computed: tuple[int, ...],
    window: int,
    ridge: float,
    feedback: float,
    constraint: str,
) -> dict[int, Tensor]:
    """Return the weights, newest first, of every step that is not computed and has a computed one before it.

    Args:
        gram: ``T x T``.
        strides: ``|Delta sigma|`` of the T steps.
        computed: Computed steps, oldest first; steps before the first of them have no weights.
        window: See :class:`Wiener`, as the rest.
        ridge: Relative to the mean of the diagonal.
        feedback: ``phi``.
        constraint: ``"none"`` or ``"sum"``.
    """
    full = torch.tensor(gram, dtype=torch.float64)
    total = len(full)
    load = ridge * float(full.diagonal().mean())
    owed = torch.zeros(total, dtype=torch.float64)
    table: dict[int, Tensor] = {}
    for index in range(computed[0] + 1, total) if computed else ():
        if index in computed:
            continue
        steps = [j for j in reversed(computed) if j < index][:window]
        target = torch.zeros(total, dtype=torch.float64)
        target[index] = 1.0
        if strides[index] > 0:
            target -= feedback / strides[index] * owed
        table[index] = solve(full, steps, target, load, constraint)
        error = torch.zeros(total, dtype=torch.float64)
        error[steps] = table[index]
        error[index] -= 1.0
        owed += strides[index] * error
    return table


def solve(gram: Tensor, steps: list[int], target: Tensor, load: float, constraint: str) -> Tensor:
    """Regress ``target`` (weights on all steps) on the known steps: ``(K,)``."""
    inner = gram[steps][:, steps] + load * torch.eye(len(steps), dtype=torch.float64)
    inverse = torch.linalg.pinv(inner, hermitian=True)
    weights: Tensor = inverse @ (gram[steps] @ target)
    if constraint == "sum":
        spread = inverse.sum(1)
        if float(spread.sum().abs()) > 1e-12 * float(inverse.abs().sum()):
            weights = weights + spread * (target.sum() - weights.sum()) / spread.sum()
    return weights


@lru_cache(maxsize=8)
def smooth_prior(total: int) -> Matrix:
    """Return the Gram matrix of residuals about which nothing is known but that they are smooth in the step index."""
    time = 4.0 * torch.arange(total, dtype=torch.float64) / max(total, 1)
    matrix = 1 + torch.outer(time, time) + torch.exp(-((time[:, None] - time[None]) ** 2))
    return tuple(map(tuple, matrix.tolist()))
