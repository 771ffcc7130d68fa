"""Whether a run is one that a calibration was made for: the same model, sampler, schedule and guidance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from padecast.session.grid import Grid
from padecast.targets.pipelines import fingerprint, guidance_of, is_bare, models_of

TOLERANCE = 1e-3
"""How far noise levels of one library may lie apart, as a share of the largest."""
APART = 3e-3
"""How far those of two libraries may, as shares of noise: each writes the end of a schedule in its way."""
GRID = re.compile(
    r"shift|seq_len|sigma|spacing|offset|interpolation|num_train_timesteps|lambda_min|timestep_type|rescale"
)
"""Settings of schedulers that shape the grid alone, which is compared itself, by parts of their names."""


@dataclass(frozen=True)
class Schedule:
    """The sampler's grid that plans and weights belong to.

    Args:
        scheduler: Class of the scheduler.
        timesteps: Its timesteps.
        sigmas: Its noise levels, one more than steps; empty where it has none.
        strides: ``|sigma_i - sigma_{i+1}|`` as shares of the whole way.
        settings: What else the scheduler's configuration says of the run; nothing in files of before.
    """

    scheduler: str
    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]
    strides: tuple[float, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, scheduler: Any, strides: Sequence[float]) -> Schedule:
        """Read the grid of a scheduler that has run."""
        return cls(
            type(scheduler).__name__,
            _numbers(scheduler.timesteps),
            _numbers(getattr(scheduler, "sigmas", ())),
            tuple(strides),
            settings_of(scheduler),
        )

    @classmethod
    def read(cls, document: dict[str, Any]) -> Schedule:
        """Read one from plain data."""
        timesteps, sigmas, strides = (tuple(document[name]) for name in ("timesteps", "sigmas", "strides"))
        return cls(document["scheduler"], timesteps, sigmas, strides, document.get("settings", {}))

    @property
    def steps(self) -> int:
        """Length of the grid."""
        return len(self.timesteps)


@dataclass(frozen=True)
class Fit:
    """Whether a calibration serves a run without a pipeline, and in what it does not.

    Args:
        differences: Everything in which the two differ, in words; nothing if it serves.
        largest: How far the noise levels lie apart at most; ``None`` where they cannot be compared.
        branches: The run's branches, and the names by which the calibration knows them.

    Example:
        >>> fit = Fit(("noise levels: 0.142 apart at place 19",), 0.142)
        >>> bool(fit), print(fit)
        noise levels: 0.142 apart at place 19
        (False, None)
    """

    differences: tuple[str, ...] = ()
    largest: float | None = None
    branches: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return not self.differences

    def __str__(self) -> str:
        if self.differences:
            return "\n".join(self.differences)
        return "made for such runs" + ("" if self.largest is None else f": noise levels {self.largest:.2g} apart")


def compare_levels(sigmas: Iterable[float] | Tensor | Grid, schedule: Schedule) -> tuple[float | None, list[str]]:
    """Return how far noise levels lie apart at most, as shares of noise, and what is to be said if that is too far.

    Args:
        sigmas: Of a run, its end included.
        schedule: Of a calibration.
    """
    actual = sigmas.sigmas if isinstance(sigmas, Grid) else _numbers(sigmas)
    reference = schedule.sigmas
    if not reference:
        return None, [f"noise levels: the calibration has none, since its {schedule.scheduler} tells none"]
    if len(actual) != len(reference):
        return None, [f"steps: this run has {len(actual) - 1}, the calibration {len(reference) - 1}"]
    is_ratio = max(map(abs, reference)) > 1.0001  # noise over signal, of which the largest say little
    gaps = [abs(a / (1 + a) - b / (1 + b)) if is_ratio else abs(a - b) for a, b in zip(actual, reference, strict=True)]
    largest = max(gaps)
    if largest <= APART:
        return largest, []
    worst = gaps.index(largest)
    there = f"place {worst}, where this run has {actual[worst]:.4g} and the calibration {reference[worst]:.4g}"
    unit = ", as shares of noise" if is_ratio else ""
    return largest, [f"noise levels: {largest:.3g} apart at {there}; {APART:g} is allowed{unit}"]


def match_branches(names: Sequence[str], calibrated: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return by which names a calibration knows the branches of a run, and what is to be said if it does not.

    Branches that one of the two numbers, as a pipeline does that does not name its calls, are matched in their order.

    Args:
        names: Of the run, in the order in which they are called.
        calibrated: Of the calibration.

    Example:
        >>> match_branches(("cond", "uncond"), ("call 1", "call 2"))
        ({'cond': 'call 1', 'uncond': 'call 2'}, [])
    """
    ours, theirs = list(dict.fromkeys(names)), list(calibrated)
    if any(" part " in name for name in theirs):  # conditionings that share a batch: whatever the call is named
        theirs = list(dict.fromkeys(name.rpartition(" part ")[0] for name in theirs))
    if set(ours) <= set(theirs):
        return {name: name for name in ours}, []
    if len(ours) == len(theirs) and (len(ours) == 1 or any(all(map(CALL.fullmatch, each)) for each in (ours, theirs))):
        return dict(zip(ours, theirs, strict=True)), []
    return {}, [f"branches: this run has {', '.join(ours)}, the calibration {', '.join(calibrated)}"]


CALL = re.compile(r"call \d+")


def differences(
    pipe: Any, model: nn.Module, total: int | None, made_for: dict[str, str], schedule: Schedule, guidance: float | None
) -> list[str]:
    """Name everything in which a run differs from the one that a calibration was made for.

    Args:
        pipe: The pipeline that runs, or a bare transformer, of which only the model and the length are compared.
        model: Its transformer.
        total: Steps of the run; ``None`` before one, when the model alone is compared.
        made_for: ``class`` and ``config`` of the model.
        schedule: The calibrated grid.
        guidance: The calibrated guidance scale, if it is known.
    """
    rows = compare_models(model, made_for)
    if total is not None:
        rows.append(("steps", total, schedule.steps))
        scheduler = getattr(pipe, "scheduler", None)
        if scheduler is not None and not is_bare(pipe):
            rows.append(("scheduler", type(scheduler).__name__, schedule.scheduler))
            rows += _settings(settings_of(scheduler), schedule.settings)
            rows.append(("first step", getattr(scheduler, "begin_index", None) or 0, 0))
            rows.append(("transformers", len(models_of(pipe)), 1))
            rows += _grids("noise levels", _numbers(getattr(scheduler, "sigmas", ())), schedule.sigmas)
            rows += _grids("timesteps", _numbers(scheduler.timesteps), schedule.timesteps)
            rows += compare_guidance(guidance_of(pipe), guidance)
    return describe(rows)


Row = tuple[str, Any, Any]


def compare_models(model: nn.Module, made_for: Mapping[str, str]) -> list[Row]:
    """Compare class and configuration of a model with those that a calibration was made for."""
    return [
        ("model", type(model).__name__, made_for["class"]),
        ("configuration", fingerprint(model), made_for["config"]),
    ]


def describe(rows: Sequence[Row]) -> list[str]:
    """Write what differs."""
    return [
        f"{what}: this run has {actual}, the calibration {reference}"
        for what, actual, reference in rows
        if actual != reference
    ]


def settings_of(scheduler: Any) -> dict[str, Any]:
    """Return what a scheduler's configuration says of a run besides its grid: order, noise, clipping, kind of output.

    Example:
        >>> from diffusers import FlowMatchEulerDiscreteScheduler
        >>> settings_of(FlowMatchEulerDiscreteScheduler(shift=3.0))
        {'stochastic_sampling': False}
    """
    config = dict(getattr(scheduler, "config", {}))
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in config.items()
        if isinstance(value, (bool, int, float, str, list, tuple))
    }
    return {name: plain[name] for name in sorted(plain) if not name.startswith("_") and not GRID.search(name)}


def _settings(actual: Mapping[str, Any], reference: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Compare two configurations in what both name; of one that is not known, that it draws no noise."""
    if reference:
        return [(f"scheduler's {name}", actual[name], reference[name]) for name in sorted({*actual} & {*reference})]
    noisy = {name: value for name, value in actual.items() if value is True and name == "stochastic_sampling"}
    noisy |= {
        name: value for name, value in actual.items() if name == "algorithm_type" and str(value).startswith("sde")
    }
    return [(f"scheduler's {name}", repr(value), "no noise at every step") for name, value in noisy.items()]


def _grids(what: str, actual: tuple[float, ...], reference: tuple[float, ...]) -> list[tuple[str, Any, Any]]:
    """Compare two grids of one length to a thousandth of their range."""
    if len(actual) != len(reference) or not reference:
        return []
    span = TOLERANCE * max(max(map(abs, reference)), 1e-12)
    worst = max(range(len(reference)), key=lambda i: abs(actual[i] - reference[i]))
    same = abs(actual[worst] - reference[worst]) <= span
    return [] if same else [(f"{what}, place {worst}", f"{actual[worst]:.6g}", f"{reference[worst]:.6g}")]


def _numbers(values: Any) -> tuple[float, ...]:
    plain = values.tolist() if isinstance(values, Tensor) else list(values)
    return tuple(float(f"{v:.9g}") for v in plain)


def compare_guidance(actual: float | None, reference: float | None) -> list[Row]:
    """Compare guidance scales to a thousandth, where both are known."""
    if actual is None or reference is None or abs(actual - reference) <= TOLERANCE * max(1.0, abs(reference)):
        return []
    return [("guidance", f"{actual:g}", f"{reference:g}")]
