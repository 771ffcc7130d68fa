"""The true residual: the upper bound of every plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from padecast._geometry import Geometry, unit
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, register
from padecast.forecasters.extras import Replay


@register("oracle")
@dataclass(frozen=True)
class Oracle(Forecaster):
    """Forecast with the true residual, by running the stack and discarding how it got there.

    For tests and plots: it saves nothing, and its output equals the untouched model's within the rounding of
    ``entry + (output - entry)``.

    Example:
        >>> Oracle().weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20)).tolist()
        [1.0, 0.0]
    """

    extra: ClassVar[Replay] = Replay()

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """Weights of reuse; only the report reads them."""
        return unit(len(geometry), 0)
