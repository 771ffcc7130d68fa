"""Whether the options of a part are of the types that its annotations say; texts are read elsewhere."""

from __future__ import annotations

import dataclasses
import math
import numbers
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from padecast._errors import InvalidOption, quote

LARGEST = 2**31 - 1
"""Of whole numbers: what counts steps, tokens or residuals is far below, and what is not fits no tensor."""
WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "none",
}


def check_types(part: Any) -> None:
    """Check every option of a dataclass against its annotation, and make tuples of lists.

    Annotations of other kinds than numbers, words, truth values and tuples of them are left to the part's own checks.

    Raises:
        InvalidOption: Naming the option, its value, what was expected and the default.
    """
    hints = hints_of(part.__class__)
    for field in dataclasses.fields(part):
        if not field.init or field.name not in hints:
            continue
        value = getattr(part, field.name)
        if isinstance(value, list):
            value = make_tuples(value)
            object.__setattr__(part, field.name, value)
        if not fits(value, hints[field.name]):
            raise InvalidOption(f"{refusal(field.name, value, hints[field.name])}{_default(field)}")


def check_option(name: str, value: object, hint: Any, remedy: str = "") -> None:
    """Check one option that belongs to no part, such as an argument of a function.

    Raises:
        InvalidOption: Naming the option, its value and what was expected, with a remedy if there is one.

    Example:
        >>> check_option("steps", 20, int | None)
        >>> check_option("steps", "20", int | None, "Leave it out, or write steps=20")
        Traceback (most recent call last):
            ...
        padecast._errors.InvalidOption: steps='20' is a str, where a whole number or none is expected.
        Leave it out, or write steps=20
    """
    if not fits(value, hint):
        raise InvalidOption(refusal(name, value, hint) + (f"\n{remedy}" if remedy else ""))


def refusal(name: str, value: object, hint: Any) -> str:
    """Say that an option is of another type than its annotation, or a whole number that nothing counts to."""
    if type(value) is int and hint in (int, float, int | None, float | None):
        digits = int(abs(value).bit_length() * math.log10(2)) + 1  # writing it out is refused from 4300 of them
        return f"{name} is a whole number of about {digits} digits, where {say(hint)} up to {LARGEST} is expected."
    return f"{name}={quote(value)} is a {type(value).__name__}, where {say(hint)} is expected."


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of an annotation's type; a whole number is a number, and true and false are neither.

    Example:
        >>> fits(3, float), fits(True, int), fits(3.0, int), fits((1, 2.5), tuple[float, ...]), fits(None, int | None)
        (True, False, False, True, True)
    """
    kinds = get_args(hint)
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return any(fits(value, kind) for kind in kinds)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and _hold(value, kinds)
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is int:
        return isinstance(value, numbers.Integral) and abs(int(value)) <= LARGEST
    if hint is float:
        return isinstance(value, numbers.Real) and not (isinstance(value, int) and abs(value) > LARGEST)
    if hint is str or hint is type(None):
        return isinstance(value, hint)
    return True


def _hold(values: tuple[Any, ...], kinds: tuple[Any, ...]) -> bool:
    if kinds[1:] == (...,):
        return all(fits(value, kinds[0]) for value in values)
    return len(values) == len(kinds) and all(map(fits, values, kinds))


def say(hint: Any) -> str:
    """Say an annotation in words.

    Example:
        >>> say(int | None), say(tuple[float, ...])
        ('a whole number or none', 'numbers in parentheses, such as (1.0, 0.5)')
    """
    kinds = get_args(hint)
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return " or ".join(map(say, kinds))
    if get_origin(hint) is tuple:
        plain = kinds[:1] in ((int,), (float,)) and (kinds[1:] == (...,) or set(kinds) == {kinds[0]})
        return f"numbers in parentheses, such as {_tuple_like(kinds)}" if plain else f"a {hint}"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _tuple_like(kinds: tuple[Any, ...]) -> tuple[float, ...]:
    return (1.0, 0.5) if kinds[1:] == (...,) else (1,) * len(kinds)


def make_tuples(value: Any) -> Any:
    """Make tuples of lists, however deep, so that a part stays hashable.

    Example:
        >>> make_tuples([1, [2, 3]])
        (1, (2, 3))
    """
    return tuple(map(make_tuples, value)) if isinstance(value, list | tuple) else value


def is_finite(values: Any) -> bool:
    """Whether all numbers in nested tuples are finite.

    Example:
        >>> is_finite(((1.0, 2), (float("nan"),)))
        False
    """
    return all(map(is_finite, values)) if isinstance(values, tuple) else math.isfinite(values)


def parts_of(part: Any, role: type[Any]) -> list[Any]:
    """Return the options of a dataclass that are parts of a role themselves.

    Example:
        >>> from padecast.policies import Cap, Interval, Policy
        >>> parts_of(Cap(Interval(every=9), limit=3), Policy)
        [Interval(every=9, warmup=0, last=True)]
    """
    options = (getattr(part, field.name) for field in dataclasses.fields(part))
    return [option for option in options if isinstance(option, role)]


@lru_cache(maxsize=256)
def hints_of(kind: Any) -> dict[str, Any]:
    """Return a class's annotations; none where they name what cannot be found, as in a class inside a function."""
    try:
        return get_type_hints(kind)
    except (NameError, TypeError, AttributeError):
        return {}


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return ""
    return f"\nWrite it without quotes or give a value of that kind; the default is {field.name}={field.default!r}"
