"""Finds the options with which as many steps are computed as wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

from padecast.policies.knob import Knob

TRIALS = 8
"""Values that are tried at most where only a run shows the number of computed steps."""


def halve(count: Callable[[float], float], knob: Knob, computed: float) -> tuple[float, float]:
    """Find the value whose number of computed steps is closest to the wanted one.

    Args:
        count: Computed steps by value, one or more runs.
        knob: The range, and which way it goes.
        computed: Computed steps wanted.

    Returns:
        How many computed steps it is off, and the value.

    Example:
        >>> halve(lambda value: round(10 * value), Knob("threshold", 0.0, 2.0, rising=True), 15)
        (0, 1.5)
    """
    low, high, best = knob.low, knob.high, (math.inf, knob.low)
    for _ in range(TRIALS):
        value = knob.between(low, high)
        steps = count(value)
        best = min(best, (abs(steps - computed), value))
        if steps == computed or value in (low, high):
            break
        if (steps < computed) == knob.rising:
            low = value
        else:
            high = value
    return best


def free(knob: Knob | None, fixed: Collection[str]) -> Knob | None:
    """Return a knob, if there is one and its option is not fixed."""
    return None if knob is None or knob.option in fixed else knob


def search(
    count: Callable[[dict[str, Any]], float],
    rooms: Iterable[dict[str, Any]],
    knob: Knob | None,
    computed: int,
    best: tuple[float, dict[str, Any]] = (math.inf, {}),
) -> tuple[float, dict[str, Any]]:
    """Find the options whose number of computed steps is closest to the wanted one; of equals the first.

    Args:
        count: Computed steps by options.
        rooms: Options to try, in this order, until a number is reached.
        knob: Turned in every room. Default nothing is.
        computed: Computed steps wanted.
        best: How many steps known options are off, and the options. Default none are known.

    Returns:
        How many computed steps they are off, and the options.

    Example:
        >>> search(lambda options: options["every"], [{"every": 2}, {"every": 5}, {"every": 6}], None, 5)
        (0, {'every': 5})
    """
    for room in rooms:
        best = min(best, _turn(count, room, knob, computed), key=lambda pair: pair[0])
        if best[0] < 0.5:
            break
    return best


def _turn(
    count: Callable[[dict[str, Any]], float], room: dict[str, Any], knob: Knob | None, computed: int
) -> tuple[float, dict[str, Any]]:
    if knob is None:
        return abs(count(room) - computed), room
    gap, value = halve(lambda value: count({**room, knob.option: value}), knob, computed)
    return gap, {**room, knob.option: value}
