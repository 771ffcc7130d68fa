"""How lists of seeds and other whole numbers are written."""

from __future__ import annotations

import re
from collections.abc import Iterable

from padecast._errors import InvalidOption, check


def numbers(written: Iterable[str], name: str) -> tuple[int, ...]:
    """Read whole numbers and ranges.

    Args:
        written: Such as ``["0-3", "7,9"]``.
        name: Of the option or key, for the message.

    Raises:
        InvalidOption: If something else is written, a number comes twice, or there is none.

    Example:
        >>> numbers(["0-3", "7,9"], "seeds")
        (0, 1, 2, 3, 7, 9)
    """
    found: list[int] = []
    for part in (part.strip() for text in written for part in text.split(",")):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise InvalidOption(
                f"{name} {part!r} cannot be read: expected whole numbers and rising ranges.\n"
                f"For example: {name} 3, or {name} 0-7, or {name} 0-3,8"
            )
        found.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    check(0 < len(found) == len(set(found)), name, ", ".join(map(str, found)), "one number or more, each once")
    return tuple(found)
