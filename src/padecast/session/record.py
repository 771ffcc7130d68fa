"""What a run writes down of every step, for the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from padecast._geometry import Geometry
from padecast._steps import Position

NOTES = {
    "no history": "computed because nothing was remembered for this branch",
    "conditions": "computed because what acts on this branch changed: a prompt, a ControlNet or a hook",
    "stale": "computed because this branch missed the last computed step",
    "changed": "computed because the features changed shape, dtype or device",
    "non-finite": "computed because the forecast was not finite",
    "non-finite sample": "computed because the forecast of some samples was not finite; the others were forecast",
    "ambiguous": "computed because the same step came twice on one branch",
    "bypassed": "computed because its blocks ran without padecast: another library restored their forwards",
    "left out": "computed because the model left out its first or last block, as skip-layer guidance does",
    "gradient": "computed because gradients were asked for; sample under torch.no_grad() to forecast",
    "cache": "computed because its blocks filled a cache of keys and values for the steps after it",
    "unclear": "computed because several branches are conditioned alike: name the calls, model.cache_context('a name')",
    "begun late": "computed because the run, or this model's part of it, begins here with nothing remembered",
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
    stages: dict[int, bool] = field(default_factory=dict)
    """Of a step that was taken by hand: its evaluations, and whether any branch of each was computed."""
