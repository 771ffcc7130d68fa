"""Tables of an experiment file become dataclasses, and errors name the key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from padecast._errors import InvalidOption, PadecastError, unknown
from padecast.files import line
from padecast.lab._numbers import numbers

Table = TypeVar("Table")
Numbers = tuple[int, ...]
"""Whole numbers, written as a list or as ranges: ``"0-3,8"``."""


def of_table(kind: type[Table], table: Any, where: str) -> Table:
    """Build a dataclass from a table of a file, naming a wrong key.

    Args:
        kind: The dataclass; its fields are the keys.
        table: What the file has.
        where: The table's place, for messages.

    Raises:
        InvalidOption: If a key is missing, or a value has another type.
        UnknownName: If a key is unknown.

    Example:
        >>> from padecast.lab.experiment import Setting
        >>> of_table(Setting, {"name": "hard", "shift": 3}, "settings[0]").shift
        3.0
        >>> of_table(Setting, {"name": "hard", "step": 3}, "settings[0]")
        Traceback (most recent call last):
            ...
        padecast._errors.UnknownName: unknown key of settings[0] 'step'; the nearest is 'steps'.
        Known: arguments, classes, guidance, name, pipelines, prompts, shift, steps
    """
    if not isinstance(table, dict):
        raise InvalidOption(f"{where}={_short(table)} cannot be read: expected a table.")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for key in table:
        if key not in fields:
            raise unknown(f"key of {where}", line(key, 60), fields)
    for key, f in fields.items():
        if key not in table and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise InvalidOption(f"{where} has no {key}, which has no default.\nIt takes: {', '.join(fields)}")
    return kind(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in table.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    kinds = get_args(hint)
    if hint == Numbers:
        return numbers([value] if isinstance(value, str) else map(str, _list(value, where)), where)
    if kinds and kinds[-1] is Ellipsis:
        return tuple(_value(kinds[0], item, f"{where}[{place}]") for place, item in enumerate(_list(value, where)))
    if dataclasses.is_dataclass(hint):
        return of_table(hint, value, where)  # type: ignore[arg-type]
    for kind in (dict,) if get_origin(hint) is dict else kinds or (hint,):
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is kind:
            return value
    raise InvalidOption(f"{where}={_short(value)} cannot be read: expected {_words(hint)}.")


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidOption(f"{where}={_short(value)} cannot be read: expected a list, such as [{_short(value)}].")
    return value


def _short(value: Any) -> str:
    return line(repr(value), 80)


def _words(hint: Any) -> str:
    words = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
    named = str(getattr(hint, "__name__", hint)).split(" | ")[0]
    return words.get(named, "a table")


@contextmanager
def of_key(key: str) -> Iterator[None]:
    """Say which key an error belongs to."""
    try:
        yield
    except PadecastError as error:
        raise type(error)(f"{key}: {error}") from error
