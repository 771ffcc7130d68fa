"""A calibration: what was learnt of a model under one sampler, and the best plan for every budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from padecast._errors import CalibrationMismatch, InvalidOption
from padecast.calibration import display, file, sharing
from padecast.calibration.choice import Choice
from padecast.calibration.entry import read, write
from padecast.calibration.matching import (
    Fit,
    Schedule,
    compare_guidance,
    compare_levels,
    compare_models,
    describe,
    differences,
    match_branches,
)
from padecast.calibration.statistic import Statistic
from padecast.files.hub import Address, Section, Shareable, Source, load_all
from padecast.handles.selection import SOURCES
from padecast.methods import Method
from padecast.policies import Plan
from padecast.session.grid import Grid
from padecast.targets.pipelines import models_of

WORTH = 0.2
"""Share of the steps that a plan must save to be worth its trouble."""


@dataclass(frozen=True)
class Point:
    """One place on the trade-off curve.

    Args:
        computed: Computed steps.
        speedup: Steps over computed steps: what the denoiser gains at best.
        psnr: Mean over the calibration samples, in dB.
        held_out: Mean over those that neither chose nor fitted, in dB.
    """

    computed: int
    speedup: float
    psnr: float
    held_out: float


@dataclass(frozen=True)
class Calibration(Shareable):
    """The best plans of one model under one sampler; made by :func:`padecast.calibrate`, kept as a small JSON file.

    Args:
        name: For messages and pictures.
        model: ``class``, hash of its ``config``, ``pipeline`` and ``span``.
        schedule: The sampler's grid.
        guidance: Guidance scale of the calibration runs, if the pipeline says it.
        dtype: Of the model.
        seeds: Calibration samples.
        held_out: Those of them that neither chose nor fitted; they decided whether the fit is kept.
        statistic: How residuals lie to one another.
        sketch: ``size`` and ``seed`` of the random projection; size 0 if inner products are exact.
        choices: The winner of every budget.
        provenance: Software, machine, date, command.
        effort: Its name; ``"custom"`` for one that was put together, nothing in files of before.
        objective: What plans were chosen by.
        price: Images' worth of steps that were announced; 0 in files of before.

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
    held_out: tuple[int, ...]
    statistic: Statistic
    sketch: dict[str, int]
    choices: dict[int, Choice]
    provenance: dict[str, Any] = field(default_factory=dict)
    effort: str = ""
    objective: str = "mean"
    price: float = 0.0

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
        return [Point(n, self.steps / n, self.choices[n].best.mean, self.choices[n].held_out) for n in self.budgets]

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
        arguments = {"computed": computed, "speedup": speedup, "decibels": decibels}
        wishes = {name: value for name, value in arguments.items() if value is not None}
        if len(wishes) != 1:
            raise InvalidOption(
                f"{len(wishes)} wishes given ({', '.join(wishes) or 'none'}), where a calibration needs exactly one.\n"
                f"Say one of: computed={self.budgets[0]}, speedup={self.steps / self.budgets[0]:.2g}, decibels=35"
            )
        if computed is not None:
            enough = [n for n in self.budgets if n == computed]
        elif speedup is not None:
            enough = [n for n in self.budgets if self.steps / n >= speedup * (1 - 1e-9)][-1:]
        else:
            enough = [p.computed for p in self.curve() if decibels is not None and p.psnr >= decibels][:1]
        if not enough:
            ((name, value),) = wishes.items()
            raise InvalidOption(
                f"no plan of the calibration {self.name!r} has {name}={value:g}.\n{self._reach()}\n"
                "Calibrate further budgets, or ask for what there is."
            )
        return enough[0]

    def method(
        self, *, computed: int | None = None, speedup: float | None = None, decibels: float | None = None
    ) -> Method:
        """Return the plan and the forecaster that fulfil a wish, as a method; see :meth:`budget`.

        A method knows nothing of the run that it was made for: given to :func:`padecast.accelerate` instead of the
        calibration, it is used on any run of as many steps.
        """
        count = self.budget(computed=computed, speedup=speedup, decibels=decibels)
        best = self.choices[count].best.candidate
        return Method(
            name=f"calibrated:{count}",
            policy=Plan(best.plan),
            forecaster=best.built(self.statistic, self.schedule.strides),
            summary=f"{count} of {self.steps} steps computed, as calibrated",
            cites=("padecast",),
            span=self.model["span"],
            retrace=best.retrace,
        )

    def verdict(self, decibels: float) -> str:
        """Say whether forecasting pays at a wanted mean PSNR.

        Example:
            >>> from padecast import zoo
            >>> zoo.calibration("digits", "hard").verdict(90.0)[:13]
            'not worth it '
        """
        enough = [p for p in self.curve() if p.psnr >= decibels]
        most = int((1 - WORTH) * self.steps + 1e-9)
        if not enough and self.budgets[-1] < most:
            return (
                f"not worth it as far as it was calibrated: no plan keeps {decibels:g} dB. {self._reach()} "
                f"Plans of up to {most} steps were not all tried."
            )
        if not enough or enough[0].computed > (1 - WORTH) * self.steps:
            return (
                f"not worth it: no plan that saves {WORTH:.0%} of the {self.steps} steps keeps {decibels:g} dB. "
                + self._reach()
            )
        first = enough[0]
        return (
            f"{first.computed} of {self.steps} steps ({first.speedup:.2f}x) keep {decibels:g} dB: "
            f"{first.psnr:.1f} dB on calibration samples."
        )

    def check(self, pipe: Any, total: int | None) -> None:
        """Raise unless a run that begins now is one that this was made for.

        Args:
            pipe: The pipeline, or a bare transformer, of which only class, configuration and length can be checked.
            total: Steps of the run; ``None`` before one, when the model alone is checked.

        Raises:
            CalibrationMismatch: Naming everything that differs.
        """
        differing = differences(pipe, models_of(pipe)[0], total, self.model, self.schedule, self.guidance)
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

    def fits(
        self,
        sigmas: Iterable[float] | Tensor | Grid,
        *,
        guidance: float | None = None,
        branches: Sequence[str] = (),
        model: nn.Module | None = None,
    ) -> Fit:
        """Return whether this serves a run of a sampler loop, which has no pipeline; true if it does, and printable.

        What only a pipeline says is not compared: solver, noise that it draws, and whatever is not given here.

        Args:
            sigmas: Noise levels of the run, its end included; they may lie a thousandth of the largest apart.
            guidance: Guidance scale. Default unknown.
            branches: Names of the run's branches, in the order of their calls, such as ``("cond", "uncond")``. The
                result says by which names the calibration knows them. Default not compared.
            model: The denoiser, of which class and configuration are compared. Default unknown.

        Example:
            >>> from padecast import zoo
            >>> calibration = zoo.calibration("digits", "easy")
            >>> print(calibration.fits([1 - i / 20 for i in range(21)], guidance=3.0))
            made for such runs: noise levels 2.4e-08 apart
            >>> print(calibration.fits([1 - i / 28 for i in range(29)]))
            steps: this run has 28, the calibration 20
        """
        largest, facts = compare_levels(sigmas, self.schedule)
        rows = [] if model is None else compare_models(model, self.model)
        facts += describe(rows + compare_guidance(guidance, self.guidance))
        names, others = match_branches(branches, self.statistic.branches) if branches else ({}, [])
        return Fit((*facts, *others), largest, names)

    def save(self, path: str | Path) -> Path:
        """Write the file, so that it is whole or as it was before, and return its path.

        Raises:
            InvalidOption: If a number in it is not finite.
            UnwritableFile: If the disk is full, or the file cannot be written for another reason.
        """
        return file.write(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a file of this or an earlier schema.

        Raises:
            CalibrationMismatch: If the file is not a calibration, is damaged, or is of a later schema.
            MissingFile: If it is not there; the error is a CalibrationMismatch too, and names the nearest file.
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
                "settings": dict(self.schedule.settings),
            },
            "guidance": self.guidance,
            "dtype": self.dtype,
            "seeds": list(self.seeds),
            "held_out": list(self.held_out),
            "effort": self.effort,
            "objective": self.objective,
            "price": self.price,
            "plans": {str(n): write(self.choices[n]) for n in self.budgets},
            "sketch": self.sketch,
            "statistic": self.statistic.to_dict(),
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Calibration:
        """Read what :meth:`to_dict` returned."""
        return cls(
            name=document["name"],
            model=document["model"],
            schedule=Schedule.read(document["schedule"]),
            guidance=document["guidance"],
            dtype=document["dtype"],
            seeds=tuple(document["seeds"]),
            held_out=tuple(document["held_out"]),
            statistic=Statistic.from_dict(document["statistic"]),
            sketch=document["sketch"],
            choices={int(n): read(entry) for n, entry in document["plans"].items()},
            provenance=document["provenance"],
            effort=document["effort"],
            objective=document["objective"],
            price=document["price"],
        )

    def __repr__(self) -> str:
        budgets = ", ".join(map(str, self.budgets))
        return f"<Calibration {self.name!r}: {budgets} of {self.steps} steps, {len(self.seeds)} samples>"

    def __str__(self) -> str:
        return display.describe(self)

    def _repr_html_(self) -> str:
        return display.write_html(self)

    _kind, _pattern, _without = "calibration", "*.json", "*.lesson.json"

    def _name_file(self) -> str:
        return sharing.name_file(self)

    def _describe(self) -> Section:
        return sharing.describe(self)

    def _explain_use(self, repo: str) -> str:
        return sharing.explain_use(self, repo)

    def _find_base(self) -> str | None:
        return sharing.find_base(self)

    def _reach(self) -> str:
        best = max(self.curve(), key=lambda point: point.psnr)
        return (
            f"Calibrated: {', '.join(map(str, self.budgets))} of {self.steps} steps, "
            f"up to {best.psnr:.1f} dB with {best.computed}."
        )


def _read_hub(text: str) -> list[Calibration]:
    """Read what ``accelerate(pipe, "hub:ORG/NAME")`` names."""
    return load_all(Calibration, Source(Address.read(text)))


SOURCES["hub"] = _read_hub
