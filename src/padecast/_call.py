"""One call of a model, and what a pipeline says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from padecast._mix import Ready, Streams
from padecast._session import Session
from padecast._stopwatch import Reading


@dataclass
class Pass:
    """How a call goes through one stack, from its first part to its last.

    Args:
        key: Under which the session remembers it: the branch, and which stack where a model has several.
        ready: A forecast that was decided before the model was called.
    """

    key: str
    ready: Ready | None = None
    begun: bool = False
    entry: Streams = ()
    forecast: Streams | None = None
    learnt: tuple[Streams, Streams] | None = None
    reached_end: bool = False


@dataclass
class Call:
    """One call of the model."""

    session: Session
    stop: Callable[[], Reading]
    passes: list[Pass]
    computes: bool = False


class Said:
    """What a pipeline said of a call, whatever release of diffusers said it."""

    def __init__(self, name: Any, **details: Any) -> None:
        self.name = getattr(name, "name", name)
        self.step_index = details.get("step_index", getattr(name, "step_index", None))
        self.num_inference_steps = details.get("num_inference_steps", getattr(name, "num_inference_steps", None))
