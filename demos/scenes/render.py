"""Pictures of scenes: anti-aliased objects with textures, on a background."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from demos.batch import ramp
from demos.scenes.layout import Arrangement, arrange
from padecast.zoo.scenes.appearance import GROUND, HAZE, PALE, PALETTE, SIZE, paleness, pixels, turn
from padecast.zoo.scenes.grammar import SHAPES, STYLES, TEXTURES, Scene
from padecast.zoo.scenes.shapes import distance

GRAIN = 0.01  # standard deviation of the noise on every pixel


def picture(scenes: Sequence[Scene], generator: torch.Generator) -> Tensor:
    """Draw each scene once, with its chances taken from the generator.

    Returns:
        (B, 3, 64, 64) in [0, 1].
    """
    return render(arrange(scenes, generator))


def render(arranged: Arrangement) -> Tensor:
    """Draw a batch of arranged scenes; a picture does not depend on its mates in the batch.

    A pixel whose centre lies ``d`` pixels outside an edge is covered by ``clamp(1/2 - d, 0, 1)``.

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


def _ground(arranged: Arrangement) -> Tensor:
    """The background alone, (B, 3, 64, 64): its colour, mixed with white by up to ``HAZE``."""
    device = arranged.ground.device
    colour = GROUND.to(device)[arranged.ground, :, None, None]
    clouds = F.interpolate(arranged.clouds, size=SIZE, mode="bicubic", align_corners=True)[:, 0].clamp(0, 1)
    slope = ramp(arranged.direction)
    style = arranged.style[:, None, None]
    haze = torch.where(style == STYLES.index("gradient"), slope, torch.zeros_like(slope))
    haze = torch.where(style == STYLES.index("cloudy"), clouds, haze)
    return colour + HAZE * haze[:, None] * (1 - colour)
