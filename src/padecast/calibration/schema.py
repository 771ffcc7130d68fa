"""What a calibration file must hold, checked when it is read, so that damage is named and not met in a run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from padecast import forecasters
from padecast._errors import CalibrationMismatch, PadecastError
from padecast.files import line
from padecast.files.fields import (
    Refuse,
    check_count,
    check_fields,
    check_number,
    check_numbers,
    check_rows,
    check_texts,
    check_whole,
    whole_of,
)
from padecast.forecasters import Refined

LONGEST = 10_000
"""Steps of a run, at most."""
SEEDS = 100_000
BRANCHES = 64
REMEMBERED = 64
"""Residuals that a forecaster of a file may want remembered; as many as the run has steps, if it has more."""
LARGEST = 2**63

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
    "effort": str,
    "objective": str,
    "price": (int, float),
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
    "retrace": bool,
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
RANKED: dict[str, type | tuple[type, ...]] = {
    "plan": str,
    "forecaster": str,
    "retrace": bool,
    "psnr": (int, float),
    "samples": int,
}


def renew(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of schema 1 as one of schema 2: nothing was gone through again then, nor a price said."""
    plans = document.get("plans")
    for entry in plans.values() if isinstance(plans, dict) else ():
        ranking = entry.get("ranking") if isinstance(entry, dict) else None
        for part in [entry, *(ranking if isinstance(ranking, list) else [])]:
            if isinstance(part, dict):
                part["retrace"] = False
    return {**document, "effort": "", "objective": "mean", "price": 0}


def validate(path: Path, document: dict[str, Any]) -> None:
    """Check a document of the present schema.

    Raises:
        CalibrationMismatch: Naming what is missing or wrong.
    """
    refuse = partial(refuse_file, path)
    check_fields(refuse, "", document, FIELDS)
    for part, fields in PARTS.items():
        check_fields(refuse, f"{part}.", document[part], fields)
    steps, statistic = document["schedule"]["steps"], document["statistic"]
    check_whole(refuse, "schedule.steps", steps, 1, LONGEST)
    check_grid(refuse, document["schedule"], steps)
    if document["guidance"] is not None:
        check_number(refuse, "guidance", document["guidance"])
    check_number(refuse, "price", document["price"], 0)
    for name in ("seeds", "held_out"):
        _check_seeds(refuse, name, document[name])
    check_whole(refuse, "sketch.size", document["sketch"]["size"], 0, LARGEST)
    check_statistic(refuse, statistic, steps)
    if not document["plans"]:
        raise refuse_file(path, "it has no plans")
    for computed, entry in document["plans"].items():
        where = f"plans.{line(computed, 20)}"
        _check_plan(refuse, where, computed, entry, steps, len(statistic["branches"]))
        _check_measured(refuse, where, entry, len(document["seeds"]))


def _check_seeds(refuse: Refuse, where: str, seeds: list[Any]) -> None:
    if len(seeds) > SEEDS:
        raise refuse(f"{where} has {len(seeds)} values, and {SEEDS} are possible")
    for place, seed in enumerate(seeds):
        check_whole(refuse, f"{where}[{place}]", seed, -LARGEST, 2 * LARGEST)
    if len(set(seeds)) < len(seeds):
        raise refuse(f"{where} has a seed twice")


def check_grid(refuse: Refuse, schedule: dict[str, Any], steps: int) -> None:
    """Check the numbers of a sampler's grid, whose fields are there."""
    for name in ("timesteps", "strides"):
        check_numbers(refuse, f"schedule.{name}", schedule[name], steps)
    check_numbers(refuse, "schedule.sigmas", schedule["sigmas"])
    if not isinstance(schedule.get("settings", {}), dict):
        raise refuse(f"schedule.settings is {type(schedule['settings']).__name__}")


def check_statistic(refuse: Refuse, statistic: dict[str, Any], steps: int) -> None:
    """Check the numbers of a statistic, whose fields are there."""
    check_texts(refuse, "statistic.branches", statistic["branches"], least=1, most=BRANCHES)
    branches = len(statistic["branches"])
    if len(set(statistic["branches"])) < branches:
        raise refuse("statistic.branches has a name twice")
    check_whole(refuse, "statistic.samples", statistic["samples"], 1, 2**31)
    check_numbers(refuse, "statistic.shares", statistic["shares"], branches)
    check_rows(refuse, "statistic.joint", statistic["joint"], steps * branches, steps * branches)
    check_rows(refuse, "statistic.output", statistic["output"], steps, steps)


def _check_plan(refuse: Refuse, where: str, computed: str, entry: Any, steps: int, branches: int) -> None:
    check_fields(refuse, f"{where}.", entry, PLAN)
    plan = entry["plan"]
    if len(plan) != steps or set(plan) - {"C", "."} or str(plan.count("C")) != computed or plan[:1] != "C":
        count = line(computed, 20)
        raise refuse(f"{where}.plan is {line(plan, 80)!r}, not {count} of {steps} steps, the first computed")
    try:
        forecaster = forecasters.REGISTRY.make(entry["forecaster"])
        places = _check_offsets(refuse, where, entry["offsets"], plan, branches)
        window = (Refined(forecaster, ((0, places),)) if places else forecaster).window
    except CalibrationMismatch:
        raise
    except PadecastError as error:
        raise refuse(f"{where}.forecaster: {error}") from error
    if window > max(steps, REMEMBERED):
        raise refuse(f"{where}.forecaster remembers {window} residuals, and {max(steps, REMEMBERED)} are possible")


def _check_offsets(refuse: Refuse, where: str, offsets: dict[str, Any], plan: str, branches: int) -> Any:
    """Check offsets, and return the rows of one stretch."""
    taken: set[int] = set()
    rows: Any = ()
    for stretch, rows in offsets.items():
        name, places = line(stretch, 40), steps_of(stretch)
        if not places or places[-1] >= len(plan) or "C" in plan[places[0] : places[-1] + 1]:
            raise refuse(f"{where}.offsets are given for steps {name}, which are not all forecast")
        if taken & set(places):
            raise refuse(f"{where}.offsets are given twice for steps of {name}")
        taken |= set(places)
        check_count(refuse, f"{where}.offsets.{name}", rows, branches)
        for row in rows:
            check_numbers(refuse, f"a row of {where}.offsets.{name}", row)
            if not row:
                raise refuse(f"a row of {where}.offsets.{name} is empty")
    return tuple(map(tuple, rows))


def _check_measured(refuse: Refuse, where: str, entry: dict[str, Any], seeds: int) -> None:
    """Check what a plan measured, and what it was chosen among."""
    check_fields(refuse, f"{where}.psnr.", entry["psnr"], PSNR)
    for name in ("mean", "worst", "held_out"):
        check_number(refuse, f"{where}.psnr.{name}", entry["psnr"][name])
    samples = entry["psnr"]["samples"]
    if not samples:
        raise refuse(f"{where}.psnr.samples is empty")
    for seed, value in samples.items():
        if whole_of(seed) is None:
            raise refuse(f"{where}.psnr.samples has {line(seed, 40)!r} for a seed")
        check_number(refuse, f"{where}.psnr.samples.{seed}", value)
    for place, row in enumerate(entry["ranking"]):
        check_fields(refuse, f"{where}.ranking[{place}].", row, RANKED)
        check_number(refuse, f"{where}.ranking[{place}].psnr", row["psnr"])
        check_whole(refuse, f"{where}.ranking[{place}].samples", row["samples"], 1, max(seeds, 1))


def steps_of(stretch: str) -> range:
    """Return the steps of a stretch as it is written; none if it is not.

    Example:
        >>> list(steps_of("5-7"))
        [5, 6, 7]
    """
    first, _, last = stretch.partition("-")
    begin, end = whole_of(first), whole_of(last)
    return range(0) if begin is None or end is None or begin < 0 else range(begin, end + 1)


def refuse_file(path: Path, what: str) -> CalibrationMismatch:
    """Build the error for a file that cannot be used."""
    return CalibrationMismatch(
        f"{line(path, 400)} is not a calibration that can be used: {what}.\n"
        "Usual cause: another file, or one that was edited or cut off. Calibrate anew: padecast calibrate PIPELINE"
    )
