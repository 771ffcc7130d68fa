"""TeaCache's rule: compute when the block's input has changed enough in all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.knob import Knob

FLUX = (498.651651, -283.781631, 55.8554382, -3.82021401, 0.264230861)
"""Coefficients for FLUX.1-dev, highest power first (published, from the authors' Apache-2.0 repository)."""
WAN_SMALL = (2396.76752, -1311.10545, 201.331979, -8.29855975, 0.137887774)
"""For Wan2.1-1.3B."""
WAN_LARGE = (-5784.54975, 5449.50912, -1811.16592, 256.271784, -13.022524)
"""For Wan2.1-14B."""


@register("accumulated")
@dataclass(frozen=True)
class Accumulated(Policy):
    r"""Compute when the rescaled relative changes of the first block's modulated input add up to a threshold.

    .. math:: \sum_s p\!\left(\frac{\mathrm{mean}|m_s - m_{s-1}|}{\mathrm{mean}|m_{s-1}|}\right) \ge \delta

    over the steps since the last computed one and this one; ``m`` is seen at every step, computed or not. The first and
    the last step are computed.

    Args:
        threshold: ``delta``, above 0. Published for FLUX 0.25, 0.4, 0.6, 0.8, for Wan-1.3B 0.05 to 0.08. Default 0.25.
        coefficients: Of the polynomial ``p``, highest power first: ``FLUX``, ``WAN_SMALL`` and ``WAN_LARGE`` in
            ``padecast.policies.accumulated``. Default the identity.
        last: Whether the last step is always computed. Default true.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> from padecast._steps import Seen
        >>> at = Position(3, 20, 3.0, seen=Seen(moved=0.3))
        >>> Accumulated().computes(at, Trace().then(Position.at(2, 20), True), Geometry((2,), (2.0,)))
        True

    Reference:
        Liu et al., "Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model", arXiv:2411.19108.
    """

    threshold: float = 0.25
    coefficients: tuple[float, ...] = (1.0, 0.0)
    last: bool = True
    knob: ClassVar[Knob] = Knob("threshold", 1e-3, 100.0, rising=False, logarithmic=True)
    probe: ClassVar[str] = "modulated"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.threshold < math.inf, "threshold", self.threshold, "more than 0, and finite")
        sound = len(self.coefficients) > 0 and all(math.isfinite(c) for c in self.coefficients)
        check(sound, "coefficients", self.coefficients, "finite numbers, highest power first")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        if self.last and at.is_last:
            return True
        changes = [p.seen.moved for p in (*trace.since_computed, at) if p.seen is not None]
        return not sum(map(self._rescale, changes)) < self.threshold

    def _rescale(self, change: float) -> float:
        total = 0.0
        for coefficient in self.coefficients:
            total = total * change + coefficient
        return total
