"""Where in its schedule is a model called that has no scheduler?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from padecast._history import Position


@dataclass(frozen=True)
class Tick:
    """One model call, placed.

    Args:
        total: Steps of the schedule; ``None`` if that is not known.
        position: Where in the schedule; ``None`` if that is not known.
        begins: Whether a new run begins with this call.
        foreign: Whether the call belongs to somebody else's run and is to be left alone.
    """

    total: int | None
    position: Position | None = None
    begins: bool = False
    foreign: bool = False


class Counter:
    """Places a model's calls by what its cache context says, or else by the distinct timesteps since the run began.

    A run begins when the timestep or the step index turns back, and when a named branch of the first step comes again.
    After a single step two things cannot be told from a new run: an unnamed call at the same timestep with another
    input (or a second branch), and a timestep that moves the other way than in the run before (or a model that is now
    sampled in that direction). Such a call gets no place, and what came before it is no longer used.

    Args:
        steps: Length of the schedule where the context does not say it.
    """

    def __init__(self, steps: int | None) -> None:
        self._steps = steps
        self._rising = False  # as almost all models are sampled, until one is seen to be sampled otherwise
        self.reset()

    def reset(self) -> None:
        """Forget the run: the next call begins one."""
        self._index: int | None = None
        self._start = 0
        self._value: float | None = None
        self._input: Any = None
        self._names: set[str | None] = set()
        self._turned = self._doubtful = False

    def locate(self, timestep: Any, context: Any, features: Any) -> Tick:
        """Place one call; see :meth:`padecast._clock.Clock.locate`."""
        name, told = getattr(context, "name", None), getattr(context, "step_index", None)
        total = getattr(context, "num_inference_steps", None) or self._steps
        value = None if timestep is None else value_of(timestep)
        stands = self._index is not None and (value == self._value if told is None else int(told) == self._index)
        begins = self._repeat(name, features) if stands else self._move(value, told)
        self._names = {name} if begins else {*self._names, name}
        self._value, self._input = value, features
        if self._index is None or total is None or self._index >= total or self._doubtful:
            return Tick(total, None, begins)
        return Tick(total, Position.at(self._index, total), begins)

    def _move(self, value: float | None, told: Any) -> bool:
        """Go to the next step, and return whether that is the first of a run."""
        before, turned = self._index, self._turned
        self._turned = False
        self._index = self._count(value, turned) if told is None else int(told)
        begins = before is None or self._index < before or self._turned
        self._doubtful = self._turned
        self._start = self._index if begins else self._start
        return begins

    def _count(self, value: float | None, turned: bool) -> int:
        if self._index is None or value is None or self._value is None:
            return 0
        if (value > self._value) == self._rising:
            return self._index + 1
        if turned:  # twice the other way: that is this model's direction now
            self._rising = not self._rising
            return 2
        self._turned = self._index == 0
        return 0

    def _repeat(self, name: str | None, features: Any) -> bool:
        """Return whether another call at the same step is the first of a run."""
        if self._index != self._start or self._doubtful:
            return False
        if name is not None:
            return name in self._names
        self._doubtful = not _equal(features, self._input)
        return self._doubtful


def value_of(timestep: Any) -> float:
    """Return a model's timestep argument as a number: the largest, where samples or tokens have their own."""
    if not isinstance(timestep, Tensor):
        return float(timestep)
    return float(timestep.detach().max())


def _equal(one: Any, two: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(two, Tensor):
        return True
    return one is two or (one.shape == two.shape and one.dtype == two.dtype and bool(torch.equal(one, two)))
