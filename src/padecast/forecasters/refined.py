"""A forecaster whose weights a calibration has corrected, step by step and branch by branch."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry, beside
from padecast._options import is_finite
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, check_plain, pad, register
from padecast.forecasters.lagrange import Lagrange

Rows = tuple[tuple[float, ...], ...]


@register("refined")
@dataclass(frozen=True)
class Refined(Forecaster):
    r"""Weights of another forecaster plus written-down offsets, which closed-loop calibration has found.

    .. math:: w = w_\text{inner} + \delta_{i, b}

    for step ``i`` and branch ``b``. Branches are told by name; where one call holds several conditionings, its batch is
    split into as many equal parts as there are rows.

    Args:
        inner: The forecaster that is corrected. Default linear extrapolation.
        offsets: For some steps ``(step, rows)``, with a row of at most ``window`` numbers, newest residual first, for
            every branch; other steps are left as they are. Default none.
        branches: Names of the branches, one per row, where each is a call of its own; another branch gets no offsets.
            Default none: rows are parts of one batch, or there is a single row for all.

    Returns:
        ``(K,)`` weights, or ``(B, K)`` where the parts of a batch or the inner forecaster differ by sample.

    Raises:
        InvalidOption: If steps have different numbers of rows, or not as many as there are branches.

    Example:
        >>> refined = Refined(Lagrange(1), offsets=((2, ((0.25, -0.25),)),))
        >>> refined.weights(Geometry((1, 0), (1.0, 0.0)), Position.at(2, 5)).tolist()
        [2.25, -1.25]
        >>> refined.weights(Geometry((1, 0), (1.0, 0.0)), Position.at(3, 5)).tolist()
        [3.0, -2.0]

    Reference:
        Ours. The offsets come from Gauss-Newton steps on the images of calibration samples; the idea of fitting a
        solver's coefficients to its own trajectories is that of Bespoke solvers, Shaul et al., arXiv:2310.19075.
    """

    inner: Forecaster = field(default_factory=Lagrange)
    offsets: tuple[tuple[int, Rows], ...] = field(default=(), repr=False)
    branches: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check(is_finite(self.offsets), "offsets", self.offsets, "finite numbers")
        counts = sorted({len(rows) for _, rows in self.offsets})
        check(len(counts) <= 1, "offsets", f"{counts} rows", "as many rows at every step")
        fits = not self.branches or not counts or counts[0] == len(self.branches)
        check(fits, "branches", self.branches, f"{counts[0] if counts else 0} names, one per row, or none")
        check_plain("inner", self.inner)

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights sum to one: not after offsets, which are free."""
        return not self.offsets and self.inner.sums_to_one

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        return max([self.inner.window, *(len(row) for _, rows in self.offsets for row in rows)])

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        size = len(geometry)
        weights = pad(self.inner.weights(geometry, at), size)
        rows = dict(self.offsets).get(at.index)
        if rows is None or size < max(map(len, rows)):
            return weights  # not the history that the offsets were found for
        table = torch.stack([pad(torch.tensor(row, dtype=torch.float64), size)[:size] for row in rows])
        return weights + beside(self._row(table, geometry), weights)

    def _row(self, table: Tensor, geometry: Geometry) -> Tensor:
        """Pick the branch's row ``(K,)``, or give every part of a batch its own ``(B, K)``."""
        if self.branches:
            has_row = geometry.branch in self.branches
            return table[self.branches.index(geometry.branch)] if has_row else torch.zeros_like(table[0])
        parts = len(table)
        if parts == 1 or geometry.batch % parts:
            return table[0] if parts == 1 else torch.zeros_like(table[0])
        return table.repeat_interleave(geometry.batch // parts, dim=0)
