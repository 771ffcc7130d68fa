"""How lists of seeds and other whole numbers are written."""

from __future__ import annotations

import re
from collections.abc import Iterable

from padecast._errors import InvalidOption, check
from padecast.files import line

MOST = 100_000
"""Numbers of a list, at most."""


def numbers(written: Iterable[str], name: str) -> tuple[int, ...]:
    """Read whole numbers and ranges.

    Args:
        written: Such as ``["0-3", "7,9"]``.
        name: Of the option or key, for the message.

    Raises:
        InvalidOption: If something else is written, a number comes twice, there is none, or there are more than 100000.

    Example:
        >>> numbers(["0-3", "7,9"], "seeds")
        (0, 1, 2, 3, 7, 9)
    """
    values: list[int] = []
    for part in (part.strip() for text in written for part in text.split(",")):
        match = re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise InvalidOption(
                f"{name} {line(part, 40)!r} cannot be read: expected whole numbers and rising ranges.\n"
                f"For example: {name} 3, or {name} 0-7, or {name} 0-3,8"
            )
        numbers = range(int(match[1]), int(match[2] or match[1]) + 1)
        if numbers[-1] - numbers[0] >= MOST - len(values):  # before a list is made of them
            raise InvalidOption(
                f"{name} {part!r} makes more than {MOST} numbers.\n"
                "Usual cause: a digit too many. Give the seeds that are to be drawn, such as 0-63."
            )
        values.extend(numbers)
    written_out = line(", ".join(map(str, values[:100])))
    check(0 < len(values) == len(set(values)), name, written_out, "one number or more, each once")
    return tuple(values)
