"""Runs a plan with a forecaster on calibration samples, in the real sampler, and measures what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from padecast._errors import InvalidOption, check
from padecast._noise import Noise
from padecast._steps import Position
from padecast.calibration.psnr import psnr
from padecast.forecasters import Forecaster
from padecast.handles.accelerate import accelerate
from padecast.handles.attach import around
from padecast.hooks.quiet import quiet
from padecast.memory.arithmetic import Rows, Streams
from padecast.methods import Method
from padecast.policies import Plan
from padecast.report import Report
from padecast.session.observer import Observer
from padecast.session.session import Session

Progress = Callable[[str, float], None]
"""Told what was done, and how many computed steps of one sample that took, as a share of a run."""
Distance = Callable[[Tensor, Tensor], Tensor]
"""Returns how far images ``(B, ...)`` are from the uncached ones, ``(B,)``, less being better."""
OBJECTIVES = ("mean", "low")
LOW = 0.1
"""Which quantile of the samples' PSNR is ``"low"``."""


def quietly(_what: str, _steps: float) -> None:
    """Tell nobody."""


class Tape(Observer):
    """What computed steps returned in one run, to be played again where nothing before them has changed.

    A run that was told nothing writes it; one that was told a step, by :meth:`play`, plays it before that step. A call
    of whose output not even the shape is known in this run is computed: nothing could stand in for it.
    """

    def __init__(self) -> None:
        self.outputs: dict[tuple[str, int], tuple[Tensor, ...]] = {}
        self.until: int | None = None
        self.played = set[int]()
        """Steps of the latest run that came from the tape, and cost nothing."""

    def play(self, until: int | None) -> Tape:
        """Return the tape, to be written by the next run, or played before a step of it."""
        self.until, self.played = until, set()
        return self

    def hear(self, branch: str, at: Position, inputs: Streams, output: Streams, rows: Rows | None = None) -> None:
        """Keep the output of a computed step, on the host."""
        if self.until is None:
            self.outputs[branch, at.index] = tuple(x.detach().cpu().clone() for x in output)

    def recall(self, branch: str, at: Position, inputs: Streams) -> Streams | None:
        """Play what a computed step returned."""
        output = self.outputs.get((branch, at.index))
        if self.until is None or at.index >= self.until or output is None:
            return None
        self.played.add(at.index)
        return tuple(y.to(x) for y, x in zip(output, inputs, strict=True))


@dataclass
class Bench:
    """Draws calibration samples under plans, and remembers every measurement.

    Args:
        pipe: A diffusers pipeline.
        call: ``call(pipe, seed)``, or with ``batch`` ``call(pipe, seeds)``; see :func:`padecast.calibrate`.
        seeds: All calibration seeds.
        batch: Seeds per call; ``None`` for calls of one seed that is no list.
        span: What of the model is forecast, its output by default.
        progress: Told after every call.
        scores: What is known already, by trial and seed, in dB.
        saved: Called after every new score, to keep it.
        fitted: Offsets that are known already, by candidate.
        fit_saved: Called with offsets that were found, to keep them.
        objective: What candidates are chosen by: ``"mean"`` or ``"low"``, of the PSNR, or a distance.
    """

    pipe: Any
    call: Callable[..., Any]
    seeds: tuple[int, ...]
    batch: int | None = None
    span: str = "output"
    progress: Progress = quietly
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    saved: Callable[[str, dict[int, float]], None] = lambda _key, _scores: None
    fitted: dict[str, Any] = field(default_factory=dict)
    fit_saved: Callable[[str, Any], None] = lambda _key, _offsets: None
    objective: str | Distance = "mean"
    noise: Noise | None = None
    references: dict[int, Tensor] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def batches(self, seeds: Sequence[int]) -> list[tuple[int, ...]]:
        """Return seeds call by call."""
        size = self.batch or 1
        return [tuple(seeds[start : start + size]) for start in range(0, len(seeds), size)]

    def draw(self, seeds: Sequence[int]) -> Tensor:
        """Call the pipeline for a batch: ``(B, ...)`` on the host, in [0, 1].

        Raises:
            InvalidOption: If the call does not return floating-point images, one per seed.
        """
        started = time.perf_counter()
        with quiet(self.pipe):
            result = self.call(self.pipe, seeds[0] if self.batch is None else list(seeds))
        self.seconds.append((time.perf_counter() - started) / len(seeds))
        images = getattr(result, "images", result)
        if isinstance(images, (list, tuple)) and len(images) == 1 and isinstance(images[0], Tensor):
            images = images[0]
        if not isinstance(images, Tensor) or not images.is_floating_point():
            raise InvalidOption(
                f"the call returned {type(images).__name__} for seed {seeds[0]}, where a floating-point tensor was "
                "expected.\n"
                'Usual cause: output_type="pil". Ask the pipeline for output_type="pt" and return its images.'
            )
        if self.batch is None:
            images = images[None] if len(images) != 1 or images.ndim < 3 else images
        check(len(images) == len(seeds), "images", len(images), f"{len(seeds)}, one per seed")
        return images.detach().float().cpu()

    def reference(self, seeds: Sequence[int]) -> Tensor:
        """Return the uncached images of seeds, drawn when they are first asked for."""
        for batch in self.batches([seed for seed in seeds if seed not in self.references]):
            images = self.draw(batch)
            self.progress("uncached", float(len(batch)))
            self.keep(batch, images)
        return torch.stack([self.references[seed] for seed in seeds])

    def keep(self, seeds: Sequence[int], images: Tensor) -> None:
        """Keep uncached images."""
        self.references.update(zip(seeds, images, strict=True))

    def image(
        self, plan: Plan, forecaster: Forecaster, seeds: Sequence[int], tape: Tape, until: int | None = None
    ) -> Tensor:
        """Draw one batch under a plan; with ``until``, the tape is played before that step."""
        observers = [tape.play(until)]

        def begin(total: int) -> Session:
            return Session(plan, forecaster, total, measure=False, observers=observers)

        with around(self.pipe, self.span, begin) as begun:
            images = self.draw(seeds)
        check_once(len(begun))
        self.progress("trial", (plan.nfe - len(tape.played)) * len(seeds) / len(plan.steps))
        return images

    def score(
        self, plan: Plan, forecaster: Forecaster, seeds: Sequence[int], key: str, retrace: bool = False
    ) -> list[float]:
        """Return the PSNR of seeds in dB under a plan; measured once, remembered by ``key``.

        Args:
            plan: Which steps are computed.
            forecaster: How the others are forecast.
            seeds: Which samples.
            key: Names the plan and the forecaster.
            retrace: Whether stretches are gone through again.
        """
        scores, gaps = (self.scores.setdefault(name, {}) for name in (key, self._name(key)))
        for batch in self.batches([seed for seed in seeds if seed not in scores or seed not in gaps]):
            reference = self.reference(batch)
            images, steps = self._draw_by(plan, forecaster, batch, retrace)
            self.progress("trial", plan.nfe * len(batch) / len(plan.steps))
            fails = steps != plan.steps  # what could not be forecast was computed: another budget
            values = {key: [0.0] * len(batch) if fails else psnr(images, reference).tolist()}
            if callable(self.objective):
                apart = self.objective(images, reference).double().nan_to_num(nan=FAR).clamp_max(FAR)
                values[self._name(key)] = [FAR] * len(batch) if fails else apart.tolist()
            for name, numbers in values.items():
                fresh = dict(zip(batch, numbers, strict=True))
                self.scores[name].update(fresh)
                self.saved(name, fresh)
        return [scores[seed] for seed in seeds]

    def _draw_by(self, plan: Plan, forecaster: Forecaster, batch: Sequence[int], retrace: bool) -> tuple[Tensor, str]:
        """Return the images of a batch under a plan, and which steps were computed."""
        if retrace:
            reports: list[Report] = []
            trial = Method("trial", plan, forecaster, "of a calibration", span=self.span, retrace=True)
            with accelerate(self.pipe, trial, measure=False, on_run=reports.append):
                images = self.draw(batch)
            check_once(len(reports))
            return images, reports[0].plan
        with around(self.pipe, self.span, lambda total: Session(plan, forecaster, total, measure=False)) as begun:
            images = self.draw(batch)
        check_once(len(begun))
        return images, begun[0].plan

    def _name(self, key: str) -> str:
        """Return the name among the scores of what a candidate is chosen by."""
        return f"{key} by {name_of(self.objective)}" if callable(self.objective) else key

    def judge(self, key: str, scores: Mapping[int, float]) -> float:
        """Return what a candidate is chosen by, the more the better, where its PSNRs were measured.

        Args:
            key: Names the candidate.
            scores: Its PSNR by seed.
        """
        if callable(self.objective):
            return -fmean(self.scores[self._name(key)][seed] for seed in scores)
        values = torch.tensor(list(scores.values()), dtype=torch.float64)
        return float(values.mean() if self.objective == "mean" else values.quantile(LOW))


def name_of(objective: str | Distance) -> str:
    """Return the name of what is chosen by."""
    return objective if isinstance(objective, str) else getattr(objective, "__name__", type(objective).__name__)


FAR = 1e9


def check_once(runs: int) -> None:
    """Raise unless a call made one run of the pipeline."""
    if runs != 1:
        raise InvalidOption(
            f"one call of the function that draws made {runs} runs of the pipeline, where one was expected.\n"
            "Usual cause: a loop over seeds inside it, or a pipeline that it does not use. Draw all seeds of a call in "
            "one run, or leave out batch to be given one seed at a time."
        )
