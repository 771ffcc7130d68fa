"""In which run, and where in its schedule, is a model called?

Steps are not counted by calls. In order of trust: what ``cache_context(step_index=...)`` says; the scheduler's own step
index; the model's timestep looked up in the scheduler's grid; and, for a bare transformer, the number of distinct
timesteps since the run began.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from padecast._history import Position


@dataclass(frozen=True)
class Tick:
    """One model call, placed.

    Args:
        position: Where in the schedule; ``None`` if that is not known.
        begins: Whether a new run begins with this call.
        foreign: Whether the call belongs to somebody else's run and is to be left alone.
    """

    position: Position | None
    begins: bool = False
    foreign: bool = False


class Clock:
    """Places the calls of one model in runs and schedules.

    Args:
        pipeline: The pipeline whose ``scheduler`` leads; ``None`` for a bare model.
        model: The model whose calls are placed.
        steps: Length of the schedule where no scheduler says it.
        strides: Whether positions carry the sampler's strides; reading them waits for the GPU once per run.
    """

    def __init__(self, pipeline: Any, model: Any, steps: int | None = None, strides: bool = False) -> None:
        self._pipeline, self._model, self._steps, self._strides_wanted = pipeline, model, steps, strides
        self.reset()

    def reset(self) -> None:
        """Forget the run: the next call begins one."""
        self._grid: Any = None
        self._last: int | None = None
        self._value: float | None = None
        self._input: Tensor | None = None
        self._rising: bool | None = None
        self._strides: list[float] | None = None

    @property
    def scheduler(self) -> Any:
        """The pipeline's scheduler of this moment, if there is one."""
        return getattr(self._pipeline, "scheduler", None)

    def locate(self, timestep: Any, context: Any, features: Any) -> Tick:
        """Place one call.

        Args:
            timestep: The model's timestep argument.
            context: Diffusers' cache context, if one is open.
            features: The model's input, by which a bare model's branches are told from new runs.
        """
        grid = getattr(self.scheduler, "timesteps", None)
        if self.scheduler is None or grid is None or not len(grid):
            return self._count(timestep, context, features)
        fresh = grid is not self._grid
        if fresh and called_by_another(self._pipeline, self._model):
            return Tick(None, foreign=True)
        index, value = self._index(grid, timestep, context, fresh), _host_value(timestep)
        if self._is_stale(fresh, index, value):
            return Tick(None, foreign=True)
        begins = fresh or (index is not None and self._last is not None and index < self._last)
        if begins:
            self._strides = self._read_strides(len(grid)) if self._strides_wanted else None
        self._grid, self._value = grid, value
        if index is None:
            return Tick(None, begins)
        self._last = index
        return Tick(self._position(index, len(grid)), begins)

    def _position(self, index: int, total: int) -> Position:
        stride = self._strides[index] if self._strides else None
        return Position(index, total, float(index), stride)

    def _index(self, grid: Any, timestep: Any, context: Any, fresh: bool) -> int | None:
        """Return the place in the grid; ``None`` if it is ambiguous or not in the grid."""
        given = getattr(context, "step_index", None)
        if given is not None:
            return int(given) if 0 <= int(given) < len(grid) else None
        led = getattr(self.scheduler, "step_index", None)
        if led is not None:
            return int(led) if 0 <= int(led) < len(grid) else None
        begin = getattr(self.scheduler, "begin_index", None)
        if begin is not None and 0 <= int(begin) < len(grid):
            return int(begin)
        return look_up(grid, timestep, 0 if fresh else None)

    def _is_stale(self, fresh: bool, index: int | None, value: float | None) -> bool:
        """Whether the model moved in time although its scheduler did not: somebody else is sampling with it."""
        if fresh or index is None or index != self._last or value is None or self._value is None:
            return False
        return abs(value - self._value) > 1e-6 * max(abs(value), abs(self._value))

    def _read_strides(self, total: int) -> list[float] | None:
        sigmas = getattr(self.scheduler, "sigmas", None)
        if sigmas is None or len(sigmas) != total + 1:
            return None
        levels = [float(s) for s in (sigmas.tolist() if isinstance(sigmas, Tensor) else sigmas)]
        strides = [abs(a - b) for a, b in zip(levels, levels[1:], strict=False)]
        whole = sum(strides)
        return [s / whole for s in strides] if whole > 0 else None

    def _count(self, timestep: Any, context: Any, features: Any) -> Tick:
        """Place a call without a scheduler: the context's word, or the number of distinct timesteps."""
        given, total = (
            getattr(context, "step_index", None),
            getattr(context, "num_inference_steps", None) or self._steps,
        )
        if given is not None:
            begins = self._last is None or int(given) < self._last
            self._last = int(given)
            known = total is not None and self._last < total
            return Tick(Position.at(self._last, total or 1) if known else None, begins)
        value = _value(timestep)
        begins = self._turns_back(value, context, features)
        if begins:
            self._last, self._rising = 0, None
        elif value != self._value:
            assert self._last is not None
            self._rising = value > self._value if self._value is not None else None
            self._last += 1
        self._value, self._input = value, features if isinstance(features, Tensor) else None
        if total is None or self._last is None or self._last >= total:
            return Tick(None, begins)
        return Tick(Position.at(self._last, total), begins)

    def _turns_back(self, value: float, context: Any, features: Any) -> bool:
        """Whether a bare model's timestep says that a new run begins."""
        if self._value is None or self._last is None:
            return True
        if value != self._value:
            return self._rising is not None and (value > self._value) != self._rising
        same_call = context is not None or self._input is None or not isinstance(features, Tensor)
        return not same_call and not _equal(features, self._input)


def look_up(grid: Any, timestep: Any, default: int | None) -> int | None:
    """Find a model's timestep in a scheduler's grid, as it is or divided by 1000, within bfloat16's rounding.

    Returns:
        The place; ``None`` if the value occurs twice; ``default`` if it does not occur.

    Example:
        >>> look_up(torch.tensor([999.0, 500.0, 1.0]), torch.tensor([0.5]), None)
        1
    """
    value = _value(timestep)
    places = [float(t) for t in (grid.tolist() if isinstance(grid, Tensor) else grid)]
    for scale in (1.0, 1000.0):
        gaps = [abs(value * scale - place) for place in places]
        nearest = min(range(len(gaps)), key=gaps.__getitem__)
        if gaps[nearest] <= 2**-8 * max(abs(places[nearest]), 1e-3):
            return nearest if gaps.count(gaps[nearest]) == 1 else None
    return default


def called_by_another(pipeline: Any, model: Any) -> bool:
    """Whether the innermost pipeline on the call stack that owns the model is not this one.

    Two pipelines may share a transformer and a scheduler; only the one that was accelerated is to be touched.
    """
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if owner is not None and owner is not model:
            if owner is pipeline:
                return False
            if hasattr(type(owner), "__call__") and _owns(owner, model):  # noqa: B004
                return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _owns(owner: Any, model: Any) -> bool:
    attributes = getattr(owner, "__dict__", {})
    return "scheduler" in attributes and any(
        value is model or getattr(value, "_orig_mod", None) is model for value in attributes.values()
    )


def _value(timestep: Any) -> float:
    if not isinstance(timestep, Tensor):
        return float(timestep)
    return float(timestep.detach().double().max()) if timestep.device.type != "mps" else float(timestep.max())


def _host_value(timestep: Any) -> float | None:
    """Return the timestep if reading it does not wait for a GPU."""
    if isinstance(timestep, Tensor) and timestep.device.type != "cpu":
        return None
    return None if timestep is None else _value(timestep)


def _equal(one: Tensor, two: Tensor) -> bool:
    return one is two or (one.shape == two.shape and one.dtype == two.dtype and bool(torch.equal(one, two)))
