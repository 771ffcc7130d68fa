"""Follow a plan that runs of the user's own have taught."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from padecast._errors import InvalidOption, check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register

FIRST = ("exact", "fast")
OBJECTIVES = ("mean", "low")
WISHES = ("computed", "speedup", "decibels")
SPEEDUP = 2.5
"""What is asked for where nothing is."""


@register("learned")
@dataclass(frozen=True)
class Learned(Policy):
    """Compute the first run whole, which teaches, and follow the plans that come of it from the next run on.

    The policy says what is asked for; the lesson and its plans are the business of the handle, which puts a
    :class:`padecast.policies.Plan` in its place run by run (:mod:`padecast.handles.learning`). By itself, in a session
    without a pipeline, it computes every step.

    Args:
        computed: Steps of a run that are computed. At most one of this, ``speedup`` and ``decibels`` may be given.
        speedup: Steps of a run over those computed, 1 or more. Default 2.5 where nothing else is asked for.
        decibels: An expected PSNR: as few steps are computed as are expected to reach it. The expectation is an
            estimate whose constants are those of the demo models.
        first: ``"exact"`` (default): a run of which too little is known is computed whole; ``"fast"``: it is forecast
            by the uncalibrated rule, and what it did not compute is interpolated.
        runs: How many runs teach before plans are followed, 1 or more. Default 1.
        near: Whether the lesson of a guidance scale near by (half to double) plans runs until there is one of their
            own, as the report says. Default true; with false such a run teaches.
        objective: ``"low"`` (default): errors of early steps count for more, and the median of the samples seen
            does; ``"mean"``: their mean.
        watchful: Whether a step more is computed where a computed one lies far from its forecast, compared with the
            runs of the plan before, see :class:`padecast.policies.watchful.Watchful`. It costs up to a
            tenth more steps on demo models, where it mends the worst images. Default false.

    Raises:
        InvalidOption: If an option is out of range, or more than one is asked for.

    Example:
        >>> Learned(computed=8).budget(20), Learned().budget(20), Learned(decibels=40).budget(20)
        (8, 8, None)

    Reference:
        Ours.
    """

    computes_all: ClassVar[bool] = True
    """Without a lesson; with one a plan stands in its place."""
    preparation: ClassVar[str] = "lessons"

    computed: int | None = None
    speedup: float | None = None
    decibels: float | None = None
    first: str = "exact"
    runs: int = 1
    objective: str = "low"
    near: bool = True
    watchful: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        wishes = {name: getattr(self, name) for name in WISHES}
        for name, value in wishes.items():
            check(value is None or (math.isfinite(value) and value >= 1), name, value, "1 or more, and finite")
        if len([value for value in wishes.values() if value is not None]) > 1:
            texts = ", ".join(f"{name}={value:g}" for name, value in wishes.items() if value is not None)
            raise InvalidOption(f"{texts} cannot all be asked for.\nGive one of computed=, speedup= and decibels=.")
        check(self.first in FIRST, "first", self.first, " or ".join(FIRST))
        check(self.runs >= 1, "runs", self.runs, "1 or more")
        check(self.objective in OBJECTIVES, "objective", self.objective, " or ".join(OBJECTIVES))

    def ask(self, wishes: dict[str, Any]) -> Learned:
        """Return the policy with what is asked for, if anything is, in place of what was."""
        given = {name: value for name, value in wishes.items() if value is not None}
        if not given:
            return self
        return replace(self, **{**dict.fromkeys(WISHES), **given})

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """Return the one way to compute so many steps, unless something else was asked for."""
        return [] if {*WISHES} & {*fixed} else [{"computed": computed}]

    def budget(self, steps: int) -> int | None:
        """Return how many of a run's steps are computed; nothing where decibels decide."""
        if self.decibels is not None:
            return None
        if self.computed is not None:
            return min(self.computed, steps)
        return min(steps, math.ceil(steps / (self.speedup or SPEEDUP)))

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        return True
