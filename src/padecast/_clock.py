"""In which run, and where in its schedule, is a model called?

Steps are not counted by calls. In order of trust: what ``cache_context(step_index=...)`` says; the scheduler's own step
index; the model's timestep looked up in the scheduler's grid; and, for a bare transformer, the number of distinct
timesteps since the run began.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from padecast._count import Counter, Tick, value_of
from padecast._frames import called_by_another
from padecast._history import Position, normalised

SCALES: tuple[float, ...] = (1.0, 1000.0)
ENDING = ("SCMScheduler", "DDPMWuerstchenScheduler")
"""Schedulers whose last timestep is where the run ends, and no step of it."""


class Clock:
    """Places the calls of one model in runs and schedules.

    Args:
        pipeline: The pipeline whose ``scheduler`` leads; ``None`` for a bare model.
        model: The model whose calls are placed.
        steps: Length of the schedule where no scheduler says it.
        strides: Whether positions carry the sampler's strides; reading them waits for the GPU once per run.
    """

    def __init__(self, pipeline: Any, model: Any, steps: int | None = None, strides: bool = False) -> None:
        self._pipeline, self._model, self._strides_wanted = pipeline, model, strides
        self._counter = Counter(steps)
        self.reset()

    def reset(self) -> None:
        """Forget the run: the next call begins one."""
        self._counter.reset()
        self._grid: Any = None
        self._last: int | None = None
        self._place: int | None = None
        self._value: float | None = None
        self._scales = SCALES
        self._strides: tuple[float, ...] | None = None

    @property
    def grid(self) -> Any:
        """The timesteps of the pipeline's scheduler of this moment, if there are any."""
        return getattr(getattr(self._pipeline, "scheduler", None), "timesteps", None)

    @property
    def is_outdated(self) -> bool:
        """Whether the scheduler has begun another run than the one that the last call belonged to."""
        return self._grid is not self.grid

    def is_foreign(self) -> bool:
        """Whether the call in progress belongs to another pipeline that shares the model."""
        return self._pipeline is not None and called_by_another(self._pipeline, self._model)

    def locate(self, timestep: Any, context: Any, features: Any) -> Tick:
        """Place one call.

        Args:
            timestep: The model's timestep argument.
            context: Diffusers' cache context, if one is open.
            features: The model's input, by which a bare model's branches are told from new runs.
        """
        grid = self.grid
        if grid is None or not len(grid):
            return self._counter.locate(timestep, context, features)
        fresh, total = self.is_outdated, self._length(grid)
        if fresh:
            self.reset()
        value = _host_value(timestep)
        index = self._index(grid, timestep, value, context)
        if index is not None and index == self._last and self._moved(value):
            return Tick(total, foreign=True)  # the scheduler stands still: somebody else samples with the model
        begins = fresh or (index is not None and self._last is not None and index < self._last)
        if begins:
            self._strides = self._read_strides(total) if self._strides_wanted else None
        self._grid, self._value, self._place = grid, value, index
        if index is None:
            return Tick(total, None, begins)
        self._last = index
        return Tick(total, Position.at(index, total, strides=self._strides), begins)

    def _length(self, grid: Any) -> int:
        """Return the number of steps of a run over the whole grid."""
        ends = any(cls.__name__ in ENDING for cls in type(self._pipeline.scheduler).__mro__)
        return len(grid) - ends

    def _index(self, grid: Any, timestep: Any, value: float | None, context: Any) -> int | None:
        """Return the place in the grid; ``None`` if it is ambiguous or not in the grid."""
        total = self._length(grid)
        told = self._told(total, value, context)
        if told is not None:
            return int(told) if 0 <= int(told) < total else None
        fresh, stands = self._grid is None, value is not None and not self._moved(value)
        found = look_up(grid, timestep, self._scales)
        if fresh:
            found = found[:1] or [(0, None)]  # what is not in the grid is taken for its first place
        if len(found) != 1:
            return self._place if stands and not found else None
        index, scale = found[0]
        self._scales = (scale,) if scale else self._scales
        return index

    def _told(self, total: int, value: float | None, context: Any) -> Any:
        """Return the step index that the context or the scheduler knows without reading the timestep."""
        given = getattr(context, "step_index", None)
        if given is not None and getattr(context, "num_inference_steps", None) in (None, total):
            return given
        scheduler = self._pipeline.scheduler
        led = getattr(scheduler, "step_index", None)
        # Before its first step the scheduler knows where the run begins, which holds as long as the run stands there.
        return getattr(scheduler, "begin_index", None) if led is None and not self._moved(value) else led

    def _moved(self, value: float | None) -> bool:
        """Whether the model's timestep is known to be another one than at the last call."""
        if value is None or self._value is None:
            return False
        return abs(value - self._value) > 1e-6 * max(abs(value), abs(self._value))

    def _read_strides(self, total: int) -> tuple[float, ...] | None:
        sigmas = getattr(self._pipeline.scheduler, "sigmas", None)
        if sigmas is None or len(sigmas) != total + 1:
            return None
        levels = [float(s) for s in (sigmas.tolist() if isinstance(sigmas, Tensor) else sigmas)]
        return normalised([abs(a - b) for a, b in pairwise(levels)])


def look_up(grid: Any, timestep: Any, scales: tuple[float, ...] = SCALES) -> list[tuple[int, float | None]]:
    """Find a model's timestep in a scheduler's grid, within the rounding of its dtype.

    Args:
        grid: The scheduler's timesteps.
        timestep: What the model was told.
        scales: What the model's timestep may have to be multiplied with.

    Returns:
        The places that fit, and the scales with which they do.

    Example:
        >>> look_up(torch.tensor([999.0, 500.0, 1.0]), torch.tensor([0.5]))
        [(1, 1000.0)]
    """
    value = value_of(timestep)
    places = [float(t) for t in (grid.tolist() if isinstance(grid, Tensor) else grid)]
    floating = isinstance(timestep, Tensor) and timestep.is_floating_point()
    own = torch.finfo(timestep.dtype).eps if floating else 0.0
    for tolerance in (max(own, 1e-6), 2**-7):  # at last that of bfloat16, which a wider dtype may have passed through
        near: list[tuple[int, float | None]] = [
            (index, scale)
            for index, place in enumerate(places)
            for scale in scales
            if abs(scale * value - place) <= tolerance * max(abs(place), 1e-3)
        ]
        if near:
            return near
    return []


def _host_value(timestep: Any) -> float | None:
    """Return the timestep if reading it does not wait for a GPU."""
    if timestep is None or (isinstance(timestep, Tensor) and timestep.device.type != "cpu"):
        return None
    return value_of(timestep)
