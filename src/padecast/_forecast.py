"""A branch's forecast of one step, from what it remembers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from padecast._history import Geometry, Position
from padecast._memory import Memory
from padecast._mix import Ready, Streams
from padecast._record import Record
from padecast.forecasters import Forecaster
from padecast.forecasters.base import fitted


@dataclass(frozen=True)
class Forecast:
    """What a branch's forecast was made of.

    Args:
        geometry: Of what the branch remembers.
        weights: On its residuals; ``None`` if the method is not weights.
    """

    geometry: Geometry
    weights: Tensor | None

    def note(self, record: Record) -> None:
        """Write down that it became the branch's output."""
        record.geometry[self.geometry.branch] = self.geometry
        if self.weights is not None:
            record.weights[self.geometry.branch] = fitted(self.weights, len(self.geometry))


def forecast(
    forecaster: Forecaster, memory: Memory, entry: Streams, at: Position, branch: str
) -> tuple[Forecast, Streams]:
    """Return the forecast output of a branch, and what it was made of."""
    geometry = replace(memory.geometry(), branch=branch)
    with torch.no_grad():
        weights = forecaster.weights(geometry, at) if forecaster.is_weights else None
        return Forecast(geometry, weights), forecaster.forecast(memory, geometry, entry, at, weights)


def prepared(forecaster: Forecaster, memory: Memory, at: Position, branch: str) -> tuple[Forecast, Ready | None]:
    """Return the forecast of a branch as far as it goes without the stack's input; nothing if it may not be finite."""
    geometry = replace(memory.geometry(), branch=branch)
    with torch.no_grad():
        weights = forecaster.weights(geometry, at)
        sure = weights.device.type != "cpu" or bool(weights.isfinite().all())
        return Forecast(geometry, weights), memory.ready(fitted(weights, memory.kept)) if sure else None


def is_finite(features: Tensor) -> bool:
    """Whether nothing is infinite or not a number, from the extremes, in which either shows."""
    return not features.numel() or all(bool(extreme.isfinite()) for extreme in torch.aminmax(features))
