"""Compute a given number of steps, evenly over the noise that there is to see."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import neg
from typing import Any, ClassVar

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register

FACTOR, LEAST = 0.021, 500
"""c and D_0, see :class:`Spaced`."""


@register("spaced")
@dataclass(frozen=True)
class Spaced(Policy):
    r"""Compute so many steps, the first and the last among them, closest where the model changes fastest.

    Of m computed steps, the j-th is the one whose place is nearest to the j-th of m evenly spaced ones, where a step's
    place is the root of the effective noise level,

    .. math:: p_i = \sqrt{\frac{\sigma_i}{\sigma_i + \kappa \alpha_i}},
              \qquad \kappa = c \, \frac{n}{m} \sqrt{D + D_0}, \quad c = 0.021, \; D_0 = 500

    with the amplitudes of signal and noise, the number D of one sample's latents and the number n of steps. Plans are
    dense at the start, the denser the fewer computed steps there are and the larger the latents. Where the scheduler
    tells no noise levels, steps are evenly spaced.

    There are :math:`m = 1 + \lceil (n - 1) / every \rceil` computed steps, as many as of ``every``-th ones and the
    last.

    Args:
        every: Distance of computed steps on average, 1 or more. Default 4.
        density: Factor of kappa, above 0: more computes more steps at the start. Default 1.
        last: Whether the last step is computed (default true); if not, the image itself is the place after the last of
            the computed steps.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Spaced(), 20)
        'C...C...C..C...C...C'

    Note:
        Both constants were fitted together to searched plans of FLUX, Qwen-Image, HunyuanVideo and Wan (published) and
        to the matched demo models, by ``benchmarks/plans``; docs/plans.md has the plans side by side. The second
        matters to small latents alone: FLUX at 1024 x 1024 pixels has 262,144 numbers.

    Reference:
        Ours. Searched plans of the same shape: arXiv:2609.39343.
    """

    every: float = 4.0
    density: float = 1.0
    last: bool = True
    needs_stride: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(1 <= self.every < math.inf, "every", self.every, "1 or more")
        check(0 < self.density < math.inf, "density", self.density, "above 0")

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """See :meth:`Policy.rooms`."""
        exact = [math.ceil(1000 * (steps - 1) / gaps) / 1000 for gaps in range(1, steps)]
        return [] if "every" in fixed else [{"every": value} for value in [*map(float, range(1, steps)), *exact]]

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        start = trace.steps[0].at.index
        count = self.computed(at.total - start)
        places = self.places(at, start, count)
        if self.last:
            return at.index - start in choose_steps(places[:-1], count)
        return at.index - start in choose_steps(places, count + 1)

    def places(self, at: Position, start: int, count: int) -> tuple[float, ...]:
        """Return the places of the steps of a run from its start on, and of the image, falling.

        Args:
            at: Any step of the run.
            start: Its first step.
            count: How many steps are computed.
        """
        if at.noise is None:
            return tuple(float(at.total - index) for index in range(start, at.total + 1))
        kappa = self.density * FACTOR * at.total / count * math.sqrt(at.noise.size + LEAST)
        return tuple(math.sqrt(level) for level in at.noise.effective(kappa)[start:])

    def computed(self, steps: int) -> int:
        """How many of so many steps are computed."""
        return 1 + math.ceil((steps - 1) / self.every - 1e-9)


@lru_cache(maxsize=64)
def choose_steps(places: Sequence[float], count: int) -> frozenset[int]:
    """Return the steps nearest to evenly spaced places, each once, the first and the last among them.

    Example:
        >>> sorted(choose_steps((1.0, 0.6, 0.5, 0.45, 0.4, 0.2, 0.0), 4))
        [0, 1, 4, 6]
    """
    size = len(places)
    count = min(count, size)
    if count < 2:
        return frozenset(range(count))
    first, last = places[0], places[-1]
    find = _bisect if all(after <= before for before, after in pairwise(places)) else _look_through
    steps: list[int] = []
    for number in range(count):
        nearest = find(places, first + (last - first) * number / (count - 1))
        steps.append(max(nearest, steps[-1] + 1 if steps else 0))
    steps[-1] = size - 1
    for number in range(count - 2, -1, -1):  # as many as were asked for, where several fall on one step
        steps[number] = min(steps[number], steps[number + 1] - 1)
    return frozenset(steps)


def _look_through(places: Sequence[float], place: float) -> int:
    """Return the first of the steps that are nearest to a place."""
    return min(range(len(places)), key=lambda index: abs(places[index] - place))


def _bisect(places: Sequence[float], place: float) -> int:
    """Return the same of places that fall."""
    behind = min(bisect_left(places, -place, key=neg), len(places) - 1)
    before = bisect_left(places, -places[max(behind - 1, 0)], key=neg)  # the first of those alike
    return behind if abs(places[behind] - place) < abs(places[before] - place) else before
