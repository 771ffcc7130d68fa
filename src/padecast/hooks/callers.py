"""Who is calling? Read off the call stack, because pipelines share models without saying so."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from padecast.targets.pipelines import attributes_of

HOLDERS = 3
"""References to a dictionary of variables that a frame has made: its own, a variable's and an argument's."""
LIBRARIES = tuple(str(Path(file).parent) for file in (__file__, str(torch.__file__)))


@dataclass(frozen=True)
class Caller:
    """Whose call of a model it is.

    Args:
        pipeline: The innermost pipeline on the call stack that has the model; ``None`` for a call by hand.
        frame: Identity of the call of that pipeline, or of the function that called the model: calls that share it
            belong to one run, whichever threads they come from.
        site: The code that calls the model: a pipeline's is another than that of a callback that it calls.
    """

    pipeline: Any
    frame: int
    site: Any = None

    @property
    def is_by_hand(self) -> bool:
        """Whether no pipeline makes the call."""
        return self.pipeline is None


def caller_of(pipeline: Any, model: Any) -> Caller:
    """Return who calls a model now.

    A pipeline that is a part of ``pipeline``, as in diffusers' combined pipelines, counts as that pipeline.
    """
    first, site = 0, None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not first and not code.co_filename.startswith(LIBRARIES):
            first, site = id(frame), code
        # Only methods are looked into, for what is said at _self_of.
        if code.co_varnames[:1] == ("self",):
            owner = _self_of(frame)
            if owner is pipeline is not None:
                return Caller(pipeline, id(frame), site)
            if owner is not model and callable(owner) and _is_pipeline_of(owner, model):
                is_part = any(value is owner for value in attributes_of(pipeline).values())
                return Caller(pipeline if is_part else owner, id(frame), site)
        frame = frame.f_back
    return Caller(None, first, site)


def guidance_scales_of(pipeline: Any) -> tuple[tuple[str, float], ...]:
    """Return the guidance scales that a pipeline's call on the stack has, by the names of its variables.

    Few pipelines keep all of them as attributes: some have a second scale for a second model, or a true one beside one
    that the model is told.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_varnames[:1] == ("self",):
            named: dict[str, Any] = {}
            if _self_of(frame, names=SCALES, values=named) is pipeline and code.co_name == "__call__":
                plain = {name: float(value) for name, value in named.items() if isinstance(value, int | float)}
                return tuple((name, float(f"{plain[name]:.3g}")) for name in sorted(plain))
        frame = frame.f_back
    return ()


SCALES = (
    "guidance_scale",
    "true_cfg_scale",
    "guidance_scale_2",
    "guidance_rescale",
    "pag_scale",
    "image_guidance_scale",
)
"""Variables of pipelines' calls that say how strongly they guide."""


def is_inside(thread: int, model: Any) -> bool:
    """Whether a thread is running a method of the model at this moment."""
    frame, is_current = sys._current_frames().get(thread), thread == threading.get_ident()
    while frame is not None:
        if frame.f_code.co_varnames[:1] == ("self",) and _self_of(frame, is_current) is model:
            return True
        frame = frame.f_back
    return False


def _self_of(
    frame: FrameType, is_current: bool = True, names: tuple[str, ...] = (), values: dict[str, Any] | None = None
) -> Any:
    """Return the ``self`` of a method's frame.

    Up to Python 3.12 reading a frame's variables makes a dictionary of them all, which the frame keeps: what the method
    deletes later would live on in it. So they are taken out of it again, unless somebody else holds it, as a method
    does that calls ``locals()``. Under a debugger, which writes variables back, and in other threads it is left alone.
    """
    variables, code = frame.f_locals, frame.f_code
    owner = variables.get("self")
    if values is not None:
        values.update({name: variables[name] for name in names if name in variables})
    traced = frame.f_trace is not None or sys.gettrace() is not None
    if is_current and not traced and type(variables) is dict and sys.getrefcount(variables) == HOLDERS:
        for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):  # and not what ``exec`` has added
            variables.pop(name, None)
    return owner


def _is_pipeline_of(owner: Any, model: Any) -> bool:
    # Asked of everything on the stack, so the cheap question goes first.
    return "scheduler" in getattr(owner, "__dict__", ()) and any(
        value is model or getattr(value, "_orig_mod", None) is model for value in attributes_of(owner).values()
    )
