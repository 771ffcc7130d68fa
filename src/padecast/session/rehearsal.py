"""Which noise levels will a sampler evaluate, and in which steps? Found by running it once without a model."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from padecast._errors import InvalidOption, quote
from padecast.session.grid import Evaluation, Grid, is_same, read_level

SHAPE = (1, 4, 2, 2)
"""Of the latents that are sampled, unless others are wanted."""
MOST, SPARE = 16, 64
"""Evaluations a step, and besides, after which a sampler is taken for one that does not end by itself."""


@dataclass(frozen=True)
class Rehearsal:
    """Which evaluations of the model a sampler makes, in order.

    Args:
        sigmas: The noise levels of the run, its end included.
        evaluations: The calls of the model; none if the sampler could not be run.
        fact: Why the evaluations are not known before a run; nothing if they are.
        is_random: Whether the sampler drew random numbers. Default false.
        effects: Of the evaluations: what a velocity of 1, ``(x - image) / sigma``, adds to the final latents in the
            sampler's arithmetic, as far as noise does not take its place. Of Euler's method the steps' strides.
            None (default) where it could not be measured.

    Example:
        >>> def sample_euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        ...     for i in range(len(sigmas) - 1):
        ...         denoised = model(x, sigmas[i] * x.new_ones(len(x)))
        ...         callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        ...         x = x + (x - denoised) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
        ...     return x
        >>> rehearsal = rehearse(sample_euler, [1.0, 0.5, 0.0])
        >>> rehearsal.steps, rehearsal.evaluations[1], rehearsal.is_known
        (2, Evaluation(sigma=0.5, step=1, stage=0), True)
        >>> print(rehearsal)
        2 evaluations in 2 steps
    """

    sigmas: tuple[float, ...]
    evaluations: tuple[Evaluation, ...] = ()
    fact: str = ""
    is_random: bool = False
    effects: tuple[float, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the evaluations of a run are known before it."""
        return not self.fact

    @property
    def steps(self) -> int:
        """Steps of the sampler: as many letters has the plan of such a run."""
        return 1 + max((call.step for call in self.evaluations), default=-1)

    def grid(self, flow: bool = True, output: str = "velocity", size: float | None = None) -> Grid:
        """Return the grid of such a run, in which a session finds its calls by their noise levels alone.

        Its levels are those of the run, where it has as many steps; else those at which steps begin.

        Args:
            flow: See :class:`padecast.Grid`.
            output: See there.
            size: See there.

        Raises:
            InvalidOption: If the evaluations are not known, or steps begin at levels that rise.
        """
        if self.fact:
            raise InvalidOption(
                f"{self.fact}.\nWhat is not known before a run cannot be forecast in it: sample without a session."
            )
        if self.steps == len(self.sigmas) - 1:
            sigmas = self.sigmas
        else:
            sigmas = (*(call.sigma for call in self.evaluations if not call.stage), self.sigmas[-1])
        return Grid(sigmas, flow, output, size, self.evaluations, self.effects if output == "velocity" else ())

    def __str__(self) -> str:
        return self.fact or f"{len(self.evaluations)} evaluations in {self.steps} steps"


Finish = Callable[..., Tensor]


class Stop(Exception):
    """Ends a rehearsal."""


class Blank:
    """A model of nothing, which notes at which levels it is called.

    Args:
        answer: Returns what is said to be the clean image.
        finish: Makes of that what the sampler is given, see :func:`rehearse`.
        model: What a sampler may look at besides.
        most: Calls after which it ends the sampler.
    """

    def __init__(self, answer: Callable[[Tensor], Tensor], finish: Finish | None, model: Any, most: int) -> None:
        self._answer, self._finish, self._model, self._most = answer, finish, model, most
        self.levels: list[float] = []
        self.ends: list[int] = []

    def __call__(self, x: Tensor, sigma: Tensor | float, *_: Any, **extra: Any) -> Tensor:
        """Return the clean image that it says."""
        if len(self.levels) >= self._most:
            raise Stop
        self.levels.append(read_level(sigma))
        denoised = self._answer(x)
        return denoised if self._finish is None else self._finish(denoised, x, sigma, **extra)

    def __getattr__(self, name: str) -> Any:
        if self._model is None or name.startswith("__"):
            raise AttributeError(f"the model of a rehearsal has no {name!r}: give rehearse(..., model=) one that has")
        return getattr(self._model, name)

    def note(self, *_: Any, **__: Any) -> None:
        """Hear of a step, in the sampler's callback."""
        self.ends.append(len(self.levels))


def rehearse(
    sampler: Callable[..., Any],
    sigmas: Iterable[float] | Tensor,
    *,
    model: Any = None,
    options: Mapping[str, Any] | None = None,
    extra_args: Mapping[str, Any] | None = None,
    finish: Finish | None = None,
    shape: Sequence[int] = SHAPE,
) -> Rehearsal:
    """Return which noise levels a sampler will evaluate, in order, by running it twice with models of nothing.

    It is called as those of k-diffusion are: ``sampler(model, x, sigmas, extra_args=..., callback=..., disable=True)``,
    with latents of a few numbers, and plain noise for its ``noise_sampler`` where it takes one, so that it takes
    milliseconds. The evaluation before the sampler's callback is the first of a step, stage 0; those after it belong to
    the same step, up to the one before the next callback. Where a sampler evaluates several times before its first
    callback, a callback ends a step; where it has none, a step begins at every level of the run. The two models say
    different things: a sampler whose evaluations then differ chooses them by what it is given, and they are not known
    before a run. Random states of the CPU, of a CUDA device of the sigmas and of Python are as before.

    Args:
        sampler: The function.
        sigmas: The noise levels of the run, the last where it ends.
        model: What the sampler looks at besides calling the model: attributes are read from it. Default nothing.
        options: Further arguments of the sampler, such as ``{"eta": 0.5}``. Default none.
        extra_args: What the sampler hands on to the model at every call. Default nothing.
        finish: Makes of what the model says what the sampler is given, ``finish(denoised, x, sigma, **extra_args)``,
            where the sampler hands over functions that it wants called, as those of CFG++ do. Default as it is.
        shape: Of the latents. Default ``(1, 4, 2, 2)``.

    Returns:
        What was found. Nothing that the sampler raises comes through: the rehearsal's ``fact`` says it.

    Example:
        >>> def sample_badly(model, x, sigmas, **options):
        ...     raise ValueError("no such solver")
        >>> print(rehearse(sample_badly, [1.0, 0.0]))
        the sampler sample_badly could not be rehearsed: ValueError('no such solver')
    """
    levels = sigmas if isinstance(sigmas, Tensor) else torch.tensor(list(sigmas), dtype=torch.float32)
    plain = tuple(map(float, levels.tolist()))
    name = getattr(sampler, "__name__", type(sampler).__name__)
    runs, is_random = list[tuple[Evaluation, ...]](), False
    for answer in (torch.zeros_like, torch.sin):
        blank = Blank(answer, finish, model, MOST * len(plain) + SPARE)
        try:
            arguments = {**(options or {}), "extra_args": dict(extra_args or {})}
            is_random |= _run(sampler, blank, levels, arguments, shape)
            runs.append(_arrange(blank.levels, blank.ends, plain))
        except Stop:
            return Rehearsal(plain, (), f"the sampler {name} did not end within {len(blank.levels)} evaluations")
        except Exception as error:
            return Rehearsal(plain, (), f"the sampler {name} could not be rehearsed: {quote(error)}")
    first, second = runs
    if len(first) != len(second) or not all(map(_agree, first, second)):
        return Rehearsal(plain, first, f"the sampler {name} chooses its noise levels by what it is given", is_random)
    if not first:
        return Rehearsal(plain, first, f"the sampler {name} called no model", is_random)
    return Rehearsal(plain, first, "", is_random, _measure(sampler, levels, first, arguments, finish, model))


class Impulse(Blank):
    """A model whose every velocity is a number in a place of its own, so that the latents say what became of each.

    Args:
        scale: The number; without one it says clean images that are all nothing.
        finish: See :class:`Blank`.
        model: See there.
        most: See there.
    """

    def __init__(self, scale: float | None, finish: Finish | None, model: Any, most: int) -> None:
        super().__init__(torch.zeros_like, finish, model, most)
        self._scale = scale
        self.states: list[Tensor] = []

    def __call__(self, x: Tensor, sigma: Tensor | float, *_: Any, **extra: Any) -> Tensor:
        """Return a clean image."""
        self.states.append(x.flatten().double())
        if self._scale is not None:
            output = torch.zeros_like(x)
            output.view(-1)[len(self.levels)] = self._scale
            self._answer = lambda latents: latents - read_level(sigma) * output
        return super().__call__(x, sigma, *_, **extra)


def _measure(
    sampler: Callable[..., Any],
    sigmas: Tensor,
    calls: Sequence[Evaluation],
    options: dict[str, Any],
    finish: Finish | None,
    model: Any,
) -> tuple[float, ...]:
    """Return what the outputs of all evaluations do to the final latents; nothing where it is no plain arithmetic."""
    count = len(calls)

    def run(scale: float | None, start: float) -> Tensor:
        blank = Impulse(scale, finish, model, count)
        x = torch.full((1, count, 1, 1), start, dtype=torch.float64)
        end = _sample(sampler, blank, sigmas, options, x)
        return torch.stack([*blank.states, end.flatten().double()])

    try:
        # Noise that a sampler draws by itself is the same in all of them.
        nothing, once, twice, less, more = (run(*each) for each in ((0.0, 0), (1.0, 0), (2.0, 0), (None, 0), (None, 1)))
    except Exception:
        return ()
    effects = (once - nothing)[-1]
    if not torch.allclose((twice - nothing)[-1], 2 * effects, rtol=0, atol=ROUNDING * float(effects.abs().max())):
        return ()
    first = [place for place, call in enumerate(calls) if not call.stage]
    kept = (more - less)[first, 0]
    levels = torch.tensor([calls[place].sigma for place in first], dtype=torch.float64)
    # Without noise a step keeps as large a share of the latents as of their level: noise takes the place of the rest.
    shares = ((kept[1:] / kept[:-1]) / (levels[1:] / levels[:-1])).nan_to_num(0.0).clamp(0.0, 1.0)
    left = torch.cat([shares.flip(0).cumprod(0).flip(0), torch.ones(1, dtype=torch.float64)])
    return tuple((effects * left[[call.step for call in calls]]).tolist())


ROUNDING = 1e-4
"""How far two effects may differ that count as one, as a share of the largest."""


def _run(
    sampler: Callable[..., Any], blank: Blank, sigmas: Tensor, options: dict[str, Any], shape: Sequence[int]
) -> bool:
    """Run a sampler on small latents, leave random states as they were, and return whether it drew from them."""
    state = random.getstate()
    devices = [sigmas.device] if sigmas.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            # torch.manual_seed would seed every GPU, also those whose state is not put back.
            x = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0))
            x = x.to(sigmas.device) * sigmas[0].float()
            if "noise_sampler" not in options and _takes(sampler, "noise_sampler"):
                # Its own would be a Brownian tree, which takes longer than all else.
                options = {**options, "noise_sampler": lambda *_: torch.randn_like(x)}
            states = _read_states(devices)
            sampler(blank, x, sigmas, callback=blank.note, disable=True, **options)
            return not all(map(torch.equal, states, _read_states(devices)))
    finally:
        random.setstate(state)


def _sample(sampler: Callable[..., Any], blank: Blank, sigmas: Tensor, options: dict[str, Any], x: Tensor) -> Any:
    """Return the latents in which a sampler ends, without noise where that can be told, and random states unchanged."""
    state = random.getstate()
    devices = [sigmas.device] if sigmas.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            x = x.to(sigmas.device)
            if "noise_sampler" not in options and _takes(sampler, "noise_sampler"):
                options = {**options, "noise_sampler": lambda *_: torch.zeros_like(x)}
            return sampler(blank, x, sigmas, callback=blank.note, disable=True, **options)
    finally:
        random.setstate(state)


def _read_states(devices: Sequence[torch.device]) -> list[Tensor]:
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]


def _takes(sampler: Callable[..., Any], option: str) -> bool:
    """Whether a sampler has an argument of a name."""
    try:
        return option in inspect.signature(sampler).parameters
    except (TypeError, ValueError):
        return False


def _agree(first: Evaluation, second: Evaluation) -> bool:
    return first[1:] == second[1:] and is_same(first.sigma, second.sigma)


def _arrange(levels: Sequence[float], ends: Sequence[int], sigmas: Sequence[float]) -> tuple[Evaluation, ...]:
    """Return in which step and stage each evaluation lies.

    Args:
        levels: Of the evaluations.
        ends: How many evaluations there were at each callback.
        sigmas: Of the run.
    """
    counts = sorted({count for count in ends if count})  # a callback without an evaluation before it ends no step
    if not counts:
        return _number(levels, _begin_by_levels(levels, sigmas))
    leading, closing = [count - 1 for count in counts], [0, *counts[:-1]]
    fits = [sum(map(is_same, (levels[begin] for begin in begins), sigmas)) for begins in (leading, closing)]
    return _number(levels, closing if counts[0] > 1 or fits[1] > fits[0] else leading)


def _begin_by_levels(levels: Sequence[float], sigmas: Sequence[float]) -> list[int]:
    """Return the evaluations that begin a step, where no callback tells: the first at each level of the run."""
    grid, begins, place = Grid(sigmas, flow=False), [0], 0
    for number, level in enumerate(levels):
        found = grid.find(level, place + 1)
        if found is not None and found < grid.steps:
            begins.append(number)
            place = found
    return begins if levels else []


def _number(levels: Sequence[float], begins: Sequence[int]) -> tuple[Evaluation, ...]:
    """Number evaluations by the first ones of steps."""
    calls: list[Evaluation] = []
    for number, level in enumerate(levels):
        if number in begins:
            calls.append(Evaluation(level, calls[-1].step + 1 if calls else 0))
        else:
            calls.append(Evaluation(level, calls[-1].step, calls[-1].stage + 1))
    return tuple(calls)
