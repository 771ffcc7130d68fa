"""Who is calling? Read off the call stack, because pipelines share models without saying so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

LIBRARIES = tuple(str(Path(file).parent) for file in (__file__, str(torch.__file__)))


@dataclass(frozen=True)
class Caller:
    """Whose call of a model it is.

    Args:
        pipeline: The innermost pipeline on the call stack that has the model; ``None`` for a call by hand.
        frame: Identity of the call of that pipeline, or of the function that called the model: calls that share it
            belong to one run, whichever threads they come from.
    """

    pipeline: Any
    frame: int

    @property
    def is_by_hand(self) -> bool:
        """Whether no pipeline makes the call."""
        return self.pipeline is None


def caller_of(pipeline: Any, model: Any) -> Caller:
    """Return who calls a model now.

    A pipeline that is a part of ``pipeline``, as in diffusers' combined pipelines, counts as that pipeline.
    """
    first = 0
    for frame, owner in _owners(sys._getframe(1)):
        if not first and not frame.f_code.co_filename.startswith(LIBRARIES):
            first = id(frame)
        if owner is None or owner is model:
            continue
        if owner is pipeline or (_is_pipeline_of(owner, model) and _is_part(owner, pipeline)):
            return Caller(pipeline, id(frame))
        if _is_pipeline_of(owner, model):
            return Caller(owner, id(frame))
    return Caller(None, first)


def is_inside(thread: int, model: Any) -> bool:
    """Whether a thread is running a method of the model at this moment."""
    return any(owner is model for _, owner in _owners(sys._current_frames().get(thread)))


def _owners(frame: FrameType | None) -> Iterator[tuple[FrameType, Any]]:
    """Yield every frame of a call stack, innermost first, and ``self`` where it is a method's.

    Reading the variables of a frame makes a dictionary of all of them, which up to Python 3.12 the frame keeps: what is
    deleted later would live on in it. So only methods are looked into.
    """
    while frame is not None:
        is_method = frame.f_code.co_varnames[:1] == ("self",)
        yield frame, frame.f_locals.get("self") if is_method else None
        frame = frame.f_back


def _is_pipeline_of(owner: Any, model: Any) -> bool:
    attributes = getattr(owner, "__dict__", {})
    return (
        callable(owner)
        and "scheduler" in attributes
        and any(value is model or getattr(value, "_orig_mod", None) is model for value in attributes.values())
    )


def _is_part(owner: Any, pipeline: Any) -> bool:
    return any(value is owner for value in getattr(pipeline, "__dict__", {}).values())
