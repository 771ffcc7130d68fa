"""L2P's predictor: weights of every step on all computed ones, fitted on uncached runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from padecast._errors import InvalidOption, check
from padecast._geometry import Geometry, unit
from padecast._options import is_finite
from padecast._steps import Position
from padecast.forecasters.base import MOST, Forecaster, register


@register("l2p")
@dataclass(frozen=True)
class L2P(Forecaster):
    r"""The weights that forecast every step best on uncached runs, drawn towards repetition.

    With the Gram matrix ``G[i, j] = mean <R_i, R_j> / numel`` of those runs and the computed steps H, newest first,

    .. math::
        w = \arg\min_w \; \mathrm{mean} \, |R_i - \textstyle\sum_k w_k R_{H_k}|^2 + \lambda |w - e_1|^2
          = e_1 + (G_{HH} + \lambda I)^{-1} (G_{H i} - G_{H H_1})

    Args:
        gram: ``T x T``, symmetric, of runs as long as the one to be forecast. Without one (the default) nothing was
            fitted, and the newest residual is repeated. The lab fits it on seeds kept for tuning.
        ridge: ``lambda`` over the mean of the diagonal, 0 to a million. Default 1e-5.

    Returns:
        ``(K,)`` weights.

    Raises:
        InvalidOption: If an option is out of range, or the matrix is not square; in a forecast, if the matrix is of a
            run of another length.

    Example:
        >>> line = torch.arange(1.0, 6.0, dtype=torch.float64)
        >>> gram = tuple(map(tuple, (1 + torch.outer(line, line)).tolist()))  # R_i = (1, i)
        >>> L2P(gram, ridge=0.0).weights(Geometry((2, 0), (2.0, 0.0)), Position.at(3, 5)).round(decimals=6).tolist()
        [1.5, -0.5]
        >>> L2P().weights(Geometry((2, 0), (2.0, 0.0)), Position.at(3, 5)).tolist()
        [1.0, 0.0]

    Note:
        Published are gradient steps on such a loss, begun at repetition, and a row of weights on all steps before. Ours
        is where they lead with a pull to where they begin, for the computed steps of the plan at hand.

    Reference:
        Shen et al., "Beyond Fixed Formulas: Data-Driven Linear Predictor for Efficient Diffusion Models",
        arXiv:2604.26365.
    """

    gram: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    ridge: float = 1e-5
    window = MOST
    preparation: ClassVar[str] = "gram"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.ridge <= 1e6, "ridge", self.ridge, "0 to a million")
        square = all(len(row) == len(self.gram) for row in self.gram)
        check(square, "gram", f"{len(self.gram)} rows", "as many columns as rows")
        check(is_finite(self.gram), "gram", f"{len(self.gram)} rows", "finite numbers")

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights sum to one: not those that were fitted."""
        return not self.gram

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        newest = unit(len(geometry), 0)
        if not self.gram:
            return newest
        if len(self.gram) != at.total:
            raise InvalidOption(
                f"this run has {at.total} steps, L2P's weights were fitted on runs of {len(self.gram)}.\n"
                "They belong to one schedule: fit them on this one."
            )
        gram = torch.tensor(self.gram, dtype=torch.float64)
        steps = list(geometry.index)
        inner = gram[steps][:, steps]
        load = self.ridge * float(gram.diagonal().mean()) * torch.eye(len(steps), dtype=torch.float64)
        missing = gram[steps, at.index] - inner[:, 0]
        correction: Tensor = torch.linalg.pinv(inner + load, hermitian=True) @ missing
        return newest + correction
