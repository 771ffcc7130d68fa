"""Weights that begin as zero, and those of an embedding of time that stay zero."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

Channels = Iterable[tuple[Tensor, Tensor]]
"""The first weight (width, 256) of each embedding, and which channels of it stay, (256,)."""


def zero(layers: Iterable[nn.Module]) -> None:
    """Set all weights of layers to zero."""
    for weight in [weight for layer in layers for weight in layer.parameters()]:
        nn.init.zeros_(weight)


def slow(fastest: float, periods: int = 128) -> Tensor:
    """Which of the 256 channels of an embedding of time oscillate no faster than ``fastest``.

    Channel k and channel k + 128 have the frequency ``10000 ** (-k / periods)`` radians per unit of the timestep (0 to
    1000), or of what else is embedded.

    Args:
        fastest: radians per unit.
        periods: 127 in the blocks of DiT, by default 128, as in FLUX and Wan.

    Returns:
        (256,) float32, one for a slow channel and zero for a fast one.
    """
    frequencies = 10000 ** (-torch.arange(128, dtype=torch.float64) / periods)
    return (frequencies <= fastest).float().repeat(2)


@torch.no_grad()
def hush(channels: Channels) -> None:
    """Disconnect the fast channels, by zero weights.

    The fastest turns once in six of the thousand timesteps. A model trained for minutes, or an hour, does not learn to
    ignore it, and its features then jitter from step to step, which no forecast can foresee.
    """
    for weight, kept in channels:
        weight.mul_(kept.to(weight))


def keep_hushed(channels: Channels) -> None:
    """Give the fast channels no gradient, so that they stay disconnected."""
    for weight, kept in channels:
        weight.register_hook(kept.to(weight.device).mul)
