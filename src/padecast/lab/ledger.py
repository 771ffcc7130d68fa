"""What is kept of the calls of one entry while a task is measured, and the result that they add up to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from padecast.lab.metrics import Spread, psnr, relative_errors, ssim
from padecast.lab.results import Result
from padecast.lab.runner import Drawn, Entry, Task

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
    scores: dict[str, list[Tensor]] = field(default_factory=dict)
    flops_share: float | None = None

    def book(self, task: Task, seeds: Sequence[int], drawn: Drawn, reference: Drawn, *, score: bool) -> None:
        """Keep what a call cost, without its images, and measure them if it is the first of its seeds."""
        self.draws.append(_without_images(drawn))
        self.against.append(_without_images(reference))
        if score:
            self.score(task, seeds, drawn, reference)

    def score(self, task: Task, seeds: Sequence[int], drawn: Drawn, reference: Drawn) -> None:
        """Measure one batch."""
        requests = task.asked(seeds) if task.scores else ()
        for name, score in task.scores.items():
            self.scores.setdefault(name, []).append(score.rows(drawn.images, reference.images, requests))
        self.psnr.append(psnr(drawn.images, reference.images))
        self.ssim.append(ssim(drawn.images, reference.images))
        same_steps = len(drawn.path) == len(reference.path)
        since = 0 if same_steps else -1
        self.errors.append(relative_errors(drawn.path[since:], reference.path[since:]))
        if sum(map(len, self.images)) < SHOWN:
            self.images.append(drawn.images)

    def result(self, task: Task, uncached: Ledger, *, timed: bool) -> Result:
        """Sum up; only calls with a full batch are timed."""
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
            errors=tuple(torch.cat(self.errors, dim=1).mean(1).tolist()),
            history_bytes=max(d.history_bytes for d in self.draws),
            peak_bytes=max((d.peak_bytes for d in self.draws if d.peak_bytes is not None), default=None),
            flops_share=self._flops_share(),
            teaching=entry.teaching,
            scores={name: score.value(*_rows(name, self, uncached)) for name, score in task.scores.items()},
            **(self._times(len(task.batches()[0])) if timed else UNTIMED),
        )

    def _times(self, batch: int) -> dict[str, Any]:
        full = [place for place, drawn in enumerate(self.draws) if drawn.samples == batch]
        draws, other = [self.draws[k] for k in full], [self.against[k] for k in full]
        seconds, denoiser = median(d.seconds for d in draws), median(d.denoiser_seconds for d in draws)
        return {
            "seconds": seconds,
            "denoiser_seconds": denoiser,
            "speedup": median(d.seconds for d in other) / seconds,
            "denoiser_speedup": median(d.denoiser_seconds for d in other) / denoiser,
            "calls_timed": len(full),
            "seconds_range": (min(d.seconds for d in draws), max(d.seconds for d in draws)),
        }

    def _flops_share(self) -> float | None:
        whole = sum(d.operations for d in self.against)
        return sum(d.operations for d in self.draws) / whole if whole else self.flops_share


UNTIMED: dict[str, Any] = {
    **dict.fromkeys(("seconds", "denoiser_seconds", "speedup", "denoiser_speedup"), math.nan),
    "calls_timed": 0,
    "seconds_range": (math.nan, math.nan),
}
"""The times of a result that was not timed."""


def _rows(name: str, *ledgers: Ledger) -> list[Tensor]:
    return [torch.cat(ledger.scores[name]) for ledger in ledgers]


def _without_images(drawn: Drawn) -> Drawn:
    return dataclasses.replace(drawn, images=drawn.images[:, :0], path=())
