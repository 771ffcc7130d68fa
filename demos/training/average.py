"""The running average of the weights, which is what a training exports."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def begun(model: Model) -> Model:
    """A copy of a model that is to follow it: without gradients, in evaluation mode."""
    return copy.deepcopy(model).requires_grad_(False).eval()


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, done: int, ema: float) -> None:
    """Move an average towards its model: ``a ← d a + (1 - d) w``, ``d = min(ema, (1 + done) / (10 + done))``.

    Args:
        average: what :func:`begun` returned.
        model: after a step.
        done: steps that were done, this one included; young averages move faster.
        ema: the decay that the average ends up with.
    """
    decay = min(ema, (1 + done) / (10 + done))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
