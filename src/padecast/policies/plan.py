"""Compute the steps that are written down."""

from __future__ import annotations

from dataclasses import dataclass

from padecast._errors import InvalidPlan, quote
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register


@register("plan")
@dataclass(frozen=True)
class Plan(Policy):
    """Follow a plan: one letter a step of the schedule, ``C`` computed, ``.`` forecast.

    Args:
        steps: Such as ``"CC..C..C"``. It belongs to one schedule length; a run of another length is an error.

    Raises:
        InvalidPlan: If another letter occurs, if it does not begin with ``C``, or (in a run) if the run has another
            number of steps.

    Example:
        >>> Plan("CC..C").indices
        (0, 1, 4)
        >>> Plan.at([0, 1, 4], total=5)
        Plan(steps='CC..C')
        >>> Plan("CC..X")
        Traceback (most recent call last):
            ...
        padecast._errors.InvalidPlan: plan 'CC..X' has 'X' at step 4.
        A plan is made of C (computed) and . (forecast), one letter a step: CC..C..C
    """

    steps: str = "C"

    def __post_init__(self) -> None:
        super().__post_init__()
        for place, letter in enumerate(self.steps):
            if letter not in "C.":
                raise InvalidPlan(
                    f"plan {quote(self.steps)} has {letter!r} at step {place}.\n"
                    "A plan is made of C (computed) and . (forecast), one letter a step: CC..C..C"
                )
        if not self.steps.startswith("C"):
            raise InvalidPlan(
                f"plan {quote(self.steps)} does not begin with C: at the first step nothing is remembered to forecast "
                f"from.\nCompute it: {quote('C' + self.steps[1:])}"
            )

    @classmethod
    def at(cls, indices: list[int] | tuple[int, ...], total: int) -> Plan:
        """Write the plan that computes these steps of ``total``."""
        outside = [i for i in indices if not 0 <= i < total]
        if outside:
            raise InvalidPlan(f"steps {outside} lie outside a run of {total} steps (0 to {total - 1}).")
        return cls("".join("C" if i in set(indices) else "." for i in range(total)))

    @property
    def length(self) -> int:
        """Steps of the schedule that it is written for."""
        return len(self.steps)

    @property
    def indices(self) -> tuple[int, ...]:
        """Indices of the computed steps."""
        return tuple(i for i, letter in enumerate(self.steps) if letter == "C")

    @property
    def nfe(self) -> int:
        """Number of computed steps."""
        return len(self.indices)

    @property
    def computes_all(self) -> bool:
        """Whether no step of the plan is forecast."""
        return "." not in self.steps

    def forecasts_at(self, at: Position) -> bool:
        """Return whether the plan has a step forecast."""
        return at.index < len(self.steps) and self.steps[at.index] == "."

    def check(self, total: int) -> None:
        """Raise unless the run has as many steps as the plan."""
        if total != len(self.steps):
            raise InvalidPlan(
                f"this run has {total} steps, the plan {quote(self.steps)} has {len(self.steps)}.\n"
                f"A plan belongs to one schedule. Either\n"
                f"(a) run it as planned:        pipe(..., num_inference_steps={len(self.steps)})\n"
                f"(b) write a plan of {total} letters, or use a rule such as policies.Interval(every=3)"
            )

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        self.check(at.total)
        return self.steps[at.index] == "C"
