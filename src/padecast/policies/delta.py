"""Delta-DiT's rule: at forecast steps leave out the back half of the blocks early in sampling, the front half late."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.knob import vary


@register("delta")
@dataclass(frozen=True)
class Delta(Policy):
    """Compute all blocks every N-th step; between, leave out the back half early and the front half late.

    The blocks in front draw outlines and those at the back details, and sampling goes from one to the other. Belongs
    with ``span="halves"``; a single stack is left out whole, and more than two make no sense.

    Args:
        every: Interval length N, at least 1. Default 2.
        switch: Share of the schedule after which the front half is left out, in [0, 1]. Default 0.5.
        last: Whether the last step is always computed. Default true.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> rule = Delta(every=3)
        >>> [rule.leaves_out(Position.at(step, 20), stack) for step in (4, 14) for stack in (0, 1)]
        [False, True, True, False]

    Note:
        Half of the blocks run at every step, which a count of computed steps does not show.

    Reference:
        Chen et al., "Delta-DiT: A Training-Free Acceleration Method Tailored for Diffusion Transformers",
        arXiv:2406.01125.
    """

    every: int = 2
    switch: float = 0.5
    last: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.every >= 1, "every", self.every, "1 or more")
        check(0 <= self.switch <= 1, "switch", self.switch, "0 to 1")

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """See :meth:`Policy.rooms`."""
        return vary(self, fixed, last=(False, True), every=range(1, steps + 1))

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        place = at.index - trace.steps[0].at.index
        return place % self.every == 0 or (self.last and at.is_last)

    def leaves_out(self, at: Position, stack: int) -> bool:
        """Return whether it is the half of this phase; see :class:`padecast.policies.base.SupportsStacks`."""
        return stack == int(at.index < self.switch * at.total)
