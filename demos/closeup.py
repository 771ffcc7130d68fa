"""Where a close-up is cut, for autoencoders: around an object, on the lattice that a latent stands on."""

from __future__ import annotations

import torch
from torch import Tensor

from padecast.zoo.scenes.appearance import SIZE

CUTTING = 32
"""Pixels along the side of a close-up."""


def windows(centre: Tensor, lattice: int, generator: torch.Generator) -> list[tuple[slice, slice]]:
    """Rows and columns of a random close-up around each centre, inside the picture.

    Args:
        centre: (B, 2), x and y of objects in pixels; each lies in its close-up but for rounding.
        lattice: close-ups begin at multiples of so many pixels.
        generator: of the places.

    Example:
        >>> windows(torch.tensor([[0.0, 64.0]]), 8, torch.Generator())
        [(slice(32, 64, None), slice(0, 32, None))]
    """
    aside = CUTTING / 2 * (2 * torch.rand(len(centre), 2, generator=generator) - 1)
    corners = (centre.cpu() + aside - CUTTING / 2).div(lattice).round().mul(lattice).clamp(0, SIZE - CUTTING)
    return [(slice(y, y + CUTTING), slice(x, x + CUTTING)) for x, y in corners.long().tolist()]
