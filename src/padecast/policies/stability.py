"""TC-Padé's rule: forecast while the trajectory goes straight."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.knob import Knob

INTERVALS = 3
"""Intervals that are tried at most where the threshold alone does not compute as few steps as wanted."""


@register("stability")
@dataclass(frozen=True)
class Stability(Policy):
    r"""Compute the first step of every interval; inside it, forecast where the trajectory is stable.

    With unit directions ``u1 = (R1 - R2)/|R1 - R2|`` and ``u2 = (R2 - R3)/|R2 - R3|`` over the computed residuals,

    .. math:: \text{stability} = 1 + \cos(u_1, u_2) \in [0, 2], \qquad \text{forecast iff stability} \ge \theta

    Args:
        threshold: ``theta``. Default 1.0. With ``indicator="curvature"`` in [0, 1].
        every: Interval length N, at least 1. Default 4.
        indicator: ``"cosine"`` (default), or ``"curvature"``, the printed ``|u1 - u2| / 2 >= theta``, which forecasts
            on sharp turns, for comparison.

        last: Whether the last step is always computed. Default true; the paper does not say.

    Raises:
        InvalidOption: If an option is out of range.

    Note:
        With fewer than three computed steps the step is computed. Every sample of every branch must be stable, but for
        those that are not a number, which computing does not mend. The paper prints the curvature with the same
        sentence and thresholds up to 1.3, which it cannot reach; ours keeps the sentence, the range and the order of
        the three published speedups.

    Example:
        >>> import torch
        >>> line = Geometry.of(torch.tensor([[0.0], [1.0], [2.0]]), [0, 1, 2])
        >>> trace = Trace().then(Position.at(2, 20), True)
        >>> Stability(1.3).computes(Position.at(3, 20), trace, line)
        False

    Reference:
        Cui et al., "TC-Padé: Trajectory-Consistent Padé Approximation for Diffusion Acceleration", arXiv:2603.02943.
    """

    threshold: float = 1.0
    every: int = 4
    indicator: str = "cosine"
    last: bool = True
    needs_gram: ClassVar[bool] = True
    knob: ClassVar[Knob] = Knob("threshold", 0.0, 2.0, rising=True)
    looks_back: ClassVar[int] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.every >= 1, "every", self.every, "1 or more")
        check(self.indicator in ("cosine", "curvature"), "indicator", self.indicator, "'cosine' or 'curvature'")
        check(0 <= self.threshold <= 2, "threshold", self.threshold, "0 to 2")

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """Return the intervals in which so few steps can be computed, nearest to its own first; a few at most."""
        if "every" in fixed:
            return [{}]
        always = {*range(min(3, steps)), *([steps - 1] if self.last else [])}
        least = {every: len({*always, *range(0, steps, every)}) for every in range(1, steps + 1)}
        possible = [every for every in least if least[every] <= computed] or [steps]
        nearest = sorted(possible, key=lambda every: abs(every - self.every))[:INTERVALS]
        return [{} if every == self.every else {"every": every} for every in nearest]

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        place = at.index - trace.steps[0].at.index
        if place % self.every == 0 or len(geometry) < 3 or (self.last and at.is_last):
            return True
        stability = geometry.on_host().stability()
        measured = stability if self.indicator == "cosine" else ((2 - stability) / 2).clamp_min(0).sqrt()
        return not bool((measured >= self.threshold).all())
