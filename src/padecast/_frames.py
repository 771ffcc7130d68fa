"""Who is calling? Read off the call stack, because pipelines share models without saying so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any


def called_by_another(pipeline: Any, model: Any) -> bool:
    """Whether the innermost pipeline on the call stack that owns the model is not this one.

    Two pipelines may share a transformer and a scheduler; only the one that was accelerated is to be touched.
    """
    for owner in _selves(sys._getframe(1)):
        if owner is pipeline:
            return False
        if owner is not model and _is_pipeline_of(owner, model):
            return True
    return False


def is_inside(thread: int, model: Any) -> bool:
    """Whether a thread is running a method of the model at this moment."""
    return any(owner is model for owner in _selves(sys._current_frames().get(thread)))


def _selves(frame: FrameType | None) -> Iterator[Any]:
    """Yield ``self`` of every method on a call stack, innermost first."""
    while frame is not None:
        owner = frame.f_locals.get("self")
        if owner is not None:
            yield owner
        frame = frame.f_back


def _is_pipeline_of(owner: Any, model: Any) -> bool:
    attributes = getattr(owner, "__dict__", {})
    return (
        callable(owner)
        and "scheduler" in attributes
        and any(value is model or getattr(value, "_orig_mod", None) is model for value in attributes.values())
    )
