"""Measures what an error of each step does to the image, by making one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from padecast._errors import InvalidOption, check
from padecast._intercept import Intercept
from padecast._noise import Noise, is_random, noise_of
from padecast._options import check_option
from padecast.handles.handle import check_unused
from padecast.handles.learning import check_learnable, identify, library_of
from padecast.hooks.callers import guidance_scales_of
from padecast.hooks.quiet import quiet
from padecast.hooks.retrace import arguments_of, latents_of
from padecast.lessons import Gains, Identity, Library

PUSHES = 6
"""Steps at which an error is made."""
ALIKE = 0.1
"""What two runs may differ by before the error that is made, as a share of it: kernels round in any order."""


def measure_gains(
    pipe: Any,
    call: Callable[..., Any],
    *,
    pushes: int = PUSHES,
    seed: int = 0,
    span: str = "output",
    lessons: bool | str | Path | Library = True,
) -> Gains:
    """Measure what an error of each step does to the image, and keep it with the lesson of this setting.

    Draws one run as it is, and one more for each of a few steps, at which the sampler is given what it was given at the
    step before: **1 + pushes images, 7 by default**, all steps computed. The ratio of the error of the final latents to
    that of the output is the gain. Steps between are interpolated, see :class:`padecast.lessons.Gains`; runs by the
    method ``learned`` are then planned with these gains in place of a formula.

    Args:
        pipe: A diffusers pipeline that nothing accelerates now.
        call: ``call(pipe, seed)`` draws images with the pipeline, the same ones every time. A batch of several images
            says more than one, at the price of as many.
        pushes: Steps at which an error is made, spread over the run: the second and the last among them. Default 6.
        seed: What the call is given. Default 0.
        span: What ``learned`` is to forecast, which is part of what a lesson belongs to. Default ``"output"``.
        lessons: Where the lesson is, as :func:`padecast.accelerate` takes it: ``True`` for the user's cache folder
            (default), a folder, ``False`` for this process's memory alone, or a :class:`padecast.lessons.Library`.

    Returns:
        The gains of all steps.

    Raises:
        InvalidOption: If two calls do not draw the same image; if the scheduler draws noise, tells no noise levels or
            tells some that do not fall; if the call does not go through the schedule once; or if an error leaves
            nothing that can be measured.
        AlreadyAccelerated: If the pipeline is accelerated.

    Example:
        >>> import padecast, torch
        >>> pipe = padecast.zoo.load("digits")
        >>> def call(pipe, seed):
        ...     pipe([3], num_inference_steps=6, generator=torch.manual_seed(seed), output_type="pt")
        >>> gains = measure_gains(pipe, call, pushes=2, lessons=False)
        >>> len(gains.values), min(gains.values) > 0
        (6, True)
    """
    check_option("pushes", pushes, int, "Write pushes=6, or leave it out")
    check(pushes >= 1, "pushes", pushes, "1 or more")
    check_unused(pipe)
    check_learnable(pipe)
    if is_random(pipe.scheduler):
        raise InvalidOption(
            f"{type(pipe.scheduler).__name__} draws noise at its steps, in which what an error does is lost.\n"
            "Measure with a scheduler that draws none, such as FlowMatchEulerDiscreteScheduler or DDIMScheduler."
        )
    plain = Course(pipe, span)
    plain.run(call, seed)
    noise = plain.read_noise()
    steps = len(plain.outputs)
    places = sorted({round(1 + k * (steps - 2) / max(pushes - 1, 1)) for k in range(pushes)} if pushes > 1 else {1})
    gains = Gains.between(noise, {place: _push(pipe, call, seed, plain, place) for place in places})
    library = lessons if isinstance(lessons, Library) else library_of(lessons)
    assert plain.identity is not None
    library.keep(plain.identity, gains)
    return gains


def _push(pipe: Any, call: Callable[..., Any], seed: int, plain: Course, place: int) -> float:
    """Return the gain of one step: the geometric mean over samples."""
    course = Course(pipe, plain=plain, place=place)
    course.run(call, seed)
    if course.timesteps != plain.timesteps or course.final.shape != plain.final.shape:
        raise _differ(f"{len(course.timesteps)} steps after {len(plain.timesteps)}")
    ratios = (course.final - plain.final).flatten(1).norm(dim=1) / course.error
    gain = float(ratios.double().log().mean().exp())
    if not (math.isfinite(gain) and gain > 0):
        raise InvalidOption(
            f"an error at step {place} has a gain of {gain:g}, of which no plan can be made.\n"
            "Usual cause: a model that returns the same at two steps, or numbers that are not finite. "
            "Measure with another seed or more steps."
        )
    return gain


class Course:
    """What the sampler is given in one run, which may be that of the step before at one of them.

    Args:
        pipe: The pipeline.
        span: For the identity of its lesson.
        plain: The run that nothing was done to; this is that one by default.
        place: The step at which it is given what it was given at the step before.
    """

    def __init__(self, pipe: Any, span: str = "output", plain: Course | None = None, place: int = 0) -> None:
        self.pipe, self.span, self.plain, self.place = pipe, span, plain, place
        self.outputs: list[Tensor] = []
        self.timesteps: list[float] = []
        self.grid: list[float] = []
        self.noise: Noise | None = None
        self.identity: Identity | None = None
        self.error = self.final = torch.zeros(0)

    def run(self, call: Callable[..., Any], seed: int) -> None:
        """Draw it; nothing is left on the scheduler, however it ends."""
        hook = Intercept(self.pipe.scheduler, "step", self._step)
        try:
            hook.install()
            with quiet(self.pipe):
                call(self.pipe, seed)
        finally:
            hook.remove()

    def _step(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Stand around the scheduler's step."""
        arguments, name = arguments_of(args, kwargs), type(self.pipe.scheduler).__name__
        if arguments is None:
            raise InvalidOption(
                f"the step of {name} is told to draw noise, or takes more than an output, a timestep and latents.\n"
                "Usual cause: eta or s_churn above 0. Leave them out."
            )
        output, timestep, sample, others = arguments
        if not self.timesteps and self.plain is None:
            self.noise = noise_of(self.pipe.scheduler, output[0].numel())
            self.grid = [float(each) for each in self.pipe.scheduler.timesteps]
            self.identity = identify(self.pipe, self.span, guidance_scales_of(self.pipe))
        if self.plain is None:
            self.outputs.append(_copy(output))
        elif len(self.timesteps) == self.place < len(self.plain.outputs):
            output = self._repeat(output, self.plain)
        self.timesteps.append(float(timestep))
        result = method(output, timestep, sample, **others)
        self.final = _copy(latents_of(result)).float()
        return result

    def _repeat(self, output: Tensor, plain: Course) -> Tensor:
        """Return what the sampler was given at the step before, and measure what is wrong with that."""
        before, now = plain.outputs[self.place - 1], plain.outputs[self.place]
        if now.shape != output.shape:
            raise _differ(f"outputs of shape {tuple(output.shape)} after {tuple(now.shape)}")
        true = _copy(output).float()
        self.error = (before.float() - true).flatten(1).norm(dim=1)
        strays = (now.float() - true).flatten(1).norm(dim=1)
        if bool((strays > ALIKE * self.error).any()):
            share = float((strays / now.float().flatten(1).norm(dim=1)).max())
            raise _differ(f"at step {self.place} outputs are {share:.1%} apart before anything was done to them")
        return before.to(output)

    def read_noise(self) -> Noise:
        """Return the noise of the steps that the run has visited.

        Raises:
            InvalidOption: If the scheduler tells none, its levels do not fall, or the steps are not in its schedule.
        """
        name, steps = type(self.pipe.scheduler).__name__, len(self.timesteps)
        begin = self.grid.index(self.timesteps[0]) if steps and self.timesteps[0] in self.grid else 0
        if steps < 2 or self.grid[begin : begin + steps] != self.timesteps:
            raise InvalidOption(
                f"the call took {steps} steps of {name}, which are not one way through its {len(self.grid)} places.\n"
                "Usual cause: a call that draws several times, a run of a single step, or a pipeline that gets a new "
                "scheduler inside the call. Let the call draw once, in two steps or more."
            )
        noise = None if self.noise is None else self.noise.part(begin, begin + steps)
        if noise is None or noise.roots is None:
            levels = "tells no noise levels" if noise is None else "has noise levels that do not fall at every step"
            raise InvalidOption(
                f"{name} {levels}, on whose axis gains lie.\n"
                "Usual cause: a solver that evaluates twice at a level, or one of a family of its own. Measure with "
                "another scheduler, such as FlowMatchEulerDiscreteScheduler or DDIMScheduler."
            )
        return noise


def _copy(tensor: Tensor) -> Tensor:
    """Return a copy in host memory: samplers may write into what they are given."""
    return tensor.detach().to("cpu", copy=True)


def _differ(fact: str) -> InvalidOption:
    return InvalidOption(
        f"two calls do not draw the same image: {fact}.\n"
        "Usual cause: no seed. Give the pipeline a generator of it: generator=torch.Generator().manual_seed(seed)"
    )
