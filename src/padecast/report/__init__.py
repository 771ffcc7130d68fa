"""What a run did, and what it cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

from padecast._geometry import Geometry, unit
from padecast.report.display import block, table
from padecast.session.balance import describe_imbalance
from padecast.session.record import NOTES, Record
from padecast.session.session import Session

FEW = 8
"""Steps of a schedule up to which no forecast is worth its loss: those of distilled models."""


@dataclass(frozen=True)
class StepReport:
    """One step of a run.

    Args:
        index: Step index.
        computed: Whether the stack was run.
        seconds: Denoiser time of all its branches.
        stability: ``1 + cos(u1, u2)`` of the computed residuals known then, the least over samples and branches, in
            [0, 2]; ``None`` with fewer than three. Here and below, samples that are not finite do not count.
        disagreement: ``|forecast - repetition| / |R_1|``, root mean square over samples and branches; ``None`` at
            computed steps and without inner products.
        gain: Noise gain ``|w|_2`` of the weights; errors of the remembered residuals enter the forecast by it.
        weight_sum: Sum of the weights; 1 but for ridge regressions.
        notes: What did not go as decided, by branch.
        stages: Evaluations of the model that the sampler's step has, whatever the number of branches. Default 1.
        stages_computed: How many of them were computed; of a step with one, whether it was.
    """

    index: int
    computed: bool
    seconds: float
    stability: float | None = None
    disagreement: float | None = None
    gain: float | None = None
    weight_sum: float | None = None
    notes: dict[str, str] = field(default_factory=dict)
    stages: int = 1
    stages_computed: int = -1

    def __post_init__(self) -> None:
        if self.stages_computed < 0:
            object.__setattr__(self, "stages_computed", int(self.computed) * self.stages)


@dataclass(frozen=True)
class Report:
    """What a run did, and what it cost. Printable; ``to_dict`` and ``to_json`` for scripts.

    Args:
        steps: The steps that were run, in the order of the schedule.
        plan: ``C`` computed, ``.`` forecast, a space for steps of the schedule that were not visited.
        history_bytes: Most memory that remembered residuals took at one time.
        branches: The conditionings of the run.
        method: What forecast it.
        unplaced: Calls of the model that were computed because their place in the schedule is unknown.
        offers: Methods that follow published plans of this model at so many steps, where another method was in use.
        remarks: What the method could not know of the run.

    Example:
        >>> print(Report((StepReport(0, True, 0.2), StepReport(1, False, 0.01)), "C.", 1024, ("call 1",), "reuse"))
        2 steps, 1 computed, 1 forecast: C.
        denoiser 0.210 s (computed 0.200 s a step, forecast 0.010 s a step), 1.90x of 2.00x ideal
        history 1.0 KiB, branches: call 1, method: reuse
    """

    steps: tuple[StepReport, ...]
    plan: str
    history_bytes: int
    branches: tuple[str, ...]
    method: str
    unplaced: int = 0
    offers: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("offers", "remarks"):  # lists, where they were read from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def of(cls, session: Session, method: str = "by hand") -> Report:
        """Draw up the report of a session that was stepped by hand.

        Example:
            >>> from padecast import forecasters, policies
            >>> session = Session(policies.Plan("C."), forecasters.Reuse(), total=2)
            >>> for i in range(2):
            ...     _ = session.step(torch.zeros(1, 4), index=i, compute=lambda: torch.ones(1, 4))
            >>> Report.of(session).plan
            'C.'
        """
        return report_of([session], method)

    @property
    def computed(self) -> int:
        """Number of computed steps (NFE)."""
        return sum(step.computed for step in self.steps)

    @property
    def forecast(self) -> int:
        """Number of forecast steps."""
        return len(self.steps) - self.computed

    @property
    def seconds(self) -> float:
        """Denoiser time of the whole run."""
        return sum(step.seconds for step in self.steps)

    @property
    def seconds_computed(self) -> float:
        """Denoiser time of the computed steps."""
        return sum(step.seconds for step in self.steps if step.computed)

    @property
    def seconds_forecast(self) -> float:
        """Denoiser time of the forecast steps."""
        return self.seconds - self.seconds_computed

    @property
    def ideal(self) -> float:
        """Speedup if a forecast cost nothing: steps / NFE."""
        return len(self.steps) / self.computed if self.computed else 1.0

    @property
    def speedup(self) -> float:
        """Denoiser speedup over computing every step at this run's own median time of a computed step."""
        return len(self.steps) * self._typical(True) / self.seconds if self.seconds else 1.0

    @property
    def notes(self) -> dict[str, str]:
        """Steps that did not go as decided: ``step 3, cond`` and why."""
        return {f"step {s.index}, {branch}": NOTES[note] for s in self.steps for branch, note in s.notes.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings, for JSON; a number that is not finite becomes ``None``."""
        names = ("computed", "forecast", "seconds", "seconds_computed", "seconds_forecast", "ideal", "speedup")
        plain: dict[str, Any] = finite({**asdict(self), **{name: getattr(self, name) for name in names}})
        return plain

    def to_json(self, indent: int | None = 2) -> str:
        """Return :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def __str__(self) -> str:
        if not self.steps and not self.unplaced:
            lines = [f"nothing was done in this run: {remark}" for remark in self.remarks]
            return "\n".join(lines) or "no step was run yet with this attachment"
        lines = [
            f"{len(self.steps)} steps, {self.computed} computed, {self.forecast} forecast: {self.plan.strip()}",
            *self._stages(),
            self._times(),
            f"history {size(self.history_bytes)}, branches: {', '.join(self.branches) or 'none'}, "
            f"method: {self.method}",
        ]
        if self.unplaced:
            lines.append(f"note: {self.unplaced} calls: computed because their place in the schedule is unknown")
        if measured := self._ranges():
            lines.append(measured)
        lines += [f"note: {where}: {why}" for where, why in self.notes.items()]
        lines += [f"note: {remark}" for remark in self.remarks]
        if self.offers:
            offer = f"searched plans of this model at {len(self.plan)} steps are published: {', '.join(self.offers)}"
            lines.append(f"note: {offer}; see padecast methods published")
        return "\n".join(lines)

    def __repr__(self) -> str:
        done = f"{len(self.steps)} steps, {self.computed} computed" if self.steps else "no step was run yet"
        return f"<Report of {self.method}: {done}{': ' if self.plan.strip() else ''}{self.plan.strip()}>"

    def _repr_html_(self) -> str:
        return block(f"Report of {self.method}", self.plan, str(self).splitlines())

    def details(self) -> str:
        """Return a table of all steps, and what its columns mean; ``str`` of the report is the short form.

        Example:
            >>> steps = (StepReport(0, True, 0.2), StepReport(1, False, 0.01, gain=1.0))
            >>> print(Report(steps, "C.", 0, (), "fora").details())
            step           seconds  stability  disagreement   gain  weight sum  notes
               0  computed   0.200          -             -      -           -
               1  forecast   0.010          -             -   1.00           -
            ...
        """
        return "\n".join(table(self.steps)) if self.steps else str(self)

    def _stages(self) -> list[str]:
        """Write how many evaluations there were, where steps have several."""
        total, computed = (sum(getattr(step, name) for step in self.steps) for name in ("stages", "stages_computed"))
        return [f"{total} evaluations of the sampler, {computed} computed"] if total > len(self.steps) else []

    def _times(self) -> str:
        """Write the times that were taken, and the speedup where something was forecast."""
        gain = f"{self.speedup:.2f}x of {self.ideal:.2f}x ideal"
        if not self.seconds:
            return f"no times were taken; {self.ideal:.2f}x at best" if self.forecast else "no times were taken"
        kinds = ((self.computed, True, "computed"), (self.forecast, False, "forecast"))
        each = ", ".join(f"{word} {self._typical(kind):.3f} s a step" for count, kind, word in kinds if count)
        return f"denoiser {self.seconds:.3f} s ({each})" + (f", {gain}" if self.computed and self.forecast else "")

    def _ranges(self) -> str:
        """Write the ranges of what was measured at the steps."""
        parts = []
        for name in ("stability", "disagreement", "gain"):
            values = [value for step in self.steps if (value := getattr(step, name)) is not None]
            if values:
                parts.append(f"{name} {min(values):.2f} to {max(values):.2f}")
        return ", ".join(parts)

    def _typical(self, computed: bool) -> float:
        times = [step.seconds for step in self.steps if step.computed == computed]
        return median(times) if times else 0.0


def report_of(
    sessions: Iterable[Session], method: str, offers: tuple[str, ...] = (), remarks: tuple[str, ...] = ()
) -> Report:
    """Draw up the report of the sessions of one run (one per model). Reads tensors, so it waits for the GPU.

    Args:
        sessions: Of the run.
        method: What forecast it.
        offers: Methods that follow published plans of its model.
        remarks: What the method could not know of the run.
    """
    sessions = list(sessions)
    records = sorted((record for s in sessions for record in s.records), key=lambda record: record.at.index)
    total = max((s.total for s in sessions), default=0)
    letters = [" "] * total
    for record in records:
        letters[record.at.index] = "C" if record.computed else "."
    stages = frozenset[str]().union(*(s.stage_names for s in sessions))
    branches = dict.fromkeys(branch for record in records for branch in record.geometry if branch not in stages)
    steps = tuple(_step(record) for record in records)
    facts = filter(None, (describe_imbalance(s.forecaster, s.records) for s in sessions))
    remarks = (*remarks, *(remark for s in sessions for remark in s.remarks), *facts)
    if total <= FEW and (count := sum(not step.computed for step in steps)):
        remarks += (f"a schedule of {total} steps has none to spare, and {count} were forecast: leave padecast off",)
    size, unplaced = sum(s.peak_bytes for s in sessions), sum(s.unplaced for s in sessions)
    return Report(steps, "".join(letters).rstrip(), size, tuple(branches), method, unplaced, offers, remarks)


def size(count: int) -> str:
    """Write a number of bytes for people.

    Example:
        >>> size(25 * 2**20)
        '25.0 MiB'
    """
    power = min(int(math.log(count, 1024)), 4) if count > 0 else 0
    return f"{count / 1024**power:.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}" if power else f"{count} B"


def _step(record: Record) -> StepReport:
    measured = {b: g for b, g in record.geometry.items() if g.gram is not None}
    stable = [g.newest(3).stability() for g in measured.values() if g.gram is not None and g.gram.shape[1] >= 3]
    apart = [
        geometry.distance(record.weights[b], unit(len(geometry), 0))
        for b, geometry in measured.items()
        if b in record.weights and _covers(geometry)
    ]
    weights = [(w if w.ndim == 2 else w[None]).cpu() for w in record.weights.values()]
    return StepReport(
        index=record.at.index,
        computed=record.computed,
        seconds=sum(reading() for reading in record.seconds),
        stability=float(_sound(stable).min()) if stable else None,
        disagreement=float(_sound(apart).square().mean().sqrt()) if apart else None,
        gain=_mean([w.norm(dim=1) for w in weights]),
        weight_sum=_mean([w.sum(dim=1) for w in weights]),
        notes=dict(record.notes),
        stages=max(len(record.stages), 1),
        stages_computed=sum(record.stages.values()) if record.stages else int(record.computed),
    )


def _covers(geometry: Geometry) -> bool:
    return geometry.gram is not None and geometry.gram.shape[1] == len(geometry)


def _mean(values: list[Tensor]) -> float | None:
    return float(_sound(values).mean()) if values else None


def _sound(values: list[Tensor]) -> Tensor:
    """Return the values of the samples that are finite, or of all if none is."""
    joined = torch.cat(values)
    finite = joined[joined.isfinite()]
    return finite if len(finite) else joined


def finite(value: Any) -> Any:
    """Replace numbers that JSON cannot write by ``None``, in nested lists and dictionaries.

    Example:
        >>> finite({"a": [1.0, float("inf")], "b": float("nan")})
        {'a': [1.0, None], 'b': None}
    """
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
