"""A branch's forecast of one step, from what it remembers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters import Forecaster
from padecast.forecasters.base import pad
from padecast.forecasters.extras import Direct
from padecast.memory.arithmetic import Ready, Streams
from padecast.memory.memory import Memory
from padecast.session.record import Record


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
            # A method may weigh fewer than are remembered: a report has one number for each.
            record.weights[self.geometry.branch] = pad(self.weights, len(self.geometry))


def forecast(
    forecaster: Forecaster, memory: Memory, entry: Streams, at: Position, branch: str
) -> tuple[Forecast, Streams]:
    """Return the forecast output of a branch, and what it was made of."""
    # By its name calibrated offsets of one branch are told from those of another.
    geometry = replace(memory.geometry(), branch=branch)
    with torch.no_grad():
        extra = forecaster.extra
        if isinstance(extra, Direct):
            weights = forecaster.weights(geometry, at) if extra.has_weights else None
            return Forecast(geometry, weights), extra.forecast(memory, geometry, entry, at)
        weights = forecaster.weights(geometry, at)
        return Forecast(geometry, weights), memory.add(entry, pad(weights, memory.kept))


def prepare(forecaster: Forecaster, memory: Memory, at: Position, branch: str) -> tuple[Forecast, Ready | None]:
    """Return the forecast of a branch as far as it goes without the stack's input; nothing if it may not be finite."""
    geometry = replace(memory.geometry(), branch=branch)
    with torch.no_grad():
        weights = forecaster.weights(geometry, at)
        recipe = Forecast(geometry, weights)
        # The sum is made in a graph, where nobody looks at it: what it is made of stands for it. No GPU is waited for.
        if not all(
            tensor is None or tensor.device.type != "cpu" or is_finite(tensor) for tensor in (weights, geometry.gram)
        ):
            return recipe, None
        return recipe, memory.ready(pad(weights, memory.kept))


def is_finite(features: Tensor) -> bool:
    """Whether nothing is infinite or not a number, from the extremes, in which either shows."""
    return not features.numel() or all(bool(extreme.isfinite()) for extreme in torch.aminmax(features))


@dataclass(frozen=True)
class Patch:
    """A forecast that serves some samples of a batch, and which ones must be computed.

    Args:
        forecast: What the others get, ``(B, ...)`` per stream.
        computed: ``(B,)``.
        serves_any: Whether the forecast is good for any sample. Default true.

    Example:
        >>> patch = Patch((torch.zeros(2, 3),), torch.tensor([True, False]))
        >>> patch.on((torch.ones(2, 3),))
        (tensor([[1., 1., 1.],
                [0., 0., 0.]]),)
    """

    forecast: Streams
    computed: Tensor
    serves_any: bool = True

    def on(self, output: Streams) -> Streams:
        """Return what was computed of some samples, and the forecast of the others."""
        return tuple(
            torch.where(self.computed.reshape(-1, *(1,) * (y.ndim - 1)), y, x)
            for x, y in zip(self.forecast, output, strict=True)
        )


def unfit(output: Streams, source: Streams) -> Patch | None:
    """Return which samples of a forecast are to be computed instead; nothing if it serves as it is.

    A sample is, if its forecast is not finite although what the model is given of it is. Computing does not mend a
    sample that came in broken.

    Args:
        output: The forecast, ``(B, ...)`` per stream.
        source: What the model is given, ``(B, ...)`` per tensor; others say nothing.

    Example:
        >>> broken = torch.tensor([[1.0], [torch.nan], [torch.inf]])
        >>> unfit((broken,), (torch.tensor([[1.0], [torch.nan], [1.0]]),)).computed
        tensor([False, False,  True])
        >>> unfit((broken[:2],), (broken[:2],))
    """
    # Nearly always one look at the whole batch is all that is needed.
    if all(is_finite(y) for y in output):
        return None
    served = finite_samples(output)
    inputs = tuple(x for x in source if len(x) == len(served))
    computed = ~served & finite_samples(inputs) if inputs else ~served
    return Patch(output, computed, bool(served.any())) if bool(computed.any()) else None


def finite_samples(streams: Streams) -> Tensor:
    """Return of which samples all is finite, ``(B,)``."""
    return torch.stack([x.isfinite().reshape(len(x), -1).all(1) for x in streams]).all(0)
