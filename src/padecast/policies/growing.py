"""Spectrum's rule: compute ever more rarely."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import floor, inf
from typing import Any

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.knob import vary


@register("growing")
@dataclass(frozen=True)
class Growing(Policy):
    """Compute a warm-up, then steps in a window that grows with every computation.

    After the warm-up a step is computed when ``(forecasts in a row + 1) mod floor(window) == 0``; then
    ``window += growth``.

    Args:
        window: First distance of computed steps, at least 1. Default 2.
        growth: What every computation adds to it, at least 0. Default 0.75; 3 is the paper's fast setting.
        warmup: Steps computed at the start, at least 1. Default 5.
        last: Whether the last step is computed too. Default false, as published.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan = plan_of(Growing(), 50)
        >>> plan.count("C")
        14

    Reference:
        Han et al., "Adaptive Spectral Feature Forecasting for Diffusion Sampling Acceleration", arXiv:2603.01623.
    """

    window: float = 2.0
    growth: float = 0.75
    warmup: int = 5
    last: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(1 <= self.window < inf, "window", self.window, "1 or more")
        check(0 <= self.growth < inf, "growth", self.growth, "0 or more")
        check(self.warmup >= 1, "warmup", self.warmup, "1 or more (the first step of a run is always computed)")

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """See :meth:`Policy.rooms`."""
        growths = [n / 20 for n in range(20 * steps + 1)]
        return vary(self, fixed, warmup=range(1, steps + 1), last=(False, True), growth=growths)

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        place = at.index - trace.steps[0].at.index
        if place < self.warmup or (self.last and at.is_last):
            return True
        grown = self.window + self.growth * max(len(trace.computed) - self.warmup, 0)
        return (trace.forecasts_in_a_row + 1) % floor(grown) == 0
