"""An idea beyond weights: forecasts that mix channels, by linear maps fitted step by step on calibration samples.

    python benchmarks/maps.py

Every forecast step and branch gets weights on the remembered residuals, fitted by least squares over uncached runs, and
on top of them a ridge-regressed linear map, token by token, from the channels of the newest residuals (and of how the
stack's input has changed since the newest one) to what the weights leave. Both are given the error feedback of
Wiener weights: later steps regress on what earlier ones have got wrong. They are fitted on 64 calibration samples and
judged by what the sampler draws of the 32 development samples (PSNR). Next to them: the damped Pade forecaster.

Writes benchmarks/results/ideas-maps.json; docs/experiments.md tells what came out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from common import DEVELOPMENT, SETTINGS, progress, write
from torch import Tensor

from padecast import zoo
from padecast.calibration.provenance import Provenance
from padecast.calibration.psnr import psnr
from padecast.calibration.trials import attach
from padecast.forecasters import Lagrange, TCPade
from padecast.hooks.quiet import quiet
from padecast.lab import Sampling
from padecast.memory.arithmetic import Rows, Streams
from padecast.memory.memory import Memory
from padecast.policies import Plan
from padecast.session.record import Record
from padecast.session.session import Session

FIT = tuple(range(30_000, 30_064))
STEPS = 20
Trajectory = list[tuple[Tensor, Tensor]]
"""The stack's input and residual ``(2B, N, D)`` at every step; labelled samples first, then unlabelled ones."""


@dataclass(frozen=True)
class Maps:
    """Which maps are fitted.

    Args:
        history: Residuals whose channels are mixed; 0 for weights alone.
        moved: Whether the change of the stack's input is mixed in too.
        ridge: Of the map, relative to the mean square of what it reads.
        feedback: Share of the expected error that is paid back.
    """

    history: int = 0
    moved: bool = False
    ridge: float = 1e-2
    feedback: float = 0.5

    def read(self, residuals: list[Tensor], change: Tensor) -> Tensor:
        """Return what the map reads, ``(..., F)``."""
        parts = [*residuals[: self.history], *([change] if self.moved else [])]
        return torch.cat([*parts, torch.ones_like(change[..., :1])], -1)


@dataclass
class Fitted(Session):
    """A session whose forecasts are the fitted ones."""

    maps: Maps
    tables: dict[tuple[int, int], tuple[Tensor, Tensor]]
    plan_of: str
    latest: Tensor = field(init=False)

    def __post_init__(self) -> None:
        super().__init__(Plan(self.plan_of), Lagrange(3), STEPS, measure=False)

    def learn(self, branch: str, entry: Streams, output: Streams, rows: Rows | None = None) -> Streams:
        """Remember the input too."""
        self.latest = entry[0].clone()
        return super().learn(branch, entry, output, rows)

    def _forecast(self, branch: str, memory: Memory, entry: Streams, record: Record) -> Streams | None:
        residuals, parts = [streams[0] for streams in memory.residuals()], []
        for row, half in enumerate(halves(len(entry[0]))):
            weights, map_ = self.tables[record.at.index, row]
            own = [r[half] for r in residuals]
            read = self.maps.read(own, entry[0][half] - self.latest[half]) if self.maps.history else None
            parts.append(weighted(own, weights) + (0 if read is None else read @ map_))
        return (entry[0] + torch.cat(parts),)


def halves(count: int) -> tuple[slice, slice]:
    """Return both conditionings of a batch."""
    return slice(0, count // 2), slice(count // 2, count)


def weighted(residuals: list[Tensor], weights: Tensor) -> Tensor:
    """Sum residuals with weights."""
    return sum((r * w for r, w in zip(residuals, weights, strict=False)), torch.zeros_like(residuals[0]))


def ridged(rows: Tensor, wanted: Tensor, ridge: float) -> Tensor:
    """Regress in float64."""
    gram = rows.double().T @ rows.double()
    gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    return torch.linalg.solve(gram, rows.double().T @ wanted.double()).float()


def fitted(maps: Maps, seen: Trajectory, plan: str, strides: list[float]) -> dict[tuple[int, int], Any]:
    """Fit weights and maps of every forecast step and branch."""
    tables = {}
    for row, half in enumerate(halves(len(seen[0][0]))):
        astray = torch.zeros_like(seen[0][1][half])
        for i in (i for i, letter in enumerate(plan) if letter == "."):
            past = [c for c in range(i) if plan[c] == "C"][::-1][:4]
            residuals = [seen[c][1][half] for c in past]
            wanted = seen[i][1][half] - maps.feedback * astray / strides[i]
            weights = ridged(torch.stack([r.flatten() for r in residuals], 1), wanted.flatten()[:, None], 1e-4)[:, 0]
            said, map_ = weighted(residuals, weights), torch.zeros(0)
            if maps.history:
                read = maps.read(residuals, seen[i][0][half] - seen[past[0]][0][half])
                map_ = ridged(read.flatten(0, 1), (wanted - said).flatten(0, 1), maps.ridge)
                said = said + read @ map_
            tables[i, row] = weights, map_
            astray = astray + strides[i] * (said - seen[i][1][half])
    return tables


def drawn(pipe: Any, call: Sampling, seeds: tuple[int, ...]) -> Tensor:
    """Draw images."""
    with quiet(pipe):
        return torch.as_tensor(getattr(made := call(pipe, seeds, num_inference_steps=STEPS), "images", made))


def trajectory(pipe: Any, call: Sampling, seeds: tuple[int, ...]) -> tuple[Tensor, Trajectory]:
    """Draw uncached, and keep every step's input and residual."""
    kept: Trajectory = []

    class Keeping(Session):
        def learn(self, branch: str, entry: Streams, output: Streams, rows: Rows | None = None) -> Streams:
            kept.append((entry[0].clone(), output[0] - entry[0]))
            return super().learn(branch, entry, output, rows)

    with attach(pipe, "full", lambda total: Keeping(Plan("C" * total), Lagrange(), total, measure=False)):
        return drawn(pipe, call, seeds), kept


def main() -> None:
    """Measure and write."""
    tried = {
        "weights": Maps(),
        "maps of the newest residual and the input": Maps(1, True),
        "maps of all residuals": Maps(4),
        "maps of all residuals and the input": Maps(4, True),
        "the same, stronger ridge": Maps(4, True, 0.1),
        "maps of all residuals and the input, no feedback": Maps(4, True, feedback=0.0),
    }
    found: dict[str, Any] = {}
    for setting, options in SETTINGS.items():
        pipe, call = zoo.load("digits"), Sampling(**options)
        with progress(2 + 3 * (len(tried) + 1), setting) as tell:
            reference, _ = trajectory(pipe, call, DEVELOPMENT)
            tell("uncached")
            _, seen = trajectory(pipe, call, FIT)
            tell("uncached")
            levels = pipe.scheduler.sigmas.tolist()
            strides = [a - b for a, b in pairwise(levels)]
            for budget in (6, 8, 10):
                plan = zoo.calibration("digits", setting).method(computed=budget).policy.steps
                rows = found.setdefault(setting, {})[str(budget)] = {"plan": plan}
                with attach(pipe, "full", lambda n, p=plan: Session(Plan(p), TCPade(), n, measure=False)):
                    rows["tcpade"] = fmean(psnr(drawn(pipe, call, DEVELOPMENT), reference).tolist())
                tell("tcpade")
                for name, maps in tried.items():
                    tables = fitted(maps, seen, plan, strides)
                    with attach(pipe, "full", lambda n, m=maps, t=tables, p=plan: Fitted(m, t, p)):
                        rows[name] = fmean(psnr(drawn(pipe, call, DEVELOPMENT), reference).tolist())
                    tell(name)
    write("ideas-maps.json", {"psnr": found, "provenance": dataclasses.asdict(Provenance.of())})


if __name__ == "__main__":
    main()
