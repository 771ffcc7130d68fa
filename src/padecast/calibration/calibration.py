"""A calibration: what was learnt of a model under one sampler, and the best plan for every budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from padecast._accelerate import models_of
from padecast._errors import CalibrationMismatch, InvalidOption
from padecast.calibration import file
from padecast.calibration.choice import Candidate, Choice, Measured, Offsets
from padecast.calibration.statistic import Statistic
from padecast.methods import Method
from padecast.policies import Plan

WORTH = 0.2
"""Share of the steps that a plan must save to be worth its trouble."""
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Schedule:
    """The sampler's grid that plans and weights belong to.

    Args:
        scheduler: Class of the scheduler.
        timesteps: Its timesteps.
        sigmas: Its noise levels, one more than steps; empty where it has none.
        strides: ``|sigma_i - sigma_{i+1}|`` as shares of the whole way.
    """

    scheduler: str
    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]
    strides: tuple[float, ...]

    @classmethod
    def of(cls, scheduler: Any, strides: Sequence[float]) -> Schedule:
        """Read the grid of a scheduler that has run."""
        return cls(
            type(scheduler).__name__,
            _numbers(scheduler.timesteps),
            _numbers(getattr(scheduler, "sigmas", ())),
            tuple(strides),
        )

    @property
    def steps(self) -> int:
        """Length of the grid."""
        return len(self.timesteps)


@dataclass(frozen=True)
class Point:
    """One place on the trade-off curve.

    Args:
        computed: Computed steps.
        speedup: Steps over computed steps: what the denoiser gains at best.
        psnr: Mean over the calibration samples, in dB.
        held_out: Mean over those that nothing was fitted to, in dB.
    """

    computed: int
    speedup: float
    psnr: float
    held_out: float


@dataclass(frozen=True)
class Calibration:
    """The best plans of one model under one sampler; made by :func:`padecast.calibrate`, kept as a small JSON file.

    Args:
        name: For messages and pictures.
        model: ``class``, hash of its ``config``, ``pipeline`` and ``span``.
        schedule: The sampler's grid.
        guidance: Guidance scale of the calibration runs, if the pipeline says it.
        dtype: Of the model.
        seeds: Calibration samples.
        statistic: How residuals lie to one another.
        sketch: ``size`` and ``seed`` of the random projection; size 0 if inner products are exact.
        choices: The winner of every budget.
        provenance: Software, machine, date, command.

    Example:
        >>> from padecast import zoo
        >>> calibration = zoo.calibration("digits", "hard")
        >>> calibration.steps, calibration.method(computed=8).policy.nfe
        (20, 8)

    Reference:
        Ours. Related: DPCache (arXiv:2602.22654), LeMiCa (arXiv:2511.00090), BudCache (arXiv:2606.13496) search
        schedules; L2P (arXiv:2604.26365) learns per-step weights.
    """

    name: str
    model: dict[str, str]
    schedule: Schedule
    guidance: float | None
    dtype: str
    seeds: tuple[int, ...]
    statistic: Statistic
    sketch: dict[str, int]
    choices: dict[int, Choice]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Sampler steps of a run."""
        return self.schedule.steps

    @property
    def budgets(self) -> tuple[int, ...]:
        """Numbers of computed steps that there is a plan for, fewest first."""
        return tuple(sorted(self.choices))

    def curve(self) -> list[Point]:
        """Return the trade-off, fewest computed steps first."""
        return [
            Point(n, self.steps / n, self.choices[n].best.mean, self.choices[n].held_out) for n in self.budgets
        ]

    def budget(
        self, *, computed: int | None = None, speedup: float | None = None, decibels: float | None = None
    ) -> int:
        """Return the number of computed steps that a wish comes to.

        Args:
            computed: Exactly so many computed steps.
            speedup: The most computed steps that still make the denoiser so much faster.
            decibels: The fewest computed steps whose mean PSNR on the calibration samples is at least this.

        Raises:
            InvalidOption: If not exactly one of the three is given, or no plan fulfils it.
        """
        given = {"computed": computed, "speedup": speedup, "decibels": decibels}
        asked = {name: value for name, value in given.items() if value is not None}
        if len(asked) != 1:
            raise InvalidOption(
                f"{len(asked)} wishes given ({', '.join(asked) or 'none'}), where a calibration needs exactly one.\n"
                f"Say one of: computed={self.budgets[0]}, speedup={self.steps / self.budgets[0]:.2g}, decibels=35"
            )
        if computed is not None:
            fitting = [n for n in self.budgets if n == computed]
        elif speedup is not None:
            fitting = [n for n in self.budgets if self.steps / n >= speedup * (1 - 1e-9)][-1:]
        else:
            fitting = [p.computed for p in self.curve() if decibels is not None and p.psnr >= decibels][:1]
        if not fitting:
            ((name, value),) = asked.items()
            raise InvalidOption(
                f"no plan of the calibration {self.name!r} has {name}={value:g}.\n{self._reach()}\n"
                "Calibrate further budgets, or ask for what there is."
            )
        return fitting[0]

    def method(
        self, *, computed: int | None = None, speedup: float | None = None, decibels: float | None = None
    ) -> Method:
        """Return the plan and the forecaster that fulfil a wish, as a method; see :meth:`budget`.

        A method knows nothing of the run that it was made for: given to :func:`padecast.accelerate` instead of the
        calibration, it is used on any run of as many steps.
        """
        wanted = self.budget(computed=computed, speedup=speedup, decibels=decibels)
        best = self.choices[wanted].best.candidate
        return Method(
            name=f"calibrated:{wanted}",
            policy=Plan(best.plan),
            forecaster=best.built(self.statistic),
            summary=f"{wanted} of {self.steps} steps computed, as calibrated",
            cites=("padecast",),
            span=self.model["span"],
        )

    def verdict(self, decibels: float) -> str:
        """Say whether forecasting pays at a wanted mean PSNR.

        Example:
            >>> from padecast import zoo
            >>> zoo.calibration("digits", "hard").verdict(90.0)[:13]
            'not worth it:'
        """
        fitting = [p for p in self.curve() if p.psnr >= decibels]
        if not fitting or fitting[0].computed > (1 - WORTH) * self.steps:
            return (
                f"not worth it: no plan that saves {WORTH:.0%} of the {self.steps} steps keeps {decibels:g} dB. "
                + self._reach()
            )
        first = fitting[0]
        return (
            f"{first.computed} of {self.steps} steps ({first.speedup:.2f}x) keep {decibels:g} dB: "
            f"{first.psnr:.1f} dB on calibration samples."
        )

    def check(self, pipe: Any, total: int) -> None:
        """Raise unless a run that begins now is one that this was made for.

        Args:
            pipe: The pipeline, or a bare transformer, of which only class, configuration and length can be checked.
            total: Steps of the run.

        Raises:
            CalibrationMismatch: Naming everything that differs.
        """
        model = models_of(pipe)[0]
        differing = [
            f"{what}: this run has {here}, the calibration {there}"
            for what, here, there in self._compared(pipe, model, total)
            if here != there
        ]
        if differing:
            raise CalibrationMismatch(
                f"the calibration {self.name!r} was not made for this run.\n  "
                + "\n  ".join(differing)
                + "\nWeights and plans belong to one model and one schedule. Either\n"
                f"(a) run it as calibrated: {self.steps} steps"
                + (f", guidance {self.guidance:g}" if self.guidance is not None else "")
                + "\n(b) calibrate this run:    padecast calibrate PIPELINE, or padecast.calibrate(pipe, call)\n"
                "(c) take it all the same:  accelerate(pipe, calibration.method(computed=...)), whose loss nobody "
                "has measured"
            )

    def save(self, path: str | Path) -> Path:
        """Write the file; it is whole or not there at all. Returns its path."""
        return file.write(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a file of this or an earlier schema.

        Raises:
            CalibrationMismatch: If the file is not a calibration, is damaged, or is of a later schema.
        """
        return cls.from_dict(file.read(Path(path)))

    def to_dict(self) -> dict[str, Any]:
        """Return the document; see ``docs/calibration-file.md``."""
        return {
            "kind": file.KIND,
            "schema": file.SCHEMA,
            "name": self.name,
            "model": self.model,
            "schedule": {
                "scheduler": self.schedule.scheduler,
                "steps": self.steps,
                "timesteps": list(self.schedule.timesteps),
                "sigmas": list(self.schedule.sigmas),
                "strides": list(self.schedule.strides),
            },
            "guidance": self.guidance,
            "dtype": self.dtype,
            "seeds": list(self.seeds),
            "plans": {str(n): _written(self.choices[n]) for n in self.budgets},
            "sketch": self.sketch,
            "statistic": self.statistic.to_dict(),
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Calibration:
        """Read what :meth:`to_dict` returned."""
        grid = document["schedule"]
        return cls(
            name=document["name"],
            model=document["model"],
            schedule=Schedule(
                grid["scheduler"], tuple(grid["timesteps"]), tuple(grid["sigmas"]), tuple(grid["strides"])
            ),
            guidance=document["guidance"],
            dtype=document["dtype"],
            seeds=tuple(document["seeds"]),
            statistic=Statistic.from_dict(document["statistic"]),
            sketch=document["sketch"],
            choices={int(n): _read(entry) for n, entry in document["plans"].items()},
            provenance=document["provenance"],
        )

    def __str__(self) -> str:
        rows = [f"{self.name}: {self.steps} steps, {len(self.seeds)} calibration samples"]
        rows.append("computed  speedup   PSNR  held out  plan")
        for point in self.curve():
            plan = self.choices[point.computed].best.candidate.plan
            rows.append(
                f"{point.computed:8d}  {point.speedup:6.2f}x  {point.psnr:5.1f}  {point.held_out:8.1f}  {plan}"
            )
        return "\n".join(rows)

    def _reach(self) -> str:
        best = max(self.curve(), key=lambda point: point.psnr)
        return (
            f"Calibrated: {', '.join(map(str, self.budgets))} of {self.steps} steps, "
            f"up to {best.psnr:.1f} dB with {best.computed}."
        )

    def _compared(self, pipe: Any, model: nn.Module, total: int) -> list[tuple[str, Any, Any]]:
        rows: list[tuple[str, Any, Any]] = [
            ("model", type(model).__name__, self.model["class"]),
            ("configuration", fingerprint(model), self.model["config"]),
            ("steps", total, self.steps),
        ]
        scheduler = getattr(pipe, "scheduler", None)
        if scheduler is None or isinstance(pipe, nn.Module):
            return rows
        rows.append(("scheduler", type(scheduler).__name__, self.schedule.scheduler))
        rows += _grids("noise levels", _numbers(getattr(scheduler, "sigmas", ())), self.schedule.sigmas, total)
        rows += _grids("timesteps", _numbers(scheduler.timesteps), self.schedule.timesteps, total)
        guidance = guidance_of(pipe)
        if self.guidance is not None and guidance is not None:
            same = abs(guidance - self.guidance) <= TOLERANCE * max(1.0, abs(self.guidance))
            rows.append(("guidance", f"{self.guidance if same else guidance:g}", f"{self.guidance:g}"))
        return rows


def guidance_of(pipe: Any) -> float | None:
    """Return the guidance scale of a pipeline's latest run, if it says so."""
    value = getattr(pipe, "guidance_scale", None)
    return float(value) if isinstance(value, (int, float)) else None


def fingerprint(model: Any) -> str:
    """Return a hash of what a model's configuration says of its shape; paths and releases do not count."""
    config = {k: v for k, v in dict(getattr(model, "config", {})).items() if not str(k).startswith("_")}
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _grids(what: str, here: tuple[float, ...], there: tuple[float, ...], total: int) -> list[tuple[str, Any, Any]]:
    """Compare two grids of one length to a thousandth of their range."""
    if len(here) != len(there) or not there:
        return []
    span = TOLERANCE * max(max(map(abs, there)), 1e-12)
    worst = max(range(len(there)), key=lambda i: abs(here[i] - there[i]))
    same = abs(here[worst] - there[worst]) <= span
    return [] if same else [(f"{what}, place {worst}", f"{here[worst]:.6g}", f"{there[worst]:.6g}")]


def _numbers(values: Any) -> tuple[float, ...]:
    plain = values.tolist() if isinstance(values, Tensor) else list(values)
    return tuple(float(f"{v:.9g}") for v in plain)


def _written(choice: Choice) -> dict[str, Any]:
    best = choice.best
    values = sorted(best.psnr.values())
    return {
        "plan": best.candidate.plan,
        "forecaster": best.candidate.forecaster,
        "offsets": _by_stretch(best.candidate.offsets),
        "psnr": {
            "mean": round(best.mean, 3),
            "worst": round(values[0], 3),
            "held_out": round(choice.held_out, 3),
            "samples": {str(seed): round(value, 3) for seed, value in best.psnr.items()},
        },
        "ranking": [
            {
                "plan": m.candidate.plan,
                "forecaster": m.candidate.forecaster,
                "psnr": round(fmean(m.psnr.values()), 3),
                "samples": len(m.psnr),
            }
            for m in choice.ranking
        ],
    }


def _by_stretch(offsets: Offsets) -> dict[str, Any]:
    """Write offsets of neighbouring steps that are alike under one key: ``"5-8"``."""
    written: dict[str, Any] = {}
    for rows, steps in groupby(offsets, key=lambda entry: entry[1]):
        places = [i for i, _ in steps]
        written[f"{places[0]}-{places[-1]}"] = [list(row) for row in rows]
    return written


def _read(entry: dict[str, Any]) -> Choice:
    offsets = tuple(
        (step, tuple(map(tuple, rows)))
        for stretch, rows in entry["offsets"].items()
        for step in file.steps_of(stretch)
    )
    samples = {int(seed): value for seed, value in entry["psnr"]["samples"].items()}
    ranking = tuple(
        Measured(Candidate(row["plan"], row["forecaster"]), dict.fromkeys(range(row["samples"]), row["psnr"]))
        for row in entry["ranking"]
    )
    best = Measured(Candidate(entry["plan"], entry["forecaster"], offsets), samples)
    return Choice(best, entry["psnr"]["held_out"], ranking)
