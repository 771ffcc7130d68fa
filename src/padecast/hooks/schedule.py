"""In which run, and where in its schedule, is a model called?

Steps are not counted by calls. In order of trust: what ``cache_context(step_index=...)`` says; the scheduler's own step
index; the model's timestep looked up in the scheduler's grid; and, for a bare transformer, the number of distinct
timesteps since the run began.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from padecast._noise import Noise, noise_of
from padecast._steps import Position, normalise
from padecast.hooks.counting import Tick, value_of

SCALES: tuple[float, ...] = (1.0, 1000.0)
ENDING = ("SCMScheduler", "DDPMWuerstchenScheduler")
"""Schedulers whose last timestep is where the run ends, and no step of it."""


@dataclass(frozen=True)
class Relation:
    """How what a model is told is related to its scheduler's timesteps: ``t = offset + scale * value``."""

    scale: float
    offset: float = 0.0

    def holds(self, value: float, grid: Any, index: int) -> bool:
        """Whether a model's timestep is this place of the grid, as exactly as bfloat16 can say it."""
        return self._distance(value, grid, index) <= 2**-7

    def fits_another(self, value: float, grid: Any, index: int) -> bool:
        """Whether a model's timestep is another place of the grid exactly, and this one only by rounding."""
        # Places of a fine schedule lie within bfloat16's rounding of one another: what is told exactly goes before.
        if self._distance(value, grid, index) <= 1e-5:
            return False
        return any(self._distance(value, grid, place) <= 1e-5 for place in range(len(grid)))

    def _distance(self, value: float, grid: Any, index: int) -> float:
        # A share of the largest (Mochi's schedule rises): 1 - t/1000 in bfloat16 is coarsest where t itself is small.
        most = max(abs(float(grid[0])), abs(float(grid[-1])), 1e-3)
        return abs(self.offset + self.scale * value - float(grid[index])) / most


# FLUX is told t/1000, Lumina 2 and Z-Image are told 1 - t/1000.
RELATIONS = (Relation(1.0), Relation(1000.0), Relation(-1.0, 1000.0), Relation(-1000.0, 1000.0))


class Agreement:
    """How what models are told is related to the timesteps of a scheduler: learnt from the first call of a run.

    Models of one pipeline share it. Each may be told in its own way; where the first call of one comes from elsewhere
    than the calls of the others, it has to fit what these have shown.
    """

    def __init__(self) -> None:
        self._grid: Any = None
        self._learnt: dict[int, tuple[tuple[Relation, ...], frozenset[int]]] = {}  # of each model, and at which places
        self._sites: set[Any] = set()

    def sites(self, grid: Any) -> set[Any]:
        """Return the code from which the calls of a run's first steps came."""
        if grid is not self._grid:
            self._grid, self._learnt, self._sites = grid, {}, set()
        return self._sites

    def breaks(self, model: int, grid: Any, index: int, value: float, strange: bool) -> bool:
        """Whether a call does not fit what was learnt, so that it is somebody else's; else learn from it.

        Args:
            model: Whose call, by a number of the model's clock.
            grid: The scheduler's timesteps.
            index: The step at which it comes.
            value: What the model is told.
            strange: Whether the call comes from elsewhere than those of the run. What was learnt from one step alone
                may have fitted by chance, and is given up for a call that is not.
        """
        self.sites(grid)
        matching = tuple(relation for relation in RELATIONS if relation.holds(value, grid, index))
        if model not in self._learnt:
            others = [relations for relations, _ in self._learnt.values() if relations]
            if strange and others and not any(set(matching) & set(relations) for relations in others):
                return True
            self._learnt[model] = matching, frozenset({index})
            return False
        relations, places = self._learnt[model]
        # One step alone may fit by chance, as t = 500 does from either end: what has held at every step is kept.
        matching = tuple(relation for relation in matching if relation in relations)
        if matching and not all(relation.fits_another(value, grid, index) for relation in matching):
            self._learnt[model] = matching, places | {index}
            return False
        if relations and (strange or len(places) > 1):
            return True
        self._learnt[model] = (), places  # the first call fitted by chance: it is told something else than the grid
        return False


class Clock:
    """Places the calls of one model in runs and schedules.

    A scheduler's index is believed as long as the model's own timestep agrees with it. How the two are related (as they
    are, a thousandth, counted from the other end) is learnt from the first call of a run; a call that does not fit what
    was learnt belongs to somebody else, and so does one whose timestep moves while the scheduler stands.

    A loop by hand over a pipeline's parts (a call with no pipeline on the call stack) has to show that it is the
    pipeline's: by a schedule that was set since the run before, or by the scheduler's index.

    Args:
        pipeline: The pipeline whose ``scheduler`` leads; ``None`` for a bare model.
        steps: Length of the schedule where no scheduler says it.
        strides: Whether positions carry the sampler's strides and noise levels; reading them waits for the GPU once per
            run.
        agreement: How timesteps are told, as far as other models of the pipeline have shown it. Default nothing.
    """

    def __init__(
        self, pipeline: Any, steps: int | None = None, strides: bool = False, agreement: Agreement | None = None
    ) -> None:
        self.pipeline, self._strides_wanted = pipeline, strides
        self._agreement = agreement or Agreement()
        self.steps = steps
        self._spent = self.grid  # a schedule that was set before is no sign that a run of ours begins
        self._walks = False  # whether a run by hand has moved on without stepping its scheduler
        self.reset()

    def reset(self) -> None:
        """Forget the run: the next call begins one."""
        self._grid: Any = None
        self._last: int | None = None
        self._place: int | None = None
        self._value: float | None = None
        self._scales = SCALES
        self._tentative = self._led = False
        self._strides: tuple[float, ...] | None = None
        self.noise: Noise | None = None

    @property
    def timesteps(self) -> tuple[float, ...]:
        """The timesteps of the run that has begun, of its places; reading them may wait for a GPU."""
        return tuple(map(float, self.grid[: self._length(self.grid)])) if self.has_grid else ()

    @property
    def begin_index(self) -> int:
        """The place at which the run has begun: in the middle of the schedule, for one that starts from an image."""
        return self._last or 0

    @property
    def grid(self) -> Any:
        """The timesteps of the pipeline's scheduler of this moment, if there are any."""
        return getattr(getattr(self.pipeline, "scheduler", None), "timesteps", None)

    @property
    def has_grid(self) -> bool:
        """Whether a scheduler says what the schedule is."""
        if self.pipeline is None:
            return False
        grid = self.grid
        return grid is not None and len(grid) > 0

    @property
    def is_outdated(self) -> bool:
        """Whether the scheduler has begun another run than the one that the last call belonged to."""
        # By identity: set_timesteps makes a new tensor, also for a schedule that equals the one before.
        return self._grid is not self.grid

    def nearest(self, levels: Any) -> Any:
        """Return, of the noise levels of several streams, the one where the scheduler stands."""
        if not self.has_grid or not isinstance(levels, Tensor) or levels.numel() < 2:
            return levels
        scheduler, flat = self.pipeline.scheduler, levels.flatten()
        place = getattr(scheduler, "step_index", None) or getattr(scheduler, "begin_index", None) or 0
        return flat[(flat - self.grid[min(place, len(self.grid) - 1)].to(flat)).abs().argmin()]

    def locate(self, timestep: Any, context: Any, by_hand: bool = False, site: Any = None, size: float = 0) -> Tick:
        """Place one call in the scheduler's grid.

        Args:
            timestep: The model's timestep argument.
            context: Diffusers' cache context, if one is open.
            by_hand: Whether no pipeline makes the call. Its timestep is then read, for which a GPU is waited for.
            site: The code that makes the call.
            size: Numbers of one sample's latents, which say how noisy they look.
        """
        grid = self.grid
        fresh, total = self.is_outdated, self._length(grid)
        if by_hand and (self._leads(fresh) or not self._may_be_ours(grid, timestep, fresh)):
            return Tick(total, foreign=True)
        if fresh:
            self.reset()
        value = value_of(timestep) if by_hand and timestep is not None else _host_value(timestep)
        index = None if is_spread(timestep, grid) else self._index(grid, timestep, value, context)
        # A pipeline's call without a place, as at PNDM's repeated timestep, stays a call of its run, and is computed.
        if (index is None and by_hand) or (not fresh and self._stands(by_hand, index)):
            return Tick(total, foreign=True)
        strange = by_hand or site not in self._agreement.sites(grid)
        if index is not None and self._is_foreign(grid, index, value, strange):
            return Tick(total, foreign=True)
        if strange and not by_hand and not fresh and self._last not in (None, index) and not self._counts:
            return Tick(total, foreign=True)  # a run moves on where it was, and not in a callback
        begins = fresh or (index is not None and self._last is not None and index < self._last)
        # A schedule that a run has used, or that was never set, shows nothing: it may be a loss, or another loop.
        tentative = by_hand and begins and (grid is self._spent or not self._is_set)
        # The other branches of the first step show no more; the second step does.
        self._tentative = tentative or (self._tentative and index == self._last)
        # A loop by hand begins where the scheduler does, which for an image is the begin index, and nowhere else.
        if tentative and index != (getattr(self.pipeline.scheduler, "begin_index", None) or 0):
            return Tick(total, foreign=True)
        if begins:
            self._led = not by_hand
            self._strides = self._read_strides(total) if self._strides_wanted else None
            self.noise = noise_of(self.pipeline.scheduler, size) if self._strides_wanted else None
        self._grid, self._value, self._place = grid, value, index
        if index is None:
            return Tick(total, None, begins)
        # Callbacks come once the scheduler has moved on: what calls at the start, or where the run stands, is the loop.
        # From its second step on a schedule is used up: a call by hand at its start may be of another loop.
        if begins or index == self._last:
            self._agreement.sites(grid).add(site)
        else:
            self._spent = grid
        self._last = index
        return Tick(
            total, Position.at(index, total, strides=self._strides, noise=self.noise), begins, tentative=tentative
        )

    @property
    def _counts(self) -> bool:
        """Whether the scheduler has a step index."""
        return hasattr(self.pipeline.scheduler, "step_index")

    def _leads(self, fresh: bool) -> bool:
        """Whether the run that the schedule was set for is a pipeline's, whose calls are none by hand."""
        # The schedule stays set when the pipeline is done: losses and previews by hand would fit it.
        return self._led and not fresh

    def _may_be_ours(self, grid: Any, timestep: Any, fresh: bool) -> bool:
        """Whether a call by hand may go on with the run, or begin one; the model's timestep is looked at later."""
        if self._counts:
            return True
        # DDIM and its like have no index that could agree: the call goes on, or its schedule was set for it.
        places = [] if timestep is None else [place for place, _ in look_up(grid, timestep)]
        goes_on = not fresh and self._last is not None and all(place >= self._last for place in places)
        return goes_on or grid is not self._spent

    def _is_foreign(self, grid: Any, index: int, value: float | None, strange: bool) -> bool:
        """Whether a call belongs to somebody else: the scheduler stands, or says something else than the model."""
        if value is None:
            return False
        if index == self._last and self._has_moved(value):
            return True  # the scheduler stands still: somebody else samples with the model
        return self._agreement.breaks(id(self), grid, index, value, strange)

    @property
    def _is_set(self) -> bool:
        """Whether the scheduler was told how many steps a run has; before that its grid is one of training."""
        return getattr(self.pipeline.scheduler, "num_inference_steps", None) is not None

    @property
    def latest(self) -> Any:
        """The schedule of the latest run, or what the scheduler has before the first."""
        return self.grid if self._grid is None else self._grid

    def spend(self, grid: Any) -> None:
        """Take a schedule for that of a run that was: a call by hand at its start is none of ours for sure."""
        self._spent = grid

    def _length(self, grid: Any) -> int:
        """Return the number of steps of a run over the whole grid."""
        # By name and along the bases, since nothing here imports diffusers.
        ends = any(cls.__name__ in ENDING for cls in type(self.pipeline.scheduler).__mro__)
        return len(grid) - ends

    def _index(self, grid: Any, timestep: Any, value: float | None, context: Any) -> int | None:
        """Return the place in the grid; ``None`` if it is ambiguous or not in the grid."""
        total = self._length(grid)
        step = self._read_step(total, value, context)
        if step is not None:
            return int(step) if 0 <= int(step) < total else None
        fresh, stands = self._grid is None, value is not None and not self._has_moved(value)
        matches = look_up(grid, timestep, self._scales)
        if fresh:
            matches = matches[:1] or [(0, None)]  # what is not in the grid is taken for its first place
        # PNDM visits one timestep twice. What fits no place stands where the other branch of the first step was put.
        if len(matches) != 1:
            return self._place if stands and not matches else None
        index, scale = matches[0]
        # Learnt once: by the other scale a last timestep of 1 is the first one, 1000.
        self._scales = (scale,) if scale else self._scales
        return index

    def _read_step(self, total: int, value: float | None, context: Any) -> Any:
        """Return the step index that the context or the scheduler knows without reading the timestep."""
        step = getattr(context, "step_index", None)
        # A pipeline that starts from an image may count the part of the schedule that its strength leaves.
        if step is not None and getattr(context, "num_inference_steps", None) in (None, total):
            return step
        scheduler = self.pipeline.scheduler
        led = getattr(scheduler, "step_index", None)
        # Before its first step the scheduler knows where the run begins, which holds as long as the run stands there.
        return getattr(scheduler, "begin_index", None) if led is None and not self._has_moved(value) else led

    def _stands(self, by_hand: bool, index: int | None) -> bool:
        """Whether a call by hand moves on while a scheduler that has an index was not stepped since the run began."""
        scheduler = self.pipeline.scheduler
        unmoved = hasattr(scheduler, "step_index") and scheduler.step_index is None
        # Once a loop that was surely ours has moved on without stepping its scheduler, standing still proves nothing.
        self._walks = self._walks or (unmoved and not self._tentative and index != self._last)
        return by_hand and self._tentative and unmoved and index != self._last and not self._walks

    def _has_moved(self, value: float | None) -> bool:
        """Whether the model's timestep is known to be another one than at the last call."""
        if value is None or self._value is None:
            return False
        return abs(value - self._value) > 1e-6 * max(abs(value), abs(self._value))

    def _read_strides(self, total: int) -> tuple[float, ...] | None:
        sigmas = getattr(self.pipeline.scheduler, "sigmas", None)
        # KDPM2 has more sigmas than its places and the end: which belong together is not known.
        if sigmas is None or len(sigmas) != total + 1:
            return None
        levels = [float(s) for s in (sigmas.tolist() if isinstance(sigmas, Tensor) else sigmas)]
        return normalise([abs(a - b) for a, b in pairwise(levels)])


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
    eps = torch.finfo(timestep.dtype).eps if floating else 0.0
    # The narrow one first: within bfloat16's rounding lie several places of a fine schedule.
    for tolerance in (max(eps, 1e-6), 2**-7):  # at last that of bfloat16, which a wider dtype may have passed through
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


def is_spread(timestep: Any, grid: Any) -> bool:
    """Whether the samples or tokens of one call are at several places of the schedule at once.

    So they are in a stream of frames that are denoised one behind the other, and in asynchronous diffusion forcing.
    What was given as a condition has a noise level of its own, which is no place of the grid. On a GPU this is not
    looked at, since reading the timesteps would wait.

    Example:
        >>> is_spread(torch.tensor([999.0, 500.0]), torch.tensor([999.0, 500.0, 1.0]))
        True
        >>> is_spread(torch.tensor([0.0, 500.0]), torch.tensor([999.0, 500.0, 1.0]))
        False
    """
    if not isinstance(timestep, Tensor) or timestep.device.type != "cpu" or timestep.numel() < 2:
        return False
    values = timestep.detach().double().unique()
    if len(values) < 2:
        return False
    # A frame that is given is told 0, which may be the last place of a schedule as well (DDIM).
    return sum(bool(value) and bool(look_up(grid, value)) for value in values.tolist()) > 1
