"""Pictures of scenes: anti-aliased objects with textures, on a background."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .grammar import SHAPES, STYLES, TEXTURES, Scene
from .layout import SIZE, Arrangement, arrange
from .shapes import distance

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
GRAIN = 0.01  # standard deviation of the noise on every pixel
STRIPE, CELL, LATTICE, DOT = 3.0, 4.0, 6.0, 1.8  # pixels: width of a stripe, side of a check, from dot to dot, radius


def picture(scenes: Sequence[Scene], generator: torch.Generator) -> Tensor:
    """Draw each scene once, with its chances taken from the generator.

    Returns:
        (B, 3, 64, 64) in [0, 1].
    """
    return render(arrange(scenes, generator))


def render(arranged: Arrangement) -> Tensor:
    """Draw a batch of arranged scenes; a picture does not depend on its mates in the batch.

    A pixel whose centre lies `d` pixels outside an edge is covered by `clamp(1/2 - d, 0, 1)`.

    Args:
        arranged: B scenes, on any device.

    Returns:
        (B, 3, 64, 64) in [0, 1], float32, on that device.
    """
    image = _ground(arranged)
    for which in range(2):
        cover, colour = _object(arranged, which)
        image = torch.lerp(image, colour, cover[:, None])
    return (image + GRAIN * arranged.grain).clamp(0, 1)


def pixels(device: torch.device | str = "cpu") -> Tensor:
    """Centres of the pixels, (64, 64, 2): x and y."""
    steps = torch.arange(SIZE, dtype=torch.float32, device=device) + 0.5
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)


def turn(points: Tensor, angle: Tensor) -> Tensor:
    """Points (B, ..., 2) in a frame that is turned by `angle` (B,)."""
    cos, sin = (f(angle).reshape(-1, *[1] * (points.ndim - 2)) for f in (torch.cos, torch.sin))
    x, y = points.unbind(-1)
    return torch.stack([cos * x + sin * y, cos * y - sin * x], -1)


def _object(arranged: Arrangement, which: int) -> tuple[Tensor, Tensor]:
    """How far the first or second object covers each pixel, (B, 64, 64), and its colour there, (B, 3, 64, 64)."""
    centre, radius = arranged.centre[:, which], arranged.radius[:, which, None, None]
    frame = turn(pixels(centre.device) - centre[:, None, None], arranged.angle[:, which])
    edge, pale = torch.zeros(2, len(arranged), SIZE, SIZE, device=centre.device)
    for index, shape in enumerate(SHAPES):
        chosen = (arranged.shape[:, which] == index).nonzero()[:, 0]
        edge[chosen] = distance(shape, frame[chosen] / radius[chosen, ..., None]) * radius[chosen]
    for index, texture in enumerate(TEXTURES):
        chosen = (arranged.texture[:, which] == index).nonzero()[:, 0]
        pale[chosen] = paleness(texture, frame[chosen], torch.zeros(2, device=centre.device))
    colour = PALETTE.to(centre.device)[arranged.colour[:, which], :, None, None]
    cover = (0.5 - edge).clamp(0, 1) * arranged.present[:, which, None, None]
    return cover, colour + PALE * pale[:, None] * (1 - colour)


def paleness(texture: str, points: Tensor, phase: Tensor) -> Tensor:
    """Where a texture shows its second tone.

    Args:
        texture: one of `TEXTURES`.
        points: (..., 2) in pixels, in the object's frame.
        phase: broadcasts to `points`; where the texture begins, in periods.

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


def _ground(arranged: Arrangement) -> Tensor:
    """The background alone, (B, 3, 64, 64): its colour, mixed with white by up to `HAZE`."""
    device = arranged.ground.device
    colour = GROUND.to(device)[arranged.ground, :, None, None]
    clouds = F.interpolate(arranged.clouds, size=SIZE, mode="bicubic", align_corners=True)[:, 0].clamp(0, 1)
    direction = torch.stack([torch.cos(arranged.direction), torch.sin(arranged.direction)], -1)
    ramp = ((pixels(device) / SIZE - 0.5) * direction[:, None, None]).sum(-1)
    ramp = 0.5 + ramp / direction.abs().sum(-1)[:, None, None]  # from 0 to 1, corner to corner
    style = arranged.style[:, None, None]
    haze = torch.where(style == STYLES.index("gradient"), ramp, torch.zeros_like(ramp))
    haze = torch.where(style == STYLES.index("cloudy"), clouds, haze)
    return colour + HAZE * haze[:, None] * (1 - colour)
