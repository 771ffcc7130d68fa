"""Looks whether the weights of a run sum to one where their forecaster says that they do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from padecast.forecasters import Forecaster
from padecast.session.record import Record

OFF = 0.2
"""How far from one a sum is when it is surely a mistake: no rounding comes near."""
REMEDY = (
    "Usual cause: weights that were not divided by their sum. Divide them, or write sums_to_one = False in the class."
)


def describe_imbalance(forecaster: Forecaster, records: Sequence[Record], *, on_host: bool = False) -> str:
    """Say which weights that are said to sum to one are furthest from it; nothing if all are near.

    Args:
        forecaster: Whose weights they are. One with an extra, or that says that they do not sum to one, is let be.
        records: Of a run.
        on_host: Whether only weights that lie on the host are looked at, so that no GPU is waited for.
    """
    worst, place = 1.0, 0
    for record in records if forecaster.sums_to_one and forecaster.extra is None else ():
        for weights in record.weights.values():
            for value in weights.sum(-1).flatten().tolist() if not on_host or weights.device.type == "cpu" else ():
                if abs(worst - 1) < abs(value - 1) < math.inf:  # of what is not finite the report tells by itself
                    worst, place = value, record.at.index
    name, total = type(forecaster).__name__, f"{worst:.3g}"
    fact = f"the weights of {name} sum to {total} at step {place}: what stands still is forecast {total} times as large"
    return fact if abs(worst - 1) > OFF else ""
