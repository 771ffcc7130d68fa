"""Goes through a stretch of forecast steps again, once the computed step after it shows where it should have led."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from padecast._intercept import Intercept, Layer, Switch
from padecast._noise import is_multistep, is_random
from padecast.forecasters import Forecaster, Reuse, TCPade
from padecast.forecasters.lagrange import lagrange_basis
from padecast.hooks.copies import plain_copies
from padecast.memory.arithmetic import sum_weighted
from padecast.session.record import Record
from padecast.session.session import Session

NODES = 3
"""Computed outputs that are interpolated: the newest, which ends a stretch, and those before it."""
ARGUMENTS = ("model_output", "timestep", "sample")
"""What a scheduler's step is given, in this order; further arguments by name are passed on."""


@dataclass
class Stretch:
    """What is known of a run since its latest computed step.

    Args:
        session: Of the run.
        start: The scheduler's state before that step.
        sample: The latents before it.
        steps: The steps since, that one first: the record, and the timestep and what else the scheduler was given.
        outputs: Of the newest computed steps, newest first: the record, and the model's output after guidance.
        result: The latents after the latest step, which the next one must be given.
    """

    session: Session
    start: dict[str, Any] = field(default_factory=dict)
    sample: Tensor | None = None
    steps: list[tuple[Record, Any, dict[str, Any]]] = field(default_factory=list)
    outputs: list[tuple[Record, Tensor]] = field(default_factory=list)
    result: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the outputs and latents that are kept, whatever the scheduler itself remembers."""
        tensors = [output for _, output in self.outputs] + ([] if self.sample is None else [self.sample])
        return sum(x.numel() * x.element_size() for x in tensors)


class Retrace:
    r"""Goes through stretches of forecast steps again, with outputs interpolated in place of forecast.

    At a computed step the outputs of the forecast steps before it lie between known ones. The scheduler is set back to
    the latest computed step before them, is given, at every step j of the stretch,

    .. math:: \tilde v_j = (1 - \beta) \, v_1 + \beta \sum_k \ell_k(t_j) \, v_k, \qquad \beta = \frac{n}{n + m}

    with Lagrange's polynomials through the three newest computed outputs, of which :math:`v_1` is the one that begins
    the stretch of m among n steps, and goes on from the latents to which that leads. The newest output was computed
    where the forecasts had led, which are not the latents that are mended, the less so the longer the stretch. So the
    share of the interpolation is below 1: under-relaxation. The abscissae are minus the square roots of the effective
    noise levels, and these levels themselves for multistep solvers, both by measurement (docs/worlds.md); step indices
    where the scheduler tells no noise levels. No model is run for it. It is what a corrector does for one step, for a
    whole stretch and for any solver: multistep ones get a history that is no extrapolation.

    It acts on the scheduler that the pipeline has when a run begins, on that instance, and lets a stretch be where
    the latents were changed between two steps (masks of inpainting, callbacks), where the scheduler draws noise, and
    where its step takes more than an output, a timestep and latents.

    Args:
        pipeline: Whose scheduler it is.
        switch: Whether it acts.

    Reference:
        Ours. Correctors of one step: Zhao et al., "UniPC", arXiv:2302.04867; deferred correction: Dutt, Greengard and
        Rokhlin, BIT 40(2), 2000.
    """

    def __init__(self, pipeline: Any, switch: Switch) -> None:
        self.owner = self._pipeline = pipeline
        self._switch = switch
        self._layers: list[Layer] = []
        self._scheduler: Any = None
        self._here = threading.local()  # the latest call of a model in this thread, and its stretch
        self.acts = True  # whether the method of the run that begins asks for it
        self.hear: Callable[[Session, Tensor], None] | None = None
        """Hears what the sampler is given, after guidance, at the latest step of a session."""

    def install(self) -> Retrace:
        """Put it on the pipeline's scheduler."""
        self.renew()
        return self

    def remove(self) -> None:
        """Take it off the scheduler; nothing happens if it is not on one."""
        for layer in reversed(self._layers):
            layer.remove()
        self._layers, self._scheduler = [], None

    def renew(self) -> bool:
        """Make sure that it is on the scheduler that the pipeline has now; return whether it can act there."""
        scheduler = getattr(self._pipeline, "scheduler", None)
        if scheduler is not self._scheduler:
            self.remove()
            if callable(getattr(scheduler, "step", None)) and hasattr(scheduler, "__dict__"):
                layers: list[Layer] = [*plain_copies([scheduler]), Intercept(scheduler, "step", self._around)]
                self._scheduler, self._layers = scheduler, layers
                for layer in layers:
                    layer.install()
        return self._scheduler is not None and not is_random(scheduler)

    def note(self, session: Session) -> None:
        """Hear that a call of a model has ended, at the step that the session's latest record says."""
        self._here.session = session

    def _around(self, step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        session: Session | None = getattr(self._here, "session", None)
        self._here.session = None
        arguments = arguments_of(args, kwargs)
        if not self._switch.on or session is None or arguments is None or not session.records:
            self._here.stretch = None
            return step(*args, **kwargs)
        output, timestep, sample, others = arguments
        record, stretch = session.records[-1], getattr(self._here, "stretch", None)
        if self.hear is not None:
            self.hear(session, output)
        if not self.acts:
            self._here.stretch = None
            return step(*args, **kwargs)
        if stretch is None or stretch.session is not session or stretch.result is not sample:
            stretch = Stretch(session)
        if record.computed and not is_random(self._scheduler):
            stretch.outputs = [(record, output), *stretch.outputs][:NODES]
            sample = self._retrace_stretch(step, stretch, sample)
            stretch.start, stretch.sample, stretch.steps = _state(self._scheduler), sample, []
        if stretch.start:
            stretch.steps.append((record, timestep, others))
        result = step(output, timestep, sample, **others)
        stretch.result = latents_of(result)
        session.set_aside(stretch.nbytes)
        self._here.stretch = None if record.at.is_last else stretch
        return result

    def _retrace_stretch(self, step: Callable[..., Any], stretch: Stretch, sample: Tensor) -> Tensor:
        """Return the latents to which a stretch leads with interpolated outputs; as they are if there is none."""
        if len(stretch.steps) < 2 or stretch.sample is None:
            return sample
        (first, base), *_ = stretch.outputs[1:]
        if stretch.steps[0][0] is not first:
            return sample
        times = abscissae(stretch, is_multistep(self._scheduler))
        nodes = [times[record.at.index] for record, _ in stretch.outputs]
        share = first.at.total / (first.at.total + len(stretch.steps))
        vars(self._scheduler).update(stretch.start)
        with torch.no_grad():
            sample = stretch.sample
            for record, timestep, others in stretch.steps:
                output = base
                if record is not first:
                    weights = share * lagrange_basis(tuple(nodes), times[record.at.index])
                    weights[1] += 1 - share
                    output = sum_weighted(torch.zeros_like(base), (v for _, v in stretch.outputs), weights)
                sample = latents_of(step(output, timestep, sample, **others))
        return sample


def abscissae(stretch: Stretch, multistep: bool) -> tuple[float, ...]:
    """Return the abscissae of all steps of a run: by the noise that there is to see, or step indices."""
    at = stretch.outputs[0][0].at
    levels = None if at.noise is None else at.noise.abscissae if multistep else at.noise.roots
    return tuple(float(index) for index in range(at.total)) if levels is None else levels


def suit(forecaster: Forecaster, scheduler: Any, retraced: bool) -> Forecaster:
    """Return the forecaster of our own methods that a scheduler goes with.

    Schedulers that draw noise, and multistep solvers, which extrapolate by themselves, get repetition. Where stretches
    are gone through again, errors need not be paid back.

    Args:
        forecaster: Of the method.
        scheduler: Of the pipeline.
        retraced: Whether stretches are gone through again.
    """
    if not isinstance(forecaster, TCPade) or forecaster.form == "published":
        return forecaster
    if is_random(scheduler) or is_multistep(scheduler):
        return Reuse()
    return replace(forecaster, feedback=0.0) if retraced else forecaster


def arguments_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Any, Tensor, dict[str, Any]] | None:
    """Return output, timestep, latents and the others, by name; nothing if there is more, or they are none."""
    if len(args) > len(ARGUMENTS):
        return None
    named = {**dict(zip(ARGUMENTS, args, strict=False)), **kwargs}
    if not set(ARGUMENTS) <= set(named):
        return None
    output, timestep, sample = (named.pop(name) for name in ARGUMENTS)
    tensors = isinstance(output, Tensor) and isinstance(sample, Tensor) and output.shape == sample.shape
    draws = any(named.get(name) for name in DRAWING)
    return (output, timestep, sample, named) if tensors and not draws and set(named) <= HARMLESS else None


DRAWING = ("eta", "s_churn")
"""Arguments by which a step that else draws no noise is told to."""
HARMLESS = frozenset({"return_dict", "generator", "s_tmin", "s_tmax", "s_noise", *DRAWING})
"""Further arguments of a step that hold nothing of the step before."""


def latents_of(result: Any) -> Tensor:
    """Return the latents of what a scheduler's step returned."""
    latents: Tensor = result[0] if isinstance(result, tuple) else result.prev_sample
    return latents


def _state(scheduler: Any) -> dict[str, Any]:
    """Return what a scheduler remembers, safe from lists that it goes on filling."""
    held = {name: value for name, value in vars(scheduler).items() if not isinstance(value, Intercept)}
    return {name: list(value) if isinstance(value, list) else value for name, value in held.items()}
