"""Runs of one model that take turns: each has its session, its branches and its place in the schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from padecast.hooks.conditions import Branch, Branches, Condition
from padecast.hooks.counting import Counter, Tick
from padecast.session.session import Session

MOST = 4
"""Runs of a bare model that are followed at a time."""
REMEMBER = 2
"""Of these, how many keep their histories."""


@dataclass(eq=False)
class Track:
    """One run of a model.

    Args:
        counter: Where it is, for a model without a scheduler.
        branches: The branches of its calls.
        session: What it remembers; nothing before its first call with a known length.
        thread: In which its calls come; ``None`` between runs.
        frame: The call of a pipeline, or of the caller, to which its calls belong.
        value: The timestep of its latest call, for a model without a scheduler.
        conflict: Whether another thread has called in between.
        is_split: Whether it was the branch of another run that fell behind, and so begins in the middle.
        passed: The step of the latest call by hand that was perhaps of another loop.
    """

    counter: Counter
    branches: Branches = field(default_factory=Branches)
    session: Session | None = None
    thread: int | None = None
    frame: int = 0
    value: float | None = None
    conflict: bool = False
    is_split: bool = False
    passed: int | None = None

    def takes(self, context: str | None, conditions: tuple[Condition, ...], index: int) -> bool:
        """Whether a call by hand in the middle of a run may be one of its calls.

        It is if it is conditioned as one before; else it is perhaps of another loop. When the scheduler has moved on
        and no other call of the run came, it was of this one, whose conditioning has changed.
        """
        is_known = self.branches.knows(context, conditions) is not None
        changed = self.passed is not None and self.passed < index and not self.branches.were_at(self.passed)
        self.passed = None if is_known else index
        return is_known or changed

    @property
    def is_over(self) -> bool:
        """Whether no call of it is awaited."""
        return self.session is None or self.session.complete

    def close(self) -> None:
        """Let go of what it remembers, and keep the records."""
        if self.session is not None:
            self.session.close()
        self.thread, self.conflict = None, False
        self.branches.clear()


class Tracks:
    """The runs of a model. A pipeline has one at a time; of a bare model several may take turns.

    A bare model's calls are told apart by what they are conditioned on. What was given the same as a call before goes
    on with its run. A conditioning that is new is another branch of the run if it comes at the timestep where the run
    stands or after it, and begins a run of its own where the timestep turns back. A branch that falls behind the
    others of its run belongs to a run of its own, which begins where it is.

    Args:
        steps: Length of the schedule where a context does not say it.
    """

    def __init__(self, steps: int | None) -> None:
        self._steps = steps
        self.latest = Track(Counter(steps))
        """The run that was called last."""
        self._tracks = [self.latest]

    def __iter__(self) -> Iterator[Track]:
        return iter(self._tracks)

    def reset(self) -> None:
        """Let go of all runs; the report of the latest one stays."""
        latest = self.latest
        for track in self._tracks:
            track.close()
        latest.counter.reset()
        self._tracks = [latest]

    def locate(
        self, timestep: Any, context: Any, conditions: tuple[Condition, ...], features: Any
    ) -> tuple[Track, Tick]:
        """Return the run of a bare model's call, and where in it the call is.

        Args:
            timestep: The model's timestep argument.
            context: Diffusers' cache context, if one is open.
            conditions: What the call is given besides.
            features: The model's input.
        """
        name = None if context is None else str(context.name)
        track, branch = self._find(name, conditions, timestep, context)
        if branch is not None and not track.counter.moves_on(timestep, context):
            following = branch.index + 1
            # Two requests that began at one timestep look like branches of one run, until one of them falls behind.
            # Where time turns back for the only branch, its run begins anew.
            if len(track.branches) > 1 and track.counter.was_at(following, timestep, context):
                track = self._begin(track.counter.fork(following), track.branches.leave(branch))
                track.is_split = True
        again = branch is not None and branch.index == track.counter.index
        tick = track.counter.locate(timestep, context, features, again)
        track.value = track.counter.value
        return track, tick

    def _find(
        self, name: str | None, conditions: tuple[Condition, ...], timestep: Any, context: Any
    ) -> tuple[Track, Branch | None]:
        """Return the run of a call, and the branch of it that is conditioned as the call, if there is one."""
        for track in reversed(self._tracks):
            branch = track.branches.knows(name, conditions)
            if branch is not None:
                if len(self._tracks) > 1:
                    self._use(track)
                return track, branch
        latest = self.latest
        if latest.is_over or not len(latest.branches) or latest.counter.moves_on(timestep, context):
            return latest, None
        # Which way time runs is the model's, and need not be learnt anew.
        return self._begin(Counter(self._steps, latest.counter.rising), Branches()), None

    def _begin(self, counter: Counter, branches: Branches) -> Track:
        self._use(Track(counter, branches))
        return self.latest

    def _use(self, track: Track) -> None:
        """Take a run as the latest; others that are over or were not called for long are forgotten."""
        others = [other for other in self._tracks if other is not track]
        # With this one REMEMBER histories are left; a run without one computes until it has one again.
        for other in others[: 1 - REMEMBER or None]:
            if other.session is not None:
                other.session.close()
        # Runs that were given up never end: there is a bound to how many are followed.
        self._tracks = [*[other for other in others if not other.is_over][1 - MOST :], track]
        self.latest = track
