"""The steps of one run: what the policy was shown of each, and what it decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from padecast._errors import InvalidOption
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.memory.arithmetic import Rows, Streams
from padecast.policies import Policy
from padecast.policies.base import PROBES, SupportsFilter, SupportsPlan, find
from padecast.session.record import Record
from padecast.session.watch import Watch


class Course:
    """What a run has done so far. It asks the policy, once per step, and shows it what its probe sees.

    Args:
        policy: When to compute.
        group: Processes that must decide alike. Default none.
    """

    def __init__(self, policy: Policy, group: Any = None) -> None:
        self._policy, self._group = policy, group
        self._filter: SupportsFilter | None = find(policy, SupportsFilter)
        self.trace = Trace()
        self.latest = -1
        """Index of the computed step that was taken last; -1 before the first."""
        self.records: list[Record] = []
        self._watch = Watch(group) if policy.probe else None
        self._undecided: Geometry | None = None

    def release(self) -> None:
        """Let go of what was seen, and keep the records: the run is over."""
        self._watch = None if self._watch is None else Watch(self._group)

    @property
    def nbytes(self) -> int:
        """Bytes of what was seen and is remembered."""
        return 0 if self._watch is None else self._watch.nbytes

    def is_at(self, index: int) -> bool:
        """Whether the step begun last has this index."""
        return bool(self.trace.steps) and self.trace.steps[-1].at.index == index

    def is_past(self, index: int) -> bool:
        """Whether the step begun last comes after this one."""
        return bool(self.trace.steps) and self.trace.steps[-1].at.index > index

    def plan(self, total: int) -> str:
        """Write what was done at every step: ``C`` computed, ``.`` forecast, a space for those not visited."""
        letters = [" "] * total
        for step in self.trace:
            letters[step.at.index] = "C" if step.computed else "."
        return "".join(letters).rstrip()

    def begin(self, at: Position, geometry: Geometry | None) -> bool:
        """Decide whether a step is computed, as it is without anything remembered.

        A policy with a probe decides when it is shown what it wants to see, by :meth:`observe`; until then it computes.
        """
        self._undecided = geometry if self._watch is not None else None
        computed = geometry is None or self._watch is not None or self._policy.computes(at, self.trace, geometry)
        record = Record(at, computed)
        if geometry is None and not self.trace.steps:
            plan: SupportsPlan | None = find(self._policy, SupportsPlan)
            if plan is not None and plan.forecasts_at(at):
                record.notes["all"] = "begun late"
        self.trace = self.trace.then(at, computed)
        if computed:
            self.latest = at.index
        self.records.append(record)
        return computed

    @property
    def waits_to_see(self) -> bool:
        """Whether the policy wants to be shown something of the step begun, and was not yet."""
        return self._watch is not None and self.records[-1].at.seen is None

    def observe(self, features: Streams, rows: Rows | None = None) -> None:
        """Show the policy what its probe sees of the step begun, and let it decide; only the first time counts."""
        record = self.records[-1]
        if self._watch is None or not self.waits_to_see:
            return
        compared = features if self._filter is None else self._filter.filter(features, record.at)
        seen = self._watch.see(compared, rows)
        record.at = replace(record.at, seen=seen)
        if self._undecided is not None:
            record.computed = self._policy.computes(record.at, self.trace.before, self._undecided)
            self._undecided = None
        self._agree()

    def correct(self) -> None:
        """Note that the step begun was computed, because its first branch could not be forecast."""
        self.records[-1].computed, self.trace = True, self.trace.corrected()
        self.latest = self.records[-1].at.index

    def learn(self, output: Streams, rows: Rows | None = None) -> None:
        """Note what the stack returned on the first branch of a step that was computed."""
        record = self.records[-1]
        if self._watch is None or record.at.seen is None:
            return
        self._watch.keep()
        if self._policy.probe == "latents":
            record.at = replace(record.at, seen=self._watch.learn(record.at.seen, output, rows))
            self._agree()

    def _agree(self) -> None:
        """Have the trace's last step say what the record does."""
        self.trace = self.trace.before.then(self.records[-1].at, self.records[-1].computed)
        self.latest = self.trace.computed[-1] if self.trace.computed else -1


def check_place(index: int, total: int) -> None:
    """Raise unless a step lies in its schedule.

    Raises:
        IndexError: With the length that would do.
    """
    if not 0 <= index < total:
        raise IndexError(
            f"step index {index} lies outside a run of {total} steps (0 to {total - 1}).\n"
            f"Make the session as long as the run: Session(policy, forecaster, total={index + 1})"
        )


def check_shown(policy: Policy) -> None:
    """Raise unless a policy decides by what a session sees by itself.

    Raises:
        InvalidOption: Naming what it decides by.
    """
    if policy.probe not in ("", "latents", "spectrum"):
        raise InvalidOption(
            f"{type(policy).__name__} decides by {PROBES[policy.probe]}, which a session does not see by itself.\n"
            "Give it: session.step(x, index=i, compute=..., probe=features)"
        )
