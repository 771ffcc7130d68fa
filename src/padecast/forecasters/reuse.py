"""Repeat the newest residual."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from padecast._geometry import Geometry, unit
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, register


@register("reuse")
@dataclass(frozen=True)
class Reuse(Forecaster):
    """Repeat the newest residual: ``w = (1, 0, ...)``.

    Returns:
        ``(K,)`` weights.

    Example:
        >>> Reuse().weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20)).tolist()
        [1.0, 0.0]

    Reference:
        Selvaraju et al., "FORA: Fast-Forward Caching in Diffusion Transformer Acceleration", arXiv:2407.01425.
        Ours repeats the residual of the whole stack instead of every module's output.
    """

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        return unit(len(geometry), 0)
