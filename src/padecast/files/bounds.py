"""How large a file, and the numbers and words in it, may be; checked before anything is built from it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from padecast.files.text import line

MIB = 2**20
DIGITS = 40
"""Digits of the longest number that is read; a floating-point number has 17, the largest seed 20."""
LARGEST = 2**64
"""Whole numbers are smaller than this."""
FOREIGN = 8 * MIB
"""Bytes of a file that are not ASCII, at most: text of one wide letter takes four bytes for every other one."""

# In TOML a string ends at the last of three to five quotes, and comments may hold quotes.
TOML_STRINGS = re.compile(
    rb"#[^\n]*|\"\"\"[\s\S]*?\"{3,5}|'''[\s\S]*?'{3,5}|\"[^\"\n]*\"|'[^'\n]*'",
)
DOTTED = re.compile(rb"(?:[A-Za-z0-9_\-]+[ \t]*\.[ \t]*){16}")


class Excess(ValueError):
    """More than is read, or a value that is not; the message is what is said of the file."""


@dataclass(frozen=True)
class Bounds:
    """How much of a file is read.

    Args:
        size: Bytes. Default 16 MiB.
        values: Commas, colons and opening brackets, and quotes: what memory a parsed document takes. Default a million.
        depth: Of nested lists and tables. Default 32.
        text: Characters of a string. Default a million.
    """

    size: int = 16 * MIB
    values: int = 1_000_000
    depth: int = 32
    text: int = MIB


def check_json(data: bytes, bounds: Bounds) -> None:
    """Raise :class:`Excess` unless JSON can be parsed in bounded memory."""
    # Without escaped backslashes and quotes a string ends at the next quote.
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > bounds.values:
        raise Excess(f"it has more than {bounds.values // 2} strings")
    _check_outside(re.sub(rb'"[^"]*"', b"", plain), bounds)


def check_toml(data: bytes, bounds: Bounds) -> None:
    """Raise :class:`Excess` unless TOML can be parsed in bounded memory."""
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') + plain.count(b"'") > bounds.values:
        raise Excess(f"it has more than {bounds.values // 2} strings")
    outside = TOML_STRINGS.sub(
        lambda match: b"" if match[0][:1] == b"#" else b"s" + b"\n" * match[0].count(b"\n"), plain
    )
    if match := DOTTED.search(outside):
        raise Excess(f"line {_line(outside, match.start())}: a key of more than 16 parts")
    for letter in (b"=", b"."):  # a dotted key is a table for each of its parts
        if outside.count(letter) > bounds.values:
            raise Excess(f"it has more than {bounds.values} keys")
    _check_outside(outside, bounds)


def check_values(document: Any, bounds: Bounds) -> None:
    """Raise :class:`Excess`, naming the place, unless every value is finite, and text or a number of usual size."""
    _check_value(document, (), bounds)


def _check_value(value: Any, place: tuple[Any, ...], bounds: Bounds) -> None:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            _check_text((*place, key), key, bounds)
            _check_value(item, (*place, key), bounds)
    elif kind is list:
        for index, item in enumerate(value):
            if type(item) is not float or not math.isfinite(item):  # most values are finite numbers: save the call
                _check_value(item, (*place, index), bounds)
    elif kind is float:
        if not math.isfinite(value):
            raise Excess(f"{spell(place)} holds {value}, which is not a finite number")
    elif kind is int:
        if abs(value) >= LARGEST:
            raise Excess(f"{spell(place)} holds a whole number of {value.bit_length()} bits")
    elif kind is str:
        _check_text(place, value, bounds)
    elif kind is not bool and value is not None:
        raise Excess(f"{spell(place)} is of type {kind.__name__}, which is neither text nor number")


def spell(place: tuple[Any, ...]) -> str:
    """Write a place in a document.

    Example:
        >>> spell(("plans", "8", "psnr", 3))
        'plans.8.psnr[3]'
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{line(part, 60)}" for part in place]
    return "".join(parts).removeprefix(".") or "it"


def _check_text(place: tuple[Any, ...], text: str, bounds: Bounds) -> None:
    if len(text) > bounds.text:
        raise Excess(f"{spell(place)} has {len(text)} characters, and {bounds.text} are read")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Excess(f"{spell(place)} holds half of a surrogate pair, which is no text")


def _word(string: re.Match[bytes]) -> bytes:
    """Return what stands for a string of TOML: a word, and its lines; nothing for a comment."""
    return b"" if string[0].startswith(b"#") else b"s" + b"\n" * string[0].count(b"\n")


def _check_outside(outside: bytes, bounds: Bounds) -> None:
    """Check what is left of a document without its strings."""
    count = sum(outside.count(letter) for letter in (b",", b":", b"[", b"{"))
    if count > bounds.values:
        raise Excess(f"it has more than {bounds.values} values")
    if match := re.search(rb"[0-9]{%d}" % (DIGITS + 1), outside):
        raise Excess(f"line {_line(outside, match.start())}: a number of more than {DIGITS} digits")
    depth = 0
    for match in re.finditer(rb"[\[\]{}]", outside):
        depth += 1 if match[0] in b"[{" else -1
        if depth > bounds.depth:
            raise Excess(f"line {_line(outside, match.start())}: lists and tables nested more than {bounds.depth} deep")


def _line(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1
