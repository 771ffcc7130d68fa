"""The calibration file: one JSON document, validated when it is read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from padecast._errors import CalibrationMismatch
from padecast.calibration.schema import damaged, validate

KIND = "padecast calibration"
SCHEMA = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""What turns a document of one schema into one of the next."""


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
        raise damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise damaged(path, f'it has no "kind": "{KIND}"')
    schema = document.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise damaged(path, f"its schema is {schema!r}")
    if schema > SCHEMA:
        raise CalibrationMismatch(
            f"the calibration {path} has schema {schema}; this release of padecast reads up to {SCHEMA}.\n"
            "Usual cause: it was made by a later release. Upgrade: pip install -U padecast"
        )
    for version in range(schema, SCHEMA):
        document = UPGRADES[version](document)
    validate(path, document)
    checked: dict[str, Any] = document
    return checked
