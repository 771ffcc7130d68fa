"""The first block's rule: compute when what it adds has changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.knob import Knob


@register("first-block")
@dataclass(frozen=True)
class FirstBlock(Policy):
    r"""Run the first block, and compute the others when its residual ``f`` has changed since the last computed step.

    .. math:: \mathrm{mean}|f - f^*| / \mathrm{mean}|f^*| > \delta

    Args:
        threshold: ``delta``, above 0. Default 0.1.
        last: Whether the last step is always computed. Default false, as published.

    Raises:
        InvalidOption: If ``threshold`` is out of range.

    Example:
        >>> from padecast._steps import Seen
        >>> at = Position(3, 20, 3.0, seen=Seen(apart=0.05))
        >>> FirstBlock().computes(at, Trace().then(Position.at(2, 20), True), Geometry((2,), (2.0,)))
        False

    Note:
        The first block runs at every step, which a count of computed steps does not show.

    Reference:
        Cheng, ParaAttention, 2024, github.com/chengzeyi/ParaAttention; diffusers has it as FirstBlockCache.
    """

    threshold: float = 0.1
    last: bool = False
    knob: ClassVar[Knob] = Knob("threshold", 1e-4, 10.0, rising=False, logarithmic=True)
    probe: ClassVar[str] = "first-block"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.threshold < math.inf, "threshold", self.threshold, "more than 0, and finite")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        if self.last and at.is_last:
            return True
        return at.seen is not None and not at.seen.apart <= self.threshold
