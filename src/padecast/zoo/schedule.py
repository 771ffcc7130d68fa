"""Noise levels for the demo pipeline, from whichever flow-matching scheduler it is given."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def set_schedule(scheduler: Any, steps: int, shift: float, device: torch.device) -> None:
    """Give a flow-matching scheduler its noise levels, for this run only shifted by ``shift``.

    Args:
        scheduler: one with ``set_shift`` receives ``linspace(1, 1/steps, steps)``; another places its own levels,
            with its configured shift replaced for the moment.
        steps: solver steps.
        shift: the run's shift.
        device: of the resulting timesteps.

    Raises:
        ValueError: the scheduler knows no shift, and one other than 1 was asked for.
    """
    if hasattr(scheduler, "set_shift"):
        before = scheduler.shift
        scheduler.set_shift(shift)
        try:
            sigmas = torch.linspace(1, 1 / steps, steps, dtype=torch.float64).tolist()
            scheduler.set_timesteps(sigmas=sigmas, device=device)
        finally:
            scheduler.set_shift(before)
        return
    with configured_shift(scheduler, shift):
        scheduler.set_timesteps(steps, device=device)


@contextmanager
def configured_shift(scheduler: Any, shift: float) -> Iterator[None]:
    """Replace the shift in a scheduler's configuration, and put it back."""
    name = next((name for name in ("shift", "flow_shift") if name in scheduler.config), None)
    if name is None:
        if shift != 1:
            raise ValueError(
                f"shift={shift} was asked of {type(scheduler).__name__}, which has no shift.\n"
                "Usually the scheduler was made for another kind of diffusion. Either\n"
                "(a) leave out shift, or\n"
                "(b) use a flow-matching one:   pipe.scheduler = FlowMatchEulerDiscreteScheduler()"
            )
        yield
        return
    before = scheduler.config[name]
    scheduler.register_to_config(**{name: shift})
    try:
        yield
    finally:
        scheduler.register_to_config(**{name: before})


def step_options(scheduler: Any, generator: Any) -> dict[str, Any]:
    """The generator, for a scheduler whose step takes one (stochastic sampling draws from it)."""
    return {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
