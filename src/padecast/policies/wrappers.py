"""Policies around policies: keep the ends computed, cap forecasts in a row."""

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
