"""What can be turned of a policy until a run computes as many steps as wanted."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any


@dataclass(frozen=True)
class Knob:
    """A number on which the computed steps depend monotonically, known only from a run.

    Args:
        option: Its name.
        low: Smallest value tried.
        high: Largest value tried.
        rising: Whether a larger value computes more.
        logarithmic: Whether halving means geometrically.
        whole: Whether it is a whole number.
    """

    option: str
    low: float
    high: float
    rising: bool
    logarithmic: bool = False
    whole: bool = False

    def between(self, low: float, high: float) -> float:
        """Return the middle, to four digits.

        Example:
            >>> Knob("threshold", 0.01, 1.0, rising=False, logarithmic=True).between(0.01, 1.0)
            0.1
            >>> Knob("every", 2, 10, rising=False, whole=True).between(2, 5)
            3
        """
        middle = math.sqrt(low * high) if self.logarithmic else (low + high) / 2
        return int(middle) if self.whole else float(f"{middle:.4g}")


def vary(part: object, fixed: Collection[str], **values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield changes of a part's options in all combinations, those nearest to its own first.

    Args:
        part: Whose options they are.
        fixed: Options that stay as they are.
        values: What each is to be. The last one is turned first; if it is fixed, there is nothing to yield.

    Example:
        >>> from padecast.policies import Interval
        >>> list(vary(Interval(every=2), (), last=(False, True), every=(1, 2)))
        [{}, {'every': 1}, {'last': False}, {'every': 1, 'last': False}]
    """
    if [*values][-1] in fixed:
        return
    base = {name: getattr(part, name) for name in values}
    choices: list[list[Any]] = []
    for name, several in values.items():
        gaps = {value: abs(value - base[name]) for value in several}
        choices.append([base[name]] if name in fixed else sorted(gaps, key=gaps.__getitem__))
    for combination in product(*choices):
        options = [*zip(values, combination, strict=True)]
        yield {name: value for name, value in reversed(options) if value != base[name]}
