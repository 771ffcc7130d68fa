"""What a run writes down of every step, for the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from padecast._history import Geometry, Position

NOTES = {
    "no history": "computed because nothing was remembered for this branch",
    "stale": "computed because this branch missed the last computed step",
    "changed": "computed because the features changed shape, dtype or device",
    "non-finite": "computed because the forecast was not finite",
    "ambiguous": "computed because the same step came twice on one branch",
    "bypassed": "computed because its blocks ran without padecast: another library restored their forwards",
    "gradient": "computed because gradients were asked for",
}


@dataclass
class Record:
    """What was done at one step, for the report. Tensors are read only when the report is."""

    at: Position
    computed: bool
    geometry: dict[str, Geometry] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    seconds: list[Callable[[], float]] = field(default_factory=list)
