"""EasyCache's rule: compute when the output is expected to have changed enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Seen, Trace
from padecast.policies.base import Policy, register
from padecast.policies.knob import Knob


@register("rate")
@dataclass(frozen=True)
class Rate(Policy):
    r"""Expect the model's output to change with its input at the rate last seen, and compute when that adds up.

    With ``k = mean|v - v*| / mean|x - x*|`` between the two latest computed steps and ``v`` the latest output,

    .. math:: \sum_s k \, \mathrm{mean}|x_s - x_{s-1}| / \mathrm{mean}|v| \ge \tau

    over the steps since the last computed one and this one.

    Args:
        threshold: ``tau``, above 0. Default 0.05.
        warmup: Steps computed at the start, at least 2, so that there is a rate. Default 2.
        last: Whether the last step is always computed. Default true.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> from padecast._steps import Seen
        >>> trace = Trace().then(Position.at(0, 20), True)
        >>> trace = trace.then(Position(1, 20, 1.0, seen=Seen(way=0.5, change=0.1, output=1.0)), True)
        >>> Rate().computes(Position(2, 20, 2.0, seen=Seen(stride=0.4)), trace, Geometry((1, 0), (1.0, 0.0)))
        True

    Reference:
        Zhou et al., "Less is Enough: Training-Free Video Diffusion Acceleration via Runtime-Adaptive Caching",
        arXiv:2507.02860. Its forecast is that of ``span="difference"`` with repetition.
    """

    threshold: float = 0.05
    warmup: int = 2
    last: bool = True
    knob: ClassVar[Knob] = Knob("threshold", 1e-3, 100.0, rising=False, logarithmic=True)
    probe: ClassVar[str] = "latents"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.threshold < math.inf, "threshold", self.threshold, "more than 0, and finite")
        check(self.warmup >= 2, "warmup", self.warmup, "2 or more, so that a rate of change is known")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        if at.index - trace.steps[0].at.index < self.warmup or (self.last and at.is_last):
            return True
        latest = next((step.at.seen for step in reversed(trace.steps) if step.computed), None) or Seen()
        if not (latest.way > 0 and latest.output > 0):
            return True
        rate = latest.change / latest.way
        strides = sum(p.seen.stride for p in (*trace.since_computed, at) if p.seen is not None)
        return not rate * strides / latest.output < self.threshold
