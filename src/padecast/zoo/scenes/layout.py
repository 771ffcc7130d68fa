"""Where the objects of a scene go, and all else that its caption leaves to chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .grammar import COLOURS, GROUNDS, SHAPES, SIZES, STYLES, TEXTURES, Scene
from .shapes import REACH

SIZE = 64
MARGIN = 0.25  # pixels between an object and the border of the picture, at least
GAP = 2.0  # pixels between two objects, at least
LATTICE = 4  # pixels from one possible centre to the next, which is what a latent shows
RADII = (7.25, 9.5, 12.0)  # pixels, of small, medium and large
SPREAD = 0.1  # pixels by which a radius may differ from these
TILT = 0.03  # radians by which an object may be turned: 2 degrees
DRIFT = 0.5  # two objects lie at most so much aside of their relation, as a share of their distance along it
CLOUDS = 6  # cells of the coarse noise of a cloudy background, each way


@dataclass(frozen=True)
class Arrangement:
    """A batch of scenes, each with its chances taken: nothing about its picture is open any more.

    Args:
        present: (B, 2) bool, whether there is such an object.
        shape: (B, 2), index into `SHAPES`.
        colour: (B, 2), index into `COLOURS`.
        texture: (B, 2), index into `TEXTURES`.
        radius: (B, 2), pixels.
        centre: (B, 2, 2), x and y in pixels.
        angle: (B, 2), radians.
        ground: (B,), index into `GROUNDS`.
        style: (B,), index into `STYLES`.
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

    def __len__(self) -> int:
        return len(self.ground)

    def __getitem__(self, chosen: slice) -> Arrangement:
        return Arrangement(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def to(self, device: torch.device | str) -> Arrangement:
        """The same on another device."""
        return Arrangement(*(getattr(self, field.name).to(device) for field in fields(self)))


def arrange(scenes: Sequence[Scene], generator: torch.Generator) -> Arrangement:
    """Take the chances that captions leave open: positions, angles, noise, unstated backgrounds.

    Args:
        scenes: B of them.
        generator: source of randomness, on the CPU.

    Returns:
        The batch, on the CPU. Objects lie inside the picture, apart, and as their relation says.
    """
    count = len(scenes)
    chance = torch.rand(count, 11, generator=generator)
    grain = torch.randn(count, 3, SIZE, SIZE, generator=generator)
    clouds = torch.rand(count, 1, CLOUDS, CLOUDS, generator=generator)
    low, high = clouds.amin((1, 2, 3), keepdim=True), clouds.amax((1, 2, 3), keepdim=True)
    things = [(scene.things * 2)[:2] for scene in scenes]  # a lone object twice; the second is not present
    present = torch.tensor([[True, len(scene.things) > 1] for scene in scenes])
    size = _indices([[SIZES.index(thing.size) for thing in pair] for pair in things])
    radius = torch.tensor(RADII)[size] + SPREAD * (2 * chance[:, 0:2] - 1)
    stated = [scene.background for scene in scenes]
    open_ground = (chance[:, 2] * len(GROUNDS)).long().tolist()
    open_style = (chance[:, 3] * len(STYLES)).long().tolist()
    return Arrangement(
        present=present,
        shape=_indices([[SHAPES.index(thing.shape) for thing in pair] for pair in things]),
        colour=_indices([[COLOURS.index(thing.colour) for thing in pair] for pair in things]),
        texture=_indices([[TEXTURES.index(thing.texture) for thing in pair] for pair in things]),
        radius=radius,
        centre=_centres([scene.relation for scene in scenes], radius * REACH, chance[:, 4:8]),
        angle=TILT * (2 * chance[:, 8:10] - 1),
        ground=_indices([GROUNDS.index(b.colour) if b else o for b, o in zip(stated, open_ground, strict=True)]),
        style=_indices([STYLES.index(b.style) if b else o for b, o in zip(stated, open_style, strict=True)]),
        direction=2 * torch.pi * chance[:, 10],
        clouds=(clouds - low) / (high - low),
        grain=grain,
    )


def _indices(values: Sequence[object]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _centres(relations: Sequence[str | None], reach: Tensor, chance: Tensor) -> Tensor:
    """Centres (B, 2, 2) on the lattice of objects that reach so far (B, 2), from four uniform chances each (B, 4).

    Along the relation's axis, what room is left is shared at random between before, between and behind the two;
    across it, both are uniform, the second within `DRIFT` times their distance of the first.
    """
    first, second = reach.unbind(1)
    margin, gap = MARGIN + LATTICE / 2, GAP + LATTICE  # room for the move to the lattice
    room = SIZE - 2 * (first + second) - 2 * margin - gap
    ends = room[:, None] * chance[:, :2].sort(dim=1).values
    near = margin + first + ends[:, 0]
    far = SIZE - margin - second - (room - ends[:, 1])
    side = _within(chance[:, 2], margin + first, SIZE - margin - first)
    drift = DRIFT * (far - near)
    low = torch.maximum(margin + second, side - drift)
    high = torch.minimum(SIZE - margin - second, side + drift)
    other = _within(chance[:, 3], low, high)
    names = [relation or "" for relation in relations]
    backwards = torch.tensor([name in ("right of", "below") for name in names])[:, None]
    along = torch.stack([near, far], 1)
    along = torch.where(backwards, SIZE - along, along)
    across = torch.stack([side, other], 1)
    upright = torch.tensor([name in ("above", "below") for name in names])[:, None, None]
    centres = torch.where(upright, torch.stack([across, along], -1), torch.stack([along, across], -1))
    alone = torch.tensor([relation is None for relation in relations])[:, None, None]
    anywhere = _within(chance[:, :2], (margin + first)[:, None], (SIZE - margin - first)[:, None])
    return LATTICE * (torch.where(alone, anywhere[:, None], centres) / LATTICE).round()


def _within(chance: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return low + chance * (high - low)
