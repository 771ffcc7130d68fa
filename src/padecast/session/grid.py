"""The noise levels of one run, and where on them a call lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from padecast._errors import InvalidOption, check
from padecast._noise import ORIGIN, OUTPUTS, Noise, noise_at

TOLERANCE = 1e-4
"""How far a noise level may lie from one of the grid, as a share of it."""


class Evaluation(NamedTuple):
    """One call of the model that a sampler makes.

    Args:
        sigma: The noise level.
        step: The step of the sampler, from 0.
        stage: Which of the step's calls, from 0.
    """

    sigma: float
    step: int
    stage: int = 0


@dataclass(frozen=True, init=False)
class Grid:
    """The noise levels of one run, from which policies and lessons read how far it is.

    Args:
        sigmas: One more than steps, falling: the levels at which the steps begin, and where the run ends. Numbers or a
            tensor.
        flow: Whether they are shares of noise, 0 to 1, as of rectified flow (FLUX, Wan, Qwen-Image; the default), or
            noise over signal, as k-diffusion counts (SDXL, EDM).
        output: What the model says: ``"velocity"`` (default), ``"image"``, as k-diffusion's denoisers do, or
            ``"noise"``.
        size: Numbers of one sample's latents; by default as many as what a session is given has.
        evaluations: Which calls of the model the sampler makes, in order, where that is known; see
            :func:`padecast.rehearse`. Default one a step.
        effects: What the output of each of these does to the final latents, where each does it at once, in its own
            step: see :attr:`padecast.Rehearsal.effects`. Default unknown.

    Raises:
        InvalidOption: If levels rise, are not finite, or lie out of range.

    Example:
        >>> grid = Grid([1.0, 0.75, 0.4, 0.0])
        >>> grid.steps, grid.find(0.75), grid.find(0.5), [round(stride, 2) for stride in grid.strides]
        (3, 1, None, [0.25, 0.35, 0.4])
        >>> Grid([14.6, 3.0, 0.0])
        Traceback (most recent call last):
            ...
        padecast._errors.InvalidOption: sigmas begin with 14.6, which is no share of noise (0 to 1).
        Usual cause: levels as k-diffusion counts them, noise over signal. Then say so: Grid(sigmas, flow=False)
    """

    sigmas: tuple[float, ...]
    flow: bool
    output: str
    size: float | None
    evaluations: tuple[Evaluation, ...] = field(repr=False)
    effects: tuple[float, ...] = field(repr=False)

    def __init__(
        self,
        sigmas: Iterable[float] | Tensor,
        flow: bool = True,
        output: str = "velocity",
        size: float | None = None,
        evaluations: Sequence[Evaluation] = (),
        effects: Sequence[float] = (),
    ) -> None:
        levels = tuple(map(float, sigmas.tolist() if isinstance(sigmas, Tensor) else sigmas))
        check(len(levels) > 1, "sigmas", levels, "2 levels or more: where the first step begins, and where it ends")
        check(all(math.isfinite(level) and level >= 0 for level in levels), "sigmas", levels, "finite, and 0 or more")
        if flow and levels[0] > 1 + TOLERANCE:
            raise InvalidOption(
                f"sigmas begin with {levels[0]:.6g}, which is no share of noise (0 to 1).\n"
                "Usual cause: levels as k-diffusion counts them, noise over signal. "
                "Then say so: Grid(sigmas, flow=False)"
            )
        rises = next((place for place, (a, b) in enumerate(pairwise(levels), 1) if b > a), 0)
        if rises:
            raise InvalidOption(
                f"sigmas rise at place {rises}, from {levels[rises - 1]:.6g} to {levels[rises]:.6g}.\n"
                "A run goes from noise to the image: give its levels in that order, those that it visits alone."
            )
        check(output in OUTPUTS, "output", output, " or ".join(map(repr, OUTPUTS)))
        check(size is None or 0 < size < math.inf, "size", size, "numbers of one sample's latents, above 0")
        beyond = [call for call in evaluations if not 0 <= call.step < len(levels) - 1]
        check(not beyond, "evaluations", beyond[:1], f"calls at steps 0 to {len(levels) - 2}")
        fits = len(effects) in (0, len(evaluations)) and all(map(math.isfinite, effects))
        check(fits, "effects", list(effects), f"{len(evaluations)} finite numbers, one for each evaluation, or none")
        values = {"sigmas": levels, "flow": flow, "output": output, "size": size, "evaluations": tuple(evaluations)}
        values |= {"effects": tuple(map(float, effects))}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return len(self.sigmas) - 1

    @property
    def strides(self) -> tuple[float, ...]:
        """``sigma_i - sigma_{i+1}`` of every step."""
        return tuple(a - b for a, b in pairwise(self.sigmas))

    def find(self, sigma: float | Tensor, start: int = 0) -> int | None:
        """Return the place of a noise level, the nearest within a ten-thousandth of it; ``None`` if it has none.

        Args:
            sigma: A number, or a tensor of values that are alike; reading one on a GPU waits for it. One of a narrow
                dtype may lie as far off as that rounds.
            start: The first place that is looked at. The last place is where the run ends.
        """
        level, tolerance = read_level(sigma), tolerance_of(sigma)
        places = [place for place in range(start, len(self.sigmas)) if is_same(level, self.sigmas[place], tolerance)]
        return min(places, key=lambda place: abs(self.sigmas[place] - level), default=None)

    def noise(self, size: float | None = None) -> Noise:
        """Return the amplitudes of signal and noise at all places.

        Args:
            size: Numbers of one sample's latents, where the grid does not say it; without either 25, at which structure
                shows as its noise level says.
        """
        size = self.size if self.size is not None else size
        return noise_at(self.sigmas, ORIGIN if size is None else size, self.flow, self.output)


def is_same(level: float, other: float, tolerance: float = TOLERANCE) -> bool:
    """Whether two noise levels are one, but for rounding; a level that is not a number is none."""
    return abs(level - other) <= tolerance * max(abs(level), abs(other))


def tolerance_of(sigma: float | Tensor) -> float:
    """Return how far a noise level may lie off: more in bfloat16 and float16, which round it.

    Example:
        >>> tolerance_of(0.5), tolerance_of(torch.tensor(0.5, dtype=torch.bfloat16))
        (0.0001, 0.0078125)
    """
    if not isinstance(sigma, Tensor) or not sigma.is_floating_point():
        return TOLERANCE
    return max(TOLERANCE, torch.finfo(sigma.dtype).eps)


def read_level(sigma: float | Tensor) -> float:
    """Return a noise level as a number; not a number, if samples of one call have several.

    Example:
        >>> read_level(torch.tensor([0.5, 0.5])), read_level(torch.tensor([0.5, 0.25]))
        (0.5, nan)
    """
    if not isinstance(sigma, Tensor):
        return float(sigma)
    if sigma.numel() == 1:
        return float(sigma)
    low, high = torch.stack(torch.aminmax(sigma.detach())).tolist()
    return float(high) if is_same(low, high) else math.nan


def count_steps(total: int | None, grid: Grid | None) -> int:
    """Return how many steps a run has.

    Raises:
        InvalidOption: If nothing says it, or two things that differ.
    """
    if total is None:
        check(grid is not None, "total", total, "the steps of the run, or its noise levels, grid=padecast.Grid(sigmas)")
        assert grid is not None
        return grid.steps
    check(total >= 1, "total", total, "1 step or more")
    if grid is not None and grid.steps != total:
        raise InvalidOption(
            f"total={total} steps are not the {grid.steps} of the grid.\n"
            "A grid has one level more than steps: its last is where the run ends. Leave total out, it says it all."
        )
    return total
