"""What acts on one conditioning at one noise level: its prompts, ControlNets and hooks, by what they say of themselves.

All of them may begin and end in the middle of a run. What was remembered before says nothing of what comes after.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch


def find_conditions(entries: Sequence[Any], sigma: float) -> Hashable:
    """Return what acts of the entries of one conditioning, as a value to compare.

    Args:
        entries: Dictionaries as ComfyUI's guiders hold them, of prompts that are combined.
        sigma: The noise level.

    Example:
        >>> early = {"uuid": 1, "timestep_end": 0.5}
        >>> [len(find_conditions([early, {"uuid": 2}], sigma)) for sigma in (0.9, 0.4)]
        [2, 1]
    """
    return tuple(
        (str(entry.get("uuid", place)), *_controls(entry.get("control"), sigma), *_hooks(entry.get("hooks"), sigma))
        for place, entry in enumerate(entries)
        if _acts(entry.get("timestep_start"), entry.get("timestep_end"), sigma)
    )


def _acts(start: Any, end: Any, sigma: float) -> bool:
    """Whether a level lies between two, of which either may be absent."""
    return (start is None or sigma <= _round(start)) and (end is None or sigma >= _round(end))


def _round(bound: Any) -> float:
    """Round a bound as ComfyUI does where it compares it with a level in single precision."""
    return torch.tensor(float(bound), dtype=torch.float32).item()


def _controls(control: Any, sigma: float) -> Iterator[Hashable]:
    """Yield which ControlNets of a chain act, and how strongly."""
    place = 0
    while control is not None:
        start, end = getattr(control, "timestep_range", None) or (None, None)
        if _acts(start, end, sigma):
            yield "control", place, getattr(control, "strength", None)
        control, place = getattr(control, "previous_controlnet", None), place + 1


def _hooks(group: Any, sigma: float) -> Iterator[Hashable]:
    """Yield the keyframes that hooks, such as scheduled LoRAs, have reached: how many, and the latest's strength."""
    for place, hook in enumerate(getattr(group, "hooks", ())):
        frames = getattr(getattr(hook, "hook_keyframe", None), "keyframes", ())
        due = [frame.strength for frame in frames if _round(frame.start_t) >= sigma]
        if due:
            yield "hook", place, len(due), due[-1]
