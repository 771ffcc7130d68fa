"""Samples of a batch whose forecast is not finite: they are computed, and the others get their forecasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from padecast.memory.arithmetic import Streams


def is_finite(features: Tensor) -> bool:
    """Whether nothing is infinite or not a number, from the extremes, in which either shows."""
    if not features.numel():
        return True
    low, high = torch.aminmax(features)
    return bool(low.isfinite()) and bool(high.isfinite())


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


def unfit(output: Streams, source: Streams | Callable[[], Streams]) -> Patch | None:
    """Return which samples of a forecast are to be computed instead; nothing if it serves as it is.

    A sample is, if its forecast is not finite although what the model is given of it is. Computing does not mend a
    sample that came in broken.

    Args:
        output: The forecast, ``(B, ...)`` per stream.
        source: What the model is given, ``(B, ...)`` per tensor, or what returns it; other shapes say nothing.

    Example:
        >>> broken = torch.tensor([[1.0], [torch.nan], [torch.inf]])
        >>> unfit((broken,), (torch.tensor([[1.0], [torch.nan], [1.0]]),)).computed
        tensor([False, False,  True])
        >>> unfit((broken[:2],), (broken[:2],))
    """
    # Nearly always one look at the whole batch is all that is needed.
    for y in output:
        if not is_finite(y):
            break
    else:
        return None
    served = finite_samples(output)
    inputs = tuple(x for x in (source() if callable(source) else source) if len(x) == len(served))
    computed = ~served & finite_samples(inputs) if inputs else ~served
    return Patch(output, computed, bool(served.any())) if bool(computed.any()) else None


def finite_samples(streams: Streams) -> Tensor:
    """Return of which samples all is finite, ``(B,)``."""
    return torch.stack([x.isfinite().reshape(len(x), -1).all(1) for x in streams]).all(0)
