"""Compute every N-th step."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.knob import vary


@register("interval")
@dataclass(frozen=True)
class Interval(Policy):
    """Compute the first ``warmup`` steps of a run, from the next one on every ``every``-th, and the last one.

    Args:
        every: Distance of computed steps, at least 1. Default 4.
        warmup: Steps computed before the grid of computed steps begins, at least 0. Default 0.
        last: Whether the last step is computed whatever its place. Default true.

    Raises:
        InvalidOption: If ``every`` is below 1 or ``warmup`` below 0.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Interval(every=4), 20), plan_of(Interval(every=4, warmup=3), 20)
        ('C...C...C...C...C..C', 'CCCC...C...C...C...C')

    Reference:
        Selvaraju et al., "FORA: Fast-Forward Caching in Diffusion Transformer Acceleration", arXiv:2407.01425.
    """

    every: int = 4
    warmup: int = 0
    last: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.every >= 1, "every", self.every, "1 or more")
        check(self.warmup >= 0, "warmup", self.warmup, "0 or more")

    @property
    def computes_all(self) -> bool:
        """Whether every step is on the grid."""
        return self.every == 1

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """See :meth:`Policy.rooms`."""
        return vary(self, fixed, warmup=range(steps + 1), last=(False, True), every=range(1, steps + 1))

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        place = at.index - trace.steps[0].at.index
        if place < self.warmup or (self.last and at.is_last):
            return True
        return (place - self.warmup) % self.every == 0
