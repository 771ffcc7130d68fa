"""The calibration file: one JSON document, validated when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from padecast import files
from padecast._errors import CalibrationMismatch, DamagedFile, InvalidOption, MissingFile
from padecast.calibration.schema import refuse_file, renew, validate
from padecast.files.bounds import Excess, check_values

KIND = "padecast calibration"
SCHEMA = 2

BOUNDS = files.Bounds()


class MissingCalibration(CalibrationMismatch, MissingFile):
    """A calibration that is not there: no run can match it, and there is no file of that name."""


def write(path: Path, document: dict[str, Any]) -> Path:
    """Write a document so that it is whole or as it was before.

    Raises:
        InvalidOption: If a number in it is not finite, so that nobody could read it again.
        UnwritableFile: If the disk is full, or the file cannot be written for another reason.
    """
    text = readable(document)
    try:
        check_values(json.loads(text), BOUNDS)
    except Excess as error:
        raise InvalidOption(
            f"{files.line(path, 400)} was not written: {error}.\n"
            "Usual cause: a model that returned NaN or infinity on a calibration sample. Leave that seed out, or "
            "calibrate in another dtype."
        ) from error
    return files.write(path, text)


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
    """Read and validate.

    Raises:
        MissingCalibration: If there is no such file; the message names the nearest.
        CalibrationMismatch: If it is no calibration, is damaged, or is of a later schema.
    """
    document = _open(path)
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise refuse_file(path, f'it has no "kind": "{KIND}"')
    schema = document.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise refuse_file(path, f"its schema is {files.line(repr(schema), 60)}")
    if schema > SCHEMA:
        raise CalibrationMismatch(
            f"the calibration {files.line(path, 400)} has schema {schema}; this release of padecast reads up to "
            f"{SCHEMA}.\nUsual cause: it was made by a later release. Upgrade: pip install -U padecast"
        )
    document = renew(document) if schema == 1 else document
    validate(path, document)
    checked: dict[str, Any] = document
    return checked


def _open(path: Path) -> Any:
    try:
        return files.read_json(path, BOUNDS)
    except MissingFile as error:
        raise MissingCalibration(
            f"the calibration {files.line(path, 400)} cannot be read: {error}\n"
            "Make one: padecast calibrate PIPELINE --out FILE, or take one that ships with a demo model: "
            'padecast.zoo.calibration("digits", "hard")'
        ) from error
    except DamagedFile as error:
        raise refuse_file(path, error.fact) from error
