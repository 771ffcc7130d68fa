"""What a calibration file must hold, checked when it is read, so that damage is named and not met in a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from padecast import forecasters
from padecast._errors import CalibrationMismatch, PadecastError

FIELDS: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "schema": int,
    "name": str,
    "model": dict,
    "schedule": dict,
    "guidance": (int, float, type(None)),
    "dtype": str,
    "seeds": list,
    "held_out": list,
    "plans": dict,
    "sketch": dict,
    "statistic": dict,
    "provenance": dict,
}
PARTS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "model": {"class": str, "config": str, "pipeline": str, "span": str},
    "schedule": {"scheduler": str, "steps": int, "timesteps": list, "sigmas": list, "strides": list},
    "sketch": {"size": int, "seed": int},
    "statistic": {"branches": list, "samples": int, "joint": list, "output": list, "shares": list},
}
PLAN: dict[str, type | tuple[type, ...]] = {
    "plan": str,
    "forecaster": str,
    "offsets": dict,
    "psnr": dict,
    "ranking": list,
}
PSNR: dict[str, type | tuple[type, ...]] = {
    "mean": (int, float),
    "worst": (int, float),
    "held_out": (int, float),
    "samples": dict,
}
RANKED: dict[str, type | tuple[type, ...]] = {"plan": str, "forecaster": str, "psnr": (int, float), "samples": int}


def validate(path: Path, document: dict[str, Any]) -> None:
    """Check a document of the present schema.

    Raises:
        CalibrationMismatch: Naming what is missing or wrong.
    """
    _has(path, "", document, FIELDS)
    for part, fields in PARTS.items():
        _has(path, f"{part}.", document[part], fields)
    steps, statistic = document["schedule"]["steps"], document["statistic"]
    for name in ("timesteps", "strides"):
        _numbers(path, f"schedule.{name}", document["schedule"][name], steps)
    _numbers(path, "schedule.sigmas", document["schedule"]["sigmas"])
    _statistic(path, statistic, steps)
    if not document["plans"]:
        raise damaged(path, "it has no plans")
    for budget, entry in document["plans"].items():
        _plan(path, f"plans.{budget}", budget, entry, steps, len(statistic["branches"]))


def _statistic(path: Path, statistic: dict[str, Any], steps: int) -> None:
    if statistic["samples"] < 1:
        raise damaged(path, f"statistic.samples is {statistic['samples']}")
    branches = len(statistic["branches"])
    _numbers(path, "statistic.shares", statistic["shares"], branches)
    for name, count in (("joint", steps * branches), ("output", steps)):
        _long(path, f"statistic.{name}", statistic[name], count)
        for row in statistic[name]:
            _numbers(path, f"a row of statistic.{name}", row, count)


def _plan(path: Path, where: str, budget: str, entry: Any, steps: int, branches: int) -> None:
    _has(path, f"{where}.", entry, PLAN)
    plan = entry["plan"]
    if len(plan) != steps or set(plan) - {"C", "."} or str(plan.count("C")) != budget or plan[:1] != "C":
        raise damaged(path, f"{where}.plan is {plan!r}, not {budget} of {steps} steps with the first computed")
    try:
        forecasters.REGISTRY.make(entry["forecaster"])
    except PadecastError as error:
        raise damaged(path, f"{where}.forecaster: {error}") from error
    for stretch, rows in entry["offsets"].items():
        places = steps_of(stretch)
        if not places or places[-1] >= steps or "C" in plan[places[0] : places[-1] + 1]:
            raise damaged(path, f"{where}.offsets are given for steps {stretch}, which are not all forecast")
        _long(path, f"{where}.offsets.{stretch}", rows, branches)
        for row in rows:
            _numbers(path, f"a row of {where}.offsets", row)
    _has(path, f"{where}.psnr.", entry["psnr"], PSNR)
    if not entry["psnr"]["samples"]:
        raise damaged(path, f"{where}.psnr.samples is empty")
    _numbers(path, f"{where}.psnr.samples", list(entry["psnr"]["samples"].values()))
    for row in entry["ranking"]:
        _has(path, f"a line of {where}.ranking: ", row, RANKED)


def steps_of(stretch: str) -> range:
    """Return the steps of a stretch as it is written; none if it is not.

    Example:
        >>> list(steps_of("5-7"))
        [5, 6, 7]
    """
    first, dash, last = stretch.partition("-")
    return range(int(first), int(last) + 1) if dash and first.isdigit() and last.isdigit() else range(0)


def _has(path: Path, where: str, part: Any, fields: dict[str, type | tuple[type, ...]]) -> None:
    for name, kind in fields.items():
        if not isinstance(part, dict) or name not in part:
            raise damaged(path, f"{where}{name} is missing")
        if not isinstance(part[name], kind) or isinstance(part[name], bool):
            raise damaged(path, f"{where}{name} is {type(part[name]).__name__}")


def _long(path: Path, where: str, values: Any, count: int) -> None:
    if not isinstance(values, list) or len(values) != count:
        raise damaged(path, f"{where} has {len(values) if isinstance(values, list) else 'no'} values, not {count}")


def _numbers(path: Path, where: str, values: Any, count: int | None = None) -> None:
    own = len(values) if isinstance(values, list) else 0
    _long(path, where, values, own if count is None else count)
    for value in values:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise damaged(path, f"{where} holds {value!r}, which is not a finite number")


def damaged(path: Path, what: str) -> CalibrationMismatch:
    """Build the error for a file that cannot be used."""
    return CalibrationMismatch(
        f"{path} is not a calibration that can be used: {what}.\n"
        "Usual cause: another file, or one that was edited or cut off. Calibrate anew: padecast calibrate PIPELINE"
    )
