"""Where the objects of a scene go, and all else that its caption leaves to chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from demos.batch import Batch, draw_backgrounds
from padecast.zoo.scenes.appearance import RADII, SIZE, TILT
from padecast.zoo.scenes.grammar import COLOURS, GROUNDS, SHAPES, SIZES, STYLES, TEXTURES, Scene
from padecast.zoo.scenes.shapes import REACH

MARGIN = 0.05  # pixels between an object and the border of the picture, at least
GAP = 2.0  # pixels between two objects, at least
LATTICE = 16  # pixels from one possible centre to the next: two tokens of the transformer
SPREAD = 0.1  # pixels by which a radius may differ from these
DRIFT = 0.5  # two objects lie at most so much aside of their relation, as a share of their distance along it
CLOUDS = 6  # cells of the coarse noise of a cloudy background, each way


@dataclass(frozen=True)
class Arrangement(Batch):
    """A batch of scenes, each with its chances taken: nothing about its picture is open any more.

    Args:
        present: (B, 2) bool, whether there is such an object.
        shape: (B, 2), index into ``SHAPES``.
        colour: (B, 2), index into ``COLOURS``.
        texture: (B, 2), index into ``TEXTURES``.
        radius: (B, 2), pixels.
        centre: (B, 2, 2), x and y in pixels.
        angle: (B, 2), radians.
        ground: (B,), index into ``GROUNDS``.
        style: (B,), index into ``STYLES``.
        direction: (B,), of the gradient, radians.
        clouds: (B, 1, 6, 6) in [0, 1].
        grain: (B, 3, 64, 64), standard normal.
    """

    present: Tensor
    shape: Tensor
    colour: Tensor
    texture: Tensor
    radius: Tensor
    centre: Tensor
    angle: Tensor
    ground: Tensor
    style: Tensor
    direction: Tensor
    clouds: Tensor
    grain: Tensor


def arrange(scenes: Sequence[Scene], generator: torch.Generator) -> Arrangement:
    """Take the chances that captions leave open: positions, angles, noise, unstated backgrounds.

    Args:
        scenes: B of them.
        generator: source of randomness, on the CPU.

    Returns:
        The batch, on the CPU. Objects lie inside the picture, apart, and as their relation says.
    """
    count = len(scenes)
    chance = torch.rand(count, 8, generator=generator)
    grain = torch.randn(count, 3, SIZE, SIZE, generator=generator)
    clouds = torch.rand(count, 1, CLOUDS, CLOUDS, generator=generator)
    low, high = clouds.amin((1, 2, 3), keepdim=True), clouds.amax((1, 2, 3), keepdim=True)
    things = [(scene.things * 2)[:2] for scene in scenes]  # a lone object twice; the second is not present
    present = torch.tensor([[True, len(scene.things) > 1] for scene in scenes])
    size = _indices([[SIZES.index(thing.size) for thing in pair] for pair in things])
    radius = torch.tensor(RADII)[size] + SPREAD * (2 * chance[:, 0:2] - 1)
    return Arrangement(
        present=present,
        shape=_indices([[SHAPES.index(thing.shape) for thing in pair] for pair in things]),
        colour=_indices([[COLOURS.index(thing.colour) for thing in pair] for pair in things]),
        texture=_indices([[TEXTURES.index(thing.texture) for thing in pair] for pair in things]),
        radius=radius,
        centre=_centres([scene.relation for scene in scenes], radius * REACH, chance[:, 4]),
        angle=TILT * (2 * chance[:, 5:7] - 1),
        **draw_backgrounds([scene.background for scene in scenes], chance[:, 2:4], GROUNDS, STYLES),
        direction=2 * torch.pi * chance[:, 7],
        clouds=(clouds - low) / (high - low),
        grain=grain,
    )


def _indices(values: Sequence[object]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _centres(relations: Sequence[str | None], reach: Tensor, chance: Tensor) -> Tensor:
    """Centres (B, 2, 2) on the lattice of objects that reach so far (B, 2), from one uniform chance each (B,).

    Of all pairs of places where both objects lie inside the picture, apart, and as their relation says, one is as
    likely as another. The second object of a scene that has but one is anywhere.
    """
    steps = torch.arange(LATTICE, SIZE, LATTICE, dtype=torch.float32)
    places = torch.cartesian_prod(steps, steps)
    first, second = places.repeat_interleave(len(places), 0), places.repeat(len(places), 1)
    apart = first - second
    fits = _inside(first, reach[:, :1]) & _inside(second, reach[:, 1:])
    fits &= (apart.norm(dim=1) >= reach.sum(1, keepdim=True) + GAP) | _alone(relations)
    fits &= torch.stack([_related(apart, relation) for relation in relations])
    order = (chance[:, None] * fits.sum(1, keepdim=True)).long()
    chosen = (fits.cumsum(1) > order).int().argmax(1)
    return torch.stack([first[chosen], second[chosen]], 1)


def _inside(places: Tensor, reach: Tensor) -> Tensor:
    """Which objects that reach so far (B, 1) lie inside the picture at which places (P, 2): (B, P) bool."""
    return torch.minimum(places, SIZE - places).amin(1) >= reach + MARGIN


def _alone(relations: Sequence[str | None]) -> Tensor:
    return torch.tensor([relation is None for relation in relations])[:, None]


def _related(apart: Tensor, relation: str | None) -> Tensor:
    """Which differences of two places (P, 2) a relation allows, (P,) bool."""
    if relation is None:
        return torch.ones(len(apart), dtype=torch.bool)
    axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[relation]
    along, across = sign * apart[:, axis], apart[:, 1 - axis]
    return (along > 0) & (across.abs() <= DRIFT * along)
