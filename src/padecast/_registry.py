"""How a written name with options, ``interval:every=4,warmup=3``, becomes a frozen dataclass."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, get_type_hints

from padecast._errors import InvalidOption, unknown

Part = TypeVar("Part")


class Registry(Mapping[str, Callable[..., Part]], Generic[Part]):
    """Named dataclasses of one role.

    Args:
        kind: The role, for messages.
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

    def __init__(self, kind: str, parts: Mapping[str, Callable[..., Part]]) -> None:
        self.kind, self._parts = kind, dict(parts)

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
    if hint is str:
        return raw
    lowered = raw.lower()
    if lowered in ("true", "false", "none"):
        value: Any = {"true": True, "false": False, "none": None}[lowered]
    else:
        try:
            value = ast.literal_eval(raw)
        except (ValueError, SyntaxError):
            if "str" not in str(hint):
                raise InvalidOption(f"{where}={raw!r} cannot be read: expected {_name(hint)}.") from None
            return raw
    return (
        float(value)
        if hint is float and isinstance(value, int) and not isinstance(value, bool)
        else _typed(value, hint, raw, where)
    )


def _typed(value: Any, hint: Any, raw: str, where: str) -> Any:
    simple = {int: int, bool: bool, float: float}.get(hint)
    if simple is not None and (not isinstance(value, simple) or (simple is int and isinstance(value, bool))):
        raise InvalidOption(f"{where}={raw!r} cannot be read: expected {_name(hint)}.")
    return value


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)
