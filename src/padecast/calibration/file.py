"""The calibration file: one JSON document, validated when it is read."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from padecast._errors import CalibrationMismatch

KIND = "padecast calibration"
SCHEMA = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""What turns a document of one schema into one of the next."""

FIELDS: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "schema": int,
    "name": str,
    "model": dict,
    "schedule": dict,
    "guidance": (int, float, type(None)),
    "dtype": str,
    "seeds": list,
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


def write(path: Path, document: dict[str, Any]) -> Path:
    """Write a document so that it is whole or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = readable(document)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def readable(document: dict[str, Any]) -> str:
    """Return JSON that a person can read: one line for every list of numbers.

    Example:
        >>> print(readable({"a": [1.0, 2.0], "b": {"c": [[1], [2]]}}), end="")
        {
         "a": [1.0, 2.0],
         "b": {
          "c": [[1], [2]]
         }
        }
    """
    return _lines(document, 0) + "\n"


def _lines(value: Any, depth: int) -> str:
    inner, outer = "\n" + " " * (depth + 1), "\n" + " " * depth
    if isinstance(value, dict) and value and any(isinstance(v, (dict, list)) for v in value.values()):
        rows = (f"{json.dumps(str(k))}: {_lines(v, depth + 1)}" for k, v in value.items())
        return "{" + inner + f",{inner}".join(rows) + outer + "}"
    plain = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value) and len(plain) > WIDTH:
        return "[" + inner + f",{inner}".join(_lines(v, depth + 1) for v in value) + outer + "]"
    return plain


WIDTH = 120


def read(path: Path) -> dict[str, Any]:
    """Read, bring up to the present schema, and validate.

    Raises:
        CalibrationMismatch: If it is no calibration, is damaged, or is of a later schema.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CalibrationMismatch(
            f"the calibration {path} cannot be read: {error.strerror}.\n"
            "Make one: padecast calibrate PIPELINE --out FILE, or take one that ships with a demo model: "
            'padecast.zoo.calibration("digits", "hard")'
        ) from error
    except ValueError as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise _damaged(path, f'it has no "kind": "{KIND}"')
    schema = document.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise _damaged(path, f"its schema is {schema!r}")
    if schema > SCHEMA:
        raise CalibrationMismatch(
            f"the calibration {path} has schema {schema}; this release of padecast reads up to {SCHEMA}.\n"
            "Usual cause: it was made by a later release. Upgrade: pip install -U padecast"
        )
    for version in range(schema, SCHEMA):
        document = UPGRADES[version](document)
    _validate(path, document)
    checked: dict[str, Any] = document
    return checked


def _validate(path: Path, document: dict[str, Any]) -> None:
    _has(path, "", document, FIELDS)
    for part, fields in PARTS.items():
        _has(path, f"{part}.", document[part], fields)
    steps, statistic = document["schedule"]["steps"], document["statistic"]
    for name in ("timesteps", "strides"):
        _size(path, f"schedule.{name}", document["schedule"][name], steps)
    rows = steps * len(statistic["branches"])
    for name, count in (("joint", rows), ("output", steps)):
        _size(path, f"statistic.{name}", statistic[name], count)
        for row in statistic[name]:
            _size(path, f"a row of statistic.{name}", row, count)
    if not document["plans"]:
        raise _damaged(path, "it has no plans")
    for budget, entry in document["plans"].items():
        where = f"plans.{budget}"
        _has(path, f"{where}.", entry, PLAN)
        plan = entry["plan"]
        if len(plan) != steps or set(plan) - {"C", "."} or str(plan.count("C")) != budget or plan[:1] != "C":
            raise _damaged(path, f"{where}.plan is {plan!r}, not {budget} of {steps} steps with the first computed")
        for stretch, offsets in entry["offsets"].items():
            places = steps_of(stretch)
            if not places or places[-1] >= steps or "C" in plan[places[0] : places[-1] + 1]:
                raise _damaged(path, f"{where}.offsets are given for steps {stretch}, which are not all forecast")
            for row in offsets:
                _size(path, f"a row of {where}.offsets", row, len(row))


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
            raise _damaged(path, f"{where}{name} is missing")
        if not isinstance(part[name], kind) or isinstance(part[name], bool):
            raise _damaged(path, f"{where}{name} is {type(part[name]).__name__}")


def _size(path: Path, where: str, values: Any, count: int) -> None:
    if not isinstance(values, list) or len(values) != count:
        raise _damaged(path, f"{where} has {len(values) if isinstance(values, list) else 'no'} values, not {count}")
    if any(isinstance(v, (int, float)) and not math.isfinite(v) for v in values):
        raise _damaged(path, f"{where} is not finite")


def _damaged(path: Path, what: str) -> CalibrationMismatch:
    return CalibrationMismatch(
        f"{path} is not a calibration that can be used: {what}.\n"
        "Usual cause: another file, or one that was edited or cut off. Calibrate anew: padecast calibrate PIPELINE"
    )
