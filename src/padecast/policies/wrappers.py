"""Policies around policies: keep ends, a part of the run or some steps computed, cap forecasts in a row."""

from __future__ import annotations

from dataclasses import dataclass, field

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.interval import Interval


@dataclass(frozen=True)
class Wrapper(Policy):
    """A policy that overrules another one at some steps."""

    policy: Policy = field(default_factory=Interval)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(isinstance(self.policy, Policy), "policy", self.policy, "a policy, such as policies.Interval(every=3)")

    @property
    def computes_all(self) -> bool:
        """Whether the wrapped policy never forecasts."""
        return self.policy.computes_all


@register("ends")
@dataclass(frozen=True)
class Ends(Wrapper):
    """Keep the first and last steps of a run computed, whatever the policy says between.

    Args:
        policy: The policy between the ends.
        first: Steps computed at the start, at least 0. Default 1.
        last: Steps computed at the end, at least 0. Default 1.

    Raises:
        InvalidOption: If a count is negative.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Ends(Interval(every=4, last=False), first=2, last=2), 12)
        'CC..C...C.CC'
    """

    first: int = 1
    last: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.first >= 0, "first", self.first, "0 or more")
        check(self.last >= 0, "last", self.last, "0 or more")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        place = at.index - trace.steps[0].at.index
        if place < self.first or at.index >= at.total - self.last:
            return True
        return self.policy.computes(at, trace, geometry)


@register("cap")
@dataclass(frozen=True)
class Cap(Wrapper):
    """Compute at the latest after a number of forecasts in a row.

    Args:
        policy: The policy that may compute earlier.
        limit: Forecasts in a row allowed, at least 1. Default 3.

    Raises:
        InvalidOption: If ``limit`` is below 1.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Cap(Interval(every=9), limit=3), 12)
        'C...C...CC.C'
    """

    limit: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.limit >= 1, "limit", self.limit, "1 or more")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        return trace.forecasts_in_a_row >= self.limit or self.policy.computes(at, trace, geometry)


@register("window")
@dataclass(frozen=True)
class Window(Wrapper):
    """Compute every step outside a part of the run.

    Step ``i`` of the ``n`` that a run visits lies in the part if ``start <= i / n < end``.

    Args:
        policy: The policy inside.
        start: Share of the run before which all is computed, 0 to 1. Default 0.
        end: Share of the run from which on all is computed, more than ``start``, at most 1. Default 1.

    Raises:
        InvalidOption: If a share is out of range.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Window(Interval(every=4), start=0.25, end=0.75), 12)
        'CCC.C...CCCC'
    """

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.start < 1, "start", self.start, "0 or more, and below 1")
        check(self.start < self.end <= 1, "end", self.end, f"more than start={self.start:g}, and at most 1")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        first = trace.steps[0].at.index
        share = (at.index - first) / (at.total - first)
        # 0.7 of ten steps is 7.000000000000001 of them.
        is_inside = self.start <= share + 1e-9 and share + 1e-9 < self.end
        return not is_inside or self.policy.computes(at, trace, geometry)


@register("anchors")
@dataclass(frozen=True)
class Anchors(Wrapper):
    """Compute some steps whatever the policy says, as those at which a prompt or a ControlNet changes.

    Args:
        policy: The policy at all other steps.
        steps: Places in the schedule, from 0; those below 0 count from its end. Default ``(-1,)``, the last.

    Raises:
        InvalidOption: If no step is named, or (in a run) if the run is shorter.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Anchors(Interval(every=5, last=False), steps=(2, -2)), 12)
        'C.C..C....C.'
    """

    steps: tuple[int, ...] = (-1,)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(len(self.steps) > 0, "steps", self.steps, "one step or more, such as (0, 7, -1)")

    def check(self, total: int) -> None:
        """Raise unless all its steps lie in a run of ``total`` steps, and the policy serves it."""
        super().check(total)
        outside = [step for step in self.steps if not -total <= step < total]
        check(not outside, "steps", self.steps, f"places in a run of {total} steps, 0 to {total - 1} or -{total} to -1")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        is_anchor = at.index in self.steps or at.index - at.total in self.steps
        return is_anchor or self.policy.computes(at, trace, geometry)
