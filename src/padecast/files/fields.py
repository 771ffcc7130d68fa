"""What a document must hold: fields of a type, lists of a length, numbers in a range; else an error names the place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from padecast._errors import PadecastError
from padecast.files.text import line

Refuse = Callable[[str], PadecastError]
"""Builds the error from what is wrong, such as ``"schedule.steps is text"``."""
Kinds = type | tuple[type, ...]
COMMON = 1e38
"""Numbers are smaller than this, so that sums and squares of them stay finite."""


def check_fields(refuse: Refuse, where: str, part: Any, fields: Mapping[str, Kinds]) -> None:
    """Raise unless a table has fields of these types.

    Args:
        refuse: Builds the error.
        where: The table's place with a dot at its end, or nothing.
        part: The table.
        fields: Types by name; a truth value is no whole number.
    """
    for name, kind in fields.items():
        if not isinstance(part, dict) or name not in part:
            raise refuse(f"{where}{name} is missing")
        plain = not isinstance(part[name], bool) or kind is bool or (isinstance(kind, tuple) and bool in kind)
        if not isinstance(part[name], kind) or not plain:
            raise refuse(f"{where}{name} is {type(part[name]).__name__}")


def check_count(refuse: Refuse, where: str, values: Any, count: int) -> None:
    """Raise unless this is a list of so many values."""
    if not isinstance(values, list) or len(values) != count:
        raise refuse(f"{where} has {len(values) if isinstance(values, list) else 'no'} values, not {count}")


def check_number(refuse: Refuse, where: str, value: Any, low: float = -COMMON, high: float = COMMON) -> None:
    """Raise unless this is a finite number in a range."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise refuse(f"{where} holds {line(repr(value), 60)}, which is not a finite number")
    if not low <= value <= high:
        raise refuse(f"{where} is {value}, where {low:g} to {high:g} are possible")


def check_whole(refuse: Refuse, where: str, value: Any, low: int, high: int) -> None:
    """Raise unless this is a whole number in a range."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse(f"{where} is {line(repr(value), 60)}, which is no whole number")
    if not low <= value <= high:
        raise refuse(f"{where} is {value}, where {low} to {high} are possible")


def check_numbers(
    refuse: Refuse, where: str, values: Any, count: int | None = None, low: float = -COMMON, high: float = COMMON
) -> None:
    """Raise unless this is a list of numbers in a range, so many if that is given."""
    size = len(values) if isinstance(values, list) else 0
    check_count(refuse, where, values, size if count is None else count)
    for value in values:
        check_number(refuse, where, value, low, high)


def check_rows(refuse: Refuse, where: str, rows: Any, high: int, wide: int, low: float = -COMMON) -> None:
    """Raise unless this is a matrix of numbers."""
    check_count(refuse, where, rows, high)
    for row in rows:
        check_numbers(refuse, f"a row of {where}", row, wide, low)


def check_texts(refuse: Refuse, where: str, values: Any, *, least: int = 0, most: int = 100_000) -> None:
    """Raise unless this is a list of texts."""
    if not isinstance(values, list) or not least <= len(values) <= most:
        raise refuse(f"{where} is not a list of {least} to {most} texts")
    for place, value in enumerate(values):
        if not isinstance(value, str):
            raise refuse(f"{where}[{place}] is {type(value).__name__}, which is no text")


def whole_of(text: str) -> int | None:
    """Return the whole number that a key stands for, written as it is usually; ``None`` for anything else.

    Example:
        >>> whole_of("12"), whole_of("-3"), whole_of("007"), whole_of("²")
        (12, -3, None, None)
    """
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 20:
        return None
    return int(text) if str(int(text)) == text else None
