"""How a written name with options, ``interval:every=4,warmup=3``, becomes a frozen dataclass.

An option that is itself a part is written in parentheses: ``ends:policy=(interval:every=3),last=2``.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Generic, TypeVar, cast, get_args

from padecast._errors import InvalidOption, quote, unknown
from padecast._options import fits, hints_of

Part = TypeVar("Part")
Class = TypeVar("Class", bound=type[Any])
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST, DEPTH = 65_536, 16
"""Characters of a written part, and parentheses inside one another, at most."""


class Registry(Mapping[str, Callable[..., Part]], Generic[Part]):
    """Named dataclasses of one role.

    Args:
        kind: The role, for messages.
        role: The class that all parts inherit from; an option of such a part annotated with it is read here too.
        parts: Names and classes. None by default: they are registered.
        pattern: What names are like.

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

    def __init__(
        self,
        kind: str,
        role: type[Any],
        parts: Mapping[str, Callable[..., Part]] | None = None,
        pattern: re.Pattern[str] = NAME,
    ) -> None:
        self.kind, self.role, self.pattern, self._parts = kind, role, pattern, dict(parts or {})
        self._elsewhere: dict[str, str] = {}
        self._others = set[str]()

    def __getitem__(self, name: str) -> Callable[..., Part]:
        if name not in self._parts:
            raise unknown(self.kind, name, self._parts, self.hint(name))
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def name_of(self, part: object) -> str:
        """Return the name of an instance's class; the class's own where it is not registered.

        Example:
            >>> from padecast import policies
            >>> policies.REGISTRY.name_of(policies.Spaced())
            'spaced'
        """
        return next((name for name in self if self._parts[name] is type(part)), type(part).__name__)

    def register(self, name: str, part: Callable[..., Part]) -> None:
        """Enrol a class of one's own under a name, by which it is asked for like any other.

        Args:
            name: Small letters, digits and dashes, beginning with a letter.
            part: A frozen dataclass of this role. A class that is defined anew (a notebook's cell that is run again)
                takes the place of its former self.

        Raises:
            InvalidOption: If the name is another class's or no name, or the class is none of this role.
        """
        if not isinstance(name, str) or not self.pattern.fullmatch(name):
            raise InvalidOption(
                f"{quote(name)} is no name of a {self.kind}: small letters, digits and dashes, a letter first.\n"
                "Names are written in text: name:option=value"
            )
        if not isinstance(part, type) or not issubclass(part, self.role):
            raise InvalidOption(
                f"{quote(part)} is no class of a {self.kind}.\nInherit from {self.role.__module__.rpartition('.')[0]}."
                f"{self.role.__name__}, and register the class itself, not an instance."
            )
        if "__dataclass_params__" not in vars(part):  # its base is a dataclass, but its own fields would be none
            raise InvalidOption(
                f"{part.__name__} is no frozen dataclass, whose fields are its options.\n"
                "Write @dataclass(frozen=True) above the class, below the registration."
            )
        former = self._parts.get(name)
        if former is not None and _identity(former) != _identity(part):
            raise InvalidOption(
                f"the name {name!r} is that of the {self.kind} {_identity(former)[1]}.\nTake another name."
            )
        self._parts[name] = cast("Callable[..., Part]", part)
        self._others.add(name)

    def enrol(self, name: str) -> Callable[[Class], Class]:
        """Return :meth:`register` as a decorator of a class."""

        def enrol(part: Class) -> Class:
            self.register(name, part)
            return part

        return enrol

    def seal(self, names: Iterable[str]) -> list[str]:
        """Let what is registered so far ship: it stays, in the order in which its classes are named here.

        Returns:
            The names of those classes.
        """
        places = {name: place for place, name in enumerate(names)}
        self._parts = dict(sorted(self._parts.items(), key=lambda item: places[_identity(item[1])[1]]))
        self._others.clear()
        return [_identity(part)[1] for part in self._parts.values()]

    def remove(self, name: str) -> None:
        """Take a class of one's own off again; those that ship stay.

        Raises:
            UnknownName: If none was registered by that name.
        """
        if name not in self._others:
            raise unknown(f"{self.kind} of your own", name, self._others)
        self._others.remove(name)
        del self._parts[name]

    def note(self, elsewhere: str, name: str) -> None:
        """Note under which name is found here what a method, or whatever else, is called ``elsewhere``."""
        self._elsewhere[elsewhere] = name

    def hint(self, elsewhere: str) -> str:
        """Say how a part is called that is asked for by the name of a method with it; nothing of other names.

        Example:
            >>> from padecast import forecasters
            >>> forecasters.REGISTRY.hint("spectrum")
            "the forecaster of spectrum is called 'chebyshev'"
        """
        name = self._elsewhere.get(elsewhere)
        return "" if name is None else f"the {self.kind} of {elsewhere} is called {name!r}"

    def make(self, written: str) -> Part:
        """Build the part that ``name:option=value,...`` describes.

        Raises:
            UnknownName: If the name or an option is unknown; the message names the nearest one.
            InvalidOption: If a value cannot be read or is out of range.
        """
        name, options = parse(written)
        return configure(self[name], options, f"{self.kind} {name}", self)


def _identity(part: object) -> tuple[str, str]:
    """Return what stays the same when a class is defined anew."""
    return str(getattr(part, "__module__", "")), str(getattr(part, "__qualname__", ""))


def parse(written: str) -> tuple[str, dict[str, str]]:
    """Split ``name:a=1,b=x`` into the name and its raw options.

    Example:
        >>> parse("tc-pade:threshold=0.7,order=(2,1)")
        ('tc-pade', {'threshold': '0.7', 'order': '(2,1)'})
    """
    if not isinstance(written, str):
        raise InvalidOption(
            f"{quote(written)} is a {type(written).__name__}, where a name is expected.\n"
            'Names are text, with options if need be: "interval:every=4,warmup=3"'
        )
    if len(written) > LONGEST or _depth(written) > DEPTH:
        raise InvalidOption(
            f"{written[:40]!r}… has {len(written)} characters and parentheses {_depth(written)} deep, "
            f"where at most {LONGEST} and {DEPTH} are read.\nUsual cause: text that was joined in a loop, or a damaged "
            "file. Write one part inside another: policy=(interval:every=3)"
        )
    name, _, rest = written.strip().partition(":")
    options: dict[str, str] = {}
    for item in _split(rest):
        key, equals, value = item.partition("=")
        if not equals:
            raise InvalidOption(
                f"option {quote(item)} of {quote(written)} has no value.\n"
                "Options are written name=value and separated by commas: interval:every=4,warmup=3"
            )
        if key.strip() in options:
            raise InvalidOption(f"option {key.strip()!r} of {quote(written)} is given twice.\nSay it once.")
        options[key.strip()] = value.strip()
    return name.strip(), options


def configure(
    make: Callable[..., Part], options: Mapping[str, Any], owner: str, registry: Registry[Any] | None = None
) -> Part:
    """Call a dataclass with options given as text or as values, naming a wrong one.

    Args:
        make: The dataclass.
        options: By name.
        owner: Whose options they are, for messages.
        registry: Reads options that are parts of its role. Default none.
    """
    hints = hints_of(make)
    fields = {f.name for f in dataclasses.fields(make) if f.init}  # type: ignore[arg-type]
    values = {}
    for key, raw in options.items():
        if key not in fields:
            raise unknown(f"option of {owner}", key, fields)
        values[key] = _read(raw, hints[key], f"{owner}: {key}", registry) if isinstance(raw, str) else raw
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


def _read(raw: str, hint: Any, where: str, registry: Registry[Any] | None) -> Any:
    """Read one option as its annotation says: text, a part in parentheses, or a literal."""
    if hint is str:
        return raw
    if registry is not None and hint is registry.role:
        return registry.make(_bare(raw))
    value = literal(raw)
    if fits(value, hint):
        return _widen(value, get_args(hint) or (hint,))
    expected = hint if get_args(hint) else hint.__name__
    raise InvalidOption(f"{where}={quote(raw)} cannot be read: expected {expected}.")


def literal(raw: str) -> Any:
    """Read a number, a tuple, true, false or none as Python writes them; anything else is text.

    Example:
        >>> literal("3"), literal("(1, 2.5)"), literal("True"), literal("a red fox")
        (3, (1, 2.5), True, 'a red fox')
    """
    words = {"true": True, "false": False, "none": None}
    try:
        return words[raw.lower()] if raw.lower() in words else ast.literal_eval(raw)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the latter two: thousands of signs
        return raw


def _widen(value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return whole numbers as the floating-point ones that they stand for, where the annotation asks for those."""
    if type(value) is int and float in kinds and int not in kinds:
        return float(value)
    return tuple(map(float, value)) if type(value) is tuple and kinds == (float, ...) else value


def _bare(raw: str) -> str:
    return raw[1:-1] if raw.startswith("(") and raw.endswith(")") else raw
