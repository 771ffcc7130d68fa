"""Draws the same seeds by several methods in turn, and measures them against the uncached run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

import torch
from torch import Tensor

from padecast._errors import check
from padecast._provenance import Provenance
from padecast.lab.metrics import Spread, psnr, relative_errors, ssim
from padecast.lab.results import Comparison, Result
from padecast.lab.runner import UNCACHED, Drawn, Entry, Task, draw
from padecast.lab.tuning import tune
from padecast.methods import Method

Progress = Callable[[str], None]
SHOWN = 32
"""Images per entry that a comparison keeps for pictures."""


@dataclass
class Ledger:
    """What is kept of the calls of one entry; images and latents of a call are dropped once they are measured."""

    entry: Entry
    draws: list[Drawn] = field(default_factory=list)
    against: list[Drawn] = field(default_factory=list)
    psnr: list[Tensor] = field(default_factory=list)
    ssim: list[Tensor] = field(default_factory=list)
    errors: list[Tensor] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)

    def score(self, drawn: Drawn, reference: Drawn) -> None:
        """Measure one batch."""
        self.psnr.append(psnr(drawn.images, reference.images))
        self.ssim.append(ssim(drawn.images, reference.images))
        same_steps = len(drawn.path) == len(reference.path)
        since = 0 if same_steps else -1
        self.errors.append(relative_errors(drawn.path[since:], reference.path[since:]))
        if sum(map(len, self.images)) < SHOWN:
            self.images.append(drawn.images)

    def time(self, drawn: Drawn, reference: Drawn) -> None:
        """Keep what a call cost, without its images."""
        self.draws.append(_without_images(drawn))
        self.against.append(_without_images(reference))

    def result(self, batch: int) -> Result:
        """Sum up; only calls with a full batch are timed."""
        full = [place for place, drawn in enumerate(self.draws) if drawn.samples == batch]
        own, other = [self.draws[k] for k in full], [self.against[k] for k in full]
        seconds, denoiser = median(d.seconds for d in own), median(d.denoiser_seconds for d in own)
        nfe, entry = fmean(d.nfe for d in self.draws), self.entry
        return Result(
            name=entry.name,
            written=entry.written,
            wanted=entry.wanted,
            nfe=nfe,
            ideal=fmean(d.nfe for d in self.against) / nfe,
            plans=tuple(d.plan for d in self.draws),
            psnr=Spread.of(torch.cat(self.psnr)),
            ssim=Spread.of(torch.cat(self.ssim)),
            seconds=seconds,
            denoiser_seconds=denoiser,
            speedup=median(d.seconds for d in other) / seconds,
            denoiser_speedup=median(d.denoiser_seconds for d in other) / denoiser,
            calls_timed=len(full),
            seconds_range=(min(d.seconds for d in own), max(d.seconds for d in own)),
            errors=tuple(torch.cat(self.errors, dim=1).mean(1).tolist()),
            history_bytes=max(d.history_bytes for d in self.draws),
            peak_bytes=max((d.peak_bytes for d in self.draws if d.peak_bytes is not None), default=None),
        )


def measure(
    task: Task, entries: Sequence[Entry], *, repeats: int = 1, paired: bool = False, progress: Progress | None = None
) -> Comparison:
    """Draw every batch uncached and under every entry, in turn, and compare.

    Args:
        task: What to sample.
        entries: How, besides uncached.
        repeats: How often every batch is drawn by each, at least 1. Default 1: batches are rounds already.
        paired: Whether an uncached call precedes every single one (A B A C ...) instead of every round (A B C ...).
        progress: Told the name of the entry after every call; see :func:`calls`.

    Returns:
        The uncached result first, then one per entry.
    """
    check(repeats >= 1, "repeats", repeats, "1 or more")
    first, ledgers = Ledger(UNCACHED), [Ledger(entry) for entry in entries]

    def one(ledger: Ledger, seeds: Sequence[int]) -> Drawn:
        drawn = draw(task, ledger.entry, seeds)
        if progress is not None:
            progress(ledger.entry.name)
        return drawn

    draw(task, dataclasses.replace(UNCACHED, steps=2), task.batches()[0])  # what is made at the first call is made now
    for seeds in task.batches():
        for repeat in range(repeats):
            reference = one(first, seeds)
            _book(first, reference, reference, score=repeat == 0)
            for place, ledger in enumerate(ledgers):
                if paired and place > 0:
                    reference = one(first, seeds)
                _book(ledger, one(ledger, seeds), reference, score=repeat == 0)
    batch = len(task.batches()[0])
    return Comparison(
        settings=task.settings(),
        results=tuple(ledger.result(batch) for ledger in (first, *ledgers)),
        provenance=Provenance.of(task.pipe),
        images=tuple(torch.cat(ledger.images)[:SHOWN] for ledger in (first, *ledgers)),
    )


def calls(task: Task, entries: int, *, repeats: int = 1, paired: bool = False) -> int:
    """How many calls :func:`measure` reports to ``progress``.

    Example:
        >>> calls(Task(None, print, seeds=range(16), batch=8), 3), calls(Task(None, print, seeds=[1]), 3, paired=True)
        (8, 6)
    """
    return len(task.batches()) * repeats * (max(2 * entries, 1) if paired else entries + 1)


def compare(
    task: Task,
    methods: Sequence[str | Method],
    nfe: Sequence[int] = (),
    *,
    repeats: int = 1,
    paired: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compare methods, at given numbers of computed steps if any are given, and always with fewer sampler steps.

    Args:
        task: What to sample.
        methods: Registered methods with their options, or methods put together.
        nfe: Numbers of computed steps; every method is tuned to each on the task's ``development`` seeds. By default
            methods run as they are written.
        repeats: See :func:`measure`.
        paired: See :func:`measure`.
        progress: See :func:`measure`; tuning is not reported.

    Raises:
        InvalidOption: If a number of computed steps is above the task's steps.
    """
    entries = entered(task, methods, nfe)
    measured = measure(task, entries, repeats=repeats, paired=paired, progress=progress)
    return measured if nfe else with_fewer_steps(task, measured, repeats=repeats, paired=paired, progress=progress)


def with_fewer_steps(
    task: Task,
    measured: Comparison,
    *,
    repeats: int = 1,
    paired: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Add the baseline: the same sampler with as many steps as the methods were found to compute."""
    steps = sorted({max(round(result.nfe), 1) for result in measured.results[1:]})
    fewer = measure(task, [Entry.fewer(n) for n in steps], repeats=repeats, paired=paired, progress=progress)
    return dataclasses.replace(
        measured,
        results=(measured.results[0], *fewer.results[1:], *measured.results[1:]),
        images=(measured.images[0], *fewer.images[1:], *measured.images[1:]),
    )


def entered(
    task: Task, methods: Sequence[str | Method], nfe: Sequence[int], *, progress: Progress | None = None
) -> list[Entry]:
    """Tune every method to every number of computed steps, fewer sampler steps first in each group."""
    if not nfe:
        return [Entry.of(method) for method in methods]
    entries = []
    for wanted in nfe:
        check(1 <= wanted <= task.steps, "nfe", wanted, f"1 to {task.steps}, the sampler's steps")
        entries.append(Entry.fewer(wanted, wanted=wanted))
        for method in methods:
            entries.append(tune(task.tuning(), Entry.of(method, wanted=wanted), wanted))
            if progress is not None:
                progress(entries[-1].name)
    return entries


def _book(ledger: Ledger, drawn: Drawn, reference: Drawn, *, score: bool) -> None:
    ledger.time(drawn, reference)
    if score:
        ledger.score(drawn, reference)


def _without_images(drawn: Drawn) -> Drawn:
    return dataclasses.replace(drawn, images=drawn.images[:, :0], path=())
