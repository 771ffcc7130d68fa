"""Which thread is where in a model, and whose run lost its place to another thread's."""

from __future__ import annotations

import threading
from typing import Any

from padecast._errors import ConcurrentRun
from padecast.hooks.call import Call, Here
from padecast.hooks.callers import Caller, is_inside
from padecast.hooks.counting import value_of
from padecast.hooks.schedule import Clock
from padecast.hooks.tracks import Track

MOST = 16
"""Runs that lost their place to another thread's and are still told so when they go on."""


class Threads:
    """The threads that call one model.

    A model serves one run at a time: whoever calls in the middle of another thread's run spoils both, and both are told
    so. The calls of one run may come from several threads, one after the other, as those of a generator do.

    Args:
        model: The transformer.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.here = Here()
        self.inside: set[int] = set()
        # Callers whose runs lost their place: their thread, the schedule, and where they were.
        self.overtaken: dict[int, tuple[int | None, Any, float | None]] = {}

    # This thread's call ------------------------------------------------------------------------------------------

    def begin(self, call: Call) -> None:
        """Note that this thread is in a call of the model."""
        self.here.call = call
        self.inside.add(threading.get_ident())

    def end(self) -> Call | None:
        """Return this thread's call, which is over."""
        call, self.here.call = self.here.call, None
        self.inside.discard(threading.get_ident())
        return call

    def is_entered(self) -> bool:
        """Whether this thread is inside a call of the model that is accelerated."""
        return self.here.call is not None and is_inside(threading.get_ident(), self._model)

    # Other threads -----------------------------------------------------------------------------------------------

    def is_busy(self) -> bool:
        """Whether another thread is inside the model."""
        others = [thread for thread in self.inside if thread != threading.get_ident()]
        return bool(others) and any(is_inside(thread, self._model) for thread in others)

    def forget_interrupted(self) -> None:
        """Forget calls that an interrupt ended, of a model that is not busy."""
        self.inside.clear()

    def overtake(self, track: Track, caller: Caller, clock: Clock) -> None:
        """Note whose run is not over and gives its place to one in another thread, to tell it when it goes on.

        Of a loop by hand over a pipeline's parts it is not known whether it goes on: its calls share no frame.
        """
        if track.thread in (None, threading.get_ident()) or track.frame == caller.frame:
            return
        if not (clock.has_grid and caller.is_by_hand):
            self.overtaken[track.frame] = track.thread, clock.grid, track.value
            while len(self.overtaken) > MOST:  # runs that were given up never come back
                del self.overtaken[next(iter(self.overtaken))]

    def resumes(self, caller: Caller, timestep: Any, clock: Clock, rising: bool) -> bool:
        """Whether a run goes on that lost its place to one in another thread, though that may be over by now.

        The same caller may begin another run instead: then the schedule was set anew, or time turns back.
        """
        if caller.frame not in self.overtaken:
            return False
        thread, grid, last = self.overtaken[caller.frame]
        value = None if timestep is None or last is None or clock.has_grid else value_of(timestep)
        if value is not None and value == last:
            return False  # another call of the step where it was, or the first of another run: the next one tells
        del self.overtaken[caller.frame]
        # Whoever begins anew has set the schedule since. By hand the frame may be a helper's: its identity comes again.
        if clock.has_grid:
            return not caller.is_by_hand and (clock.grid is grid or not clock.is_outdated)
        # In another thread it is the identity of another frame.
        return value is not None and thread == threading.get_ident() and (value > (last or 0)) == rising

    def owns(self, track: Track, caller: Caller) -> bool:
        """Whether a run is this thread's, or passes to it: the steps of a generator may come from several threads."""
        if track.thread not in (None, threading.get_ident()) and track.frame == caller.frame:
            track.thread = threading.get_ident()
        return track.thread in (None, threading.get_ident())


def collision() -> ConcurrentRun:
    """Return the error of two threads that sample with one pipeline at once."""
    return ConcurrentRun(
        "two threads sample with one accelerated pipeline at once; both runs are lost.\n"
        "Usual cause: two requests served by one pipeline. Guard it with a lock, or give every thread a pipeline and a "
        "scheduler of its own that share the weights:\n"
        "    type(pipe).from_pipe(pipe, scheduler=copy.deepcopy(pipe.scheduler))"
    )
