"""Where a run waits for the GPU inside the model, call by call and line by line."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.cost.models import CUDA, Case

Row = dict[str, Any]
SAID = "synchronizing CUDA operation"
"""Words of the warning by which torch tells of a wait."""


def count_waits(case: Case, cached: AbstractContextManager[Any] | None = None) -> Row:
    """Run a case twice, and count in the second run how often every call of the model waits for the GPU.

    From padecast's first hook to its last: what the pipeline does between two calls is its own. A run's first call may
    wait, to read the schedule; later ones only where a policy decides by what it sees.

    Args:
        case: The model, and how it is run.
        cached: What switches a cache on inside a block. Default none.

    Returns:
        Waits of every call, and of every line of padecast; ``checked`` is false where there is no CUDA device.
    """
    calls: list[int] = []
    places: Counter[str] = Counter()

    def note(*_: Any) -> None:
        calls[-1] += 1
        places[find_place()] += 1

    def begin(*_: Any) -> None:
        calls.append(0)
        set_alarm("warn")

    def end(*_: Any) -> None:
        set_alarm("default")

    with cached or nullcontext():
        case()
        hooks = [
            case.model.register_forward_pre_hook(begin, prepend=True),
            case.model.register_forward_hook(end, always_call=True),
        ]
        try:
            with hear_waits(note):
                case()
        finally:
            set_alarm("default")
            for hook in hooks:
                hook.remove()
    later = sum(calls[1:])
    return {"checked": CUDA, "first_call": sum(calls[:1]), "later_calls": later, "calls": calls, "places": dict(places)}


def set_alarm(mode: str) -> None:
    """Have torch warn of waits, or not; nothing happens where there is no CUDA device."""
    if CUDA:
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def hear_waits(note: Any) -> Iterator[None]:
    """Call a function at every warning of a wait, in place of printing it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", f".*{SAID}.*")
        usual = warnings.showwarning

        def show(message: Warning | str, *details: Any, **options: Any) -> None:
            (note if SAID in str(message) else usual)(message, *details, **options)

        warnings.showwarning = show
        yield


def find_place() -> str:
    """Name the line of padecast that runs now, or else of the model library; the innermost one."""
    frames = traceback.extract_stack(sys._getframe(1))
    for word in ("padecast", "diffusers", "torch"):
        for frame in reversed(frames):
            parts = Path(frame.filename).parts
            if word in parts[:-1] and "benchmarks" not in parts:
                return f"{'/'.join(parts[len(parts) - 1 - parts[::-1].index(word) :])}:{frame.lineno}"
    return "elsewhere"
