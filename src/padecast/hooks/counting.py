"""Where in its schedule is a model called that has no scheduler?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from padecast._steps import Position


@dataclass(frozen=True)
class Tick:
    """One model call, placed.

    Args:
        total: Steps of the schedule; ``None`` if that is not known.
        position: Where in the schedule; ``None`` if that is not known.
        begins: Whether a new run begins with this call.
        foreign: Whether the call belongs to somebody else's run and is to be left alone.
        tentative: Whether it may turn out that the run that begins is somebody else's.
    """

    total: int | None
    position: Position | None = None
    begins: bool = False
    foreign: bool = False
    tentative: bool = False


class Counter:
    """Places a model's calls by what its cache context says, or else by the distinct timesteps since the run began.

    A run begins when the timestep or the step index turns back, and when a named branch of the first step comes again.
    After a single step two things cannot be told from a new run: an unnamed call at the same timestep that is
    conditioned as one before and has another input, and a timestep that moves the other way than in the run before (or
    a model that is now sampled in that direction). Such a call gets no place, and what came before it is not used.

    Args:
        steps: Length of the schedule where the context does not say it.
        rising: Whether timesteps grow, as they do in few models, until a run is seen to go the other way.
    """

    def __init__(self, steps: int | None, rising: bool = False) -> None:
        self._steps = steps
        self.rising = rising
        self.reset()

    def reset(self) -> None:
        """Forget the run: the next call begins one."""
        self.index: int | None = None
        self.start = 0
        self.value: float | None = None
        self._values: dict[int, float | None] = {}
        self._input: Any = None
        self._turned = self._doubtful = False

    def fork(self, index: int) -> Counter:
        """Return a counter that stands just before a step that this one has passed."""
        other = Counter(self._steps, self.rising)
        # One step back: the call that it is made for moves on from there, and so begins no run.
        other.index = other.start = index - 1
        other.value = self._values.get(index - 1)
        return other

    def was_at(self, index: int, timestep: Any, context: Any) -> bool:
        """Whether a step of the run had this timestep, or is the one that the context names."""
        named = getattr(context, "step_index", None)
        if named is not None:
            return int(named) == index
        return timestep is not None and self._values.get(index) == value_of(timestep)

    def moves_on(self, timestep: Any, context: Any) -> bool:
        """Whether a call comes after the latest one of the run, or at the same step."""
        named = getattr(context, "step_index", None)
        if self.index is None:
            return False
        if named is not None:
            return int(named) >= self.index
        value = None if timestep is None else value_of(timestep)
        # Without numbers nothing says that time turns back.
        return value is None or self.value is None or value == self.value or (value > self.value) == self.rising

    def locate(self, timestep: Any, context: Any, features: Any, again: bool = False) -> Tick:
        """Place one call.

        Args:
            timestep: The model's timestep argument.
            context: Diffusers' cache context, if one is open.
            features: The model's input.
            again: Whether a call that is conditioned alike came before at this step.
        """
        name, step = getattr(context, "name", None), getattr(context, "step_index", None)
        total = getattr(context, "num_inference_steps", None) or self._steps
        value = None if timestep is None else value_of(timestep)
        stands = self.index is not None and (value == self.value if step is None else int(step) == self.index)
        # Where the run stands, a call that is conditioned as none before is the step's next branch.
        begins = (again and self._repeat(name, features)) if stands else self._move(value, step)
        self.value, self._input = value, features
        if begins:
            self._values = {}
        if self.index is not None:
            self._values[self.index] = value
        if self.index is None or total is None or self.index >= total or self._doubtful:
            return Tick(total, None, begins)
        return Tick(total, Position(self.index, total, float(self.index)), begins)

    def _move(self, value: float | None, step: Any) -> bool:
        """Go to the next step, and return whether that is the first of a run."""
        before, turned = self.index, self._turned
        self._turned = False
        self.index = self._count(value, turned) if step is None else int(step)
        begins = before is None or self.index < before or self._turned
        self._doubtful = self._turned
        self.start = self.index if begins else self.start
        return begins

    def _count(self, value: float | None, turned: bool) -> int:
        if self.index is None or value is None or self.value is None:
            return 0
        if (value > self.value) == self.rising:
            return self.index + 1
        if turned:  # twice the other way: that is this model's direction now
            self.rising = not self.rising
            # The two calls before were the first steps of its run.
            return 2
        # After one step it may be that time runs this way in this model; after two, another run begins for sure.
        self._turned = self.index == 0
        return 0

    def _repeat(self, name: str | None, features: Any) -> bool:
        """Return whether another call at the same step is the first of a run."""
        # Later in a run it is the second evaluation of a second-order solver.
        if self.index != self.start or self._doubtful:
            return False
        # A pipeline opens a named context once a step.
        if name is not None:
            return True
        # With another input it is a new run, or a branch whose condition is a part of the input: which, nobody says.
        self._doubtful = not _equal(features, self._input)
        return self._doubtful


def value_of(timestep: Any) -> float:
    """Return a model's timestep argument as a number: the largest, where samples or tokens have their own."""
    if not isinstance(timestep, Tensor):
        return float(timestep)
    # Frames and tokens that are given are told less noise than those that are drawn, mostly none.
    return float(timestep.detach().max())


def _equal(left: Any, right: Any) -> bool:
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        # What cannot be compared must not end a run.
        return True
    return left is right or (left.shape == right.shape and left.dtype == right.dtype and bool(torch.equal(left, right)))
