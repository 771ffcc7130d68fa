"""How a written name with options, ``interval:every=4,warmup=3``, becomes a frozen dataclass.

An option that is itself a part is written in parentheses: ``ends:policy=(interval:every=3),last=2``.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from types import UnionType
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin, get_type_hints

from padecast._errors import InvalidOption, unknown

Part = TypeVar("Part")
LONGEST, DEPTH = 65_536, 16
"""Characters of a written part, and parentheses inside one another, at most."""


class Registry(Mapping[str, Callable[..., Part]], Generic[Part]):
    """Named dataclasses of one role.

    Args:
        kind: The role, for messages.
        role: The class that all parts inherit from; an option annotated with it is read by this registry.
        parts: Names and classes.

    Example:
        >>> from padecast import forecasters
        >>> forecasters.REGISTRY.make("lagrange:degree=2")
        Lagrange(degree=2)
        >>> forecasters.REGISTRY.make("lagrange:degre=2")
        Traceback (most recent call last):
            ...
        padecast._errors.UnknownName: unknown option of forecaster lagrange 'degre'; the nearest is 'degree'.
        Known: degree
    """

    roles: ClassVar[dict[type, Registry[Any]]] = {}

    def __init__(self, kind: str, role: type[Any], parts: Mapping[str, Callable[..., Part]]) -> None:
        self.kind, self._parts = kind, dict(parts)
        self.roles[role] = self

    def __getitem__(self, name: str) -> Callable[..., Part]:
        if name not in self._parts:
            raise unknown(self.kind, name, self._parts)
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def make(self, written: str) -> Part:
        """Build the part that ``name:option=value,...`` describes.

        Raises:
            UnknownName: If the name or an option is unknown; the message names the nearest one.
            InvalidOption: If a value cannot be read or is out of range.
        """
        if len(written) > LONGEST or _depth(written) > DEPTH:
            raise InvalidOption(
                f"{self.kind} {written[:40]!r}… has {len(written)} characters and parentheses {_depth(written)} deep, "
                f"where at most {LONGEST} and {DEPTH} are read.\nUsual cause: a file that was damaged."
            )
        name, options = parse(written)
        return configure(self[name], options, f"{self.kind} {name}")


def parse(written: str) -> tuple[str, dict[str, str]]:
    """Split ``name:a=1,b=x`` into the name and its raw options.

    Example:
        >>> parse("tc-pade:threshold=0.7,order=(2,1)")
        ('tc-pade', {'threshold': '0.7', 'order': '(2,1)'})
    """
    name, _, rest = written.strip().partition(":")
    options: dict[str, str] = {}
    for item in _split(rest):
        key, equals, value = item.partition("=")
        if not equals:
            raise InvalidOption(
                f"option {item!r} of {written!r} has no value.\n"
                "Options are written name=value and separated by commas: interval:every=4,warmup=3"
            )
        if key.strip() in options:
            raise InvalidOption(f"option {key.strip()!r} of {written!r} is given twice.\nSay it once.")
        options[key.strip()] = value.strip()
    return name.strip(), options


def configure(make: Callable[..., Part], options: Mapping[str, Any], owner: str) -> Part:
    """Call a dataclass with options given as text or as values, naming a wrong one."""
    hints = get_type_hints(make)
    fields = {f.name for f in dataclasses.fields(make) if f.init}  # type: ignore[arg-type]
    values = {}
    for key, raw in options.items():
        if key not in fields:
            raise unknown(f"option of {owner}", key, fields)
        values[key] = _read(raw, hints[key], f"{owner}: {key}") if isinstance(raw, str) else raw
    return make(**values)


def _depth(text: str) -> int:
    """Return how many brackets are open at once at most."""
    return max(accumulate((letter in "([{") - (letter in ")]}") for letter in text), default=0)


def _split(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    if text[start:].strip():
        yield text[start:]


def _read(raw: str, hint: Any, where: str) -> Any:
    """Read one option as its annotation says: text, a part in parentheses, or a literal."""
    if hint is str:
        return raw
    if hint in Registry.roles:
        return Registry.roles[hint].make(_bare(raw))
    value = _literal(raw)
    for kind in get_args(hint) if isinstance(hint, UnionType) else (hint,):
        if kind is float and type(value) is int:
            return float(value)
        if get_args(kind) == (float, ...) and type(value) is tuple and _holds(tuple(map(_wide, value)), (float, ...)):
            return tuple(map(_wide, value))
        if type(value) is (get_origin(kind) or kind) and _holds(value, get_args(kind)):
            return value
    expected = hint if get_args(hint) else hint.__name__
    shown = raw if len(raw) <= 200 else f"{raw[:200]}…"
    raise InvalidOption(f"{where}={shown!r} cannot be read: expected {expected}.")


def _literal(raw: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    try:
        return words[raw.lower()] if raw.lower() in words else ast.literal_eval(raw)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # the last two: signs without end
        return raw


def _wide(value: Any) -> Any:
    """Return a whole number as the floating-point one that it stands for."""
    return float(value) if type(value) is int else value


def _holds(value: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether the items of a tuple are of these kinds; anything that is no tuple holds none."""
    if kinds[1:] == (...,):
        return all(type(item) is kinds[0] for item in value)
    return not kinds or [type(item) for item in value] == list(kinds)


def _bare(raw: str) -> str:
    return raw[1:-1] if raw.startswith("(") and raw.endswith(")") else raw
