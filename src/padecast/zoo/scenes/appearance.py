"""How what a caption says looks, as pictures are drawn for training and read for scores: sizes, colours, textures."""

from __future__ import annotations

import torch
from torch import Tensor

SIZE = 64  # pixels along either side of a picture
RADII = (7.25, 9.5, 12.0)  # pixels, of small, medium and large
TILT = 0.03  # radians by which an object may be turned: 2 degrees
# Objects are bright and grounds dark: the largest channel is above 0.75 in every object, below 0.5 in every ground.
PALETTE = torch.tensor(
    [
        (230, 45, 45),
        (250, 150, 40),
        (250, 225, 60),
        (60, 195, 75),
        (60, 210, 225),
        (70, 110, 250),
        (160, 80, 220),
        (250, 130, 195),
    ]
).div(255)  # in the order of COLOURS
GROUND = torch.tensor(  # in the order of GROUNDS
    [(15, 15, 18), (92, 92, 96), (20, 32, 95), (15, 68, 35), (92, 20, 25), (70, 25, 92)]
).div(255)
PALE = 0.8  # how far a texture's second tone is from the object's colour, on the way to white
HAZE = 0.22  # how far a gradient and clouds go from the ground's colour, on the way to white
STRIPE, CELL, LATTICE, DOT = 3.0, 4.0, 6.0, 1.8  # pixels: width of a stripe, side of a check, from dot to dot, radius


def pixels(device: torch.device | str = "cpu") -> Tensor:
    """Centres of the pixels, (64, 64, 2): x and y."""
    steps = torch.arange(SIZE, dtype=torch.float32, device=device) + 0.5
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)


def turn(points: Tensor, angle: Tensor) -> Tensor:
    """Points (B, ..., 2) in a frame that is turned by ``angle`` (B,)."""
    cos, sin = (f(angle).reshape(-1, *[1] * (points.ndim - 2)) for f in (torch.cos, torch.sin))
    x, y = points.unbind(-1)
    return torch.stack([cos * x + sin * y, cos * y - sin * x], -1)


def paleness(texture: str, points: Tensor, phase: Tensor) -> Tensor:
    """Where a texture shows its second tone.

    Args:
        texture: one of ``TEXTURES``.
        points: (..., 2) in pixels, in the object's frame.
        phase: broadcasts to ``points``; where the texture begins, in periods.

    Returns:
        (...) in [0, 1], anti-aliased; zero for "plain".
    """
    if texture == "striped":  # along a diagonal
        across = points.sum(-1) / 2**0.5 / (2 * STRIPE) + phase[..., 0]
        return (0.5 - _wave(across) * 2 * STRIPE).clamp(0, 1)
    if texture == "checked":
        sides = _wave(points / (2 * CELL) + phase) * 2 * CELL
        return 0.5 - 2 * sides.clamp(-0.5, 0.5).prod(-1)
    if texture == "dotted":
        radius: Tensor = (((points / LATTICE + phase) % 1 - 0.5) * LATTICE).norm(dim=-1)
        return (0.5 + DOT - radius).clamp(0, 1)
    return torch.zeros_like(points[..., 0])


def _wave(periods: Tensor) -> Tensor:
    """Signed distance from the nearest of the edges at every half period: a triangle wave within 1/4."""
    return (periods % 1 - 0.5).abs() - 0.25
