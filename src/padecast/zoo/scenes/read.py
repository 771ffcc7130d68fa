"""What a picture shows, read from its geometry and compared with what is drawn.

Objects are brighter than any background, so they are the connected regions above a threshold of the largest
channel. A colour is the one on whose line to white a region's pixels lie; a shape the one whose outline, drawn with the
region's centre and area, covers it best; a size follows from area and shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from padecast.zoo.scenes.appearance import GROUND, HAZE, PALE, PALETTE, RADII, SIZE, TILT, pixels, turn
from padecast.zoo.scenes.grammar import COLOURS, GROUNDS, SHAPES, SIZES
from padecast.zoo.scenes.shapes import AREAS, distance
from padecast.zoo.scenes.textures import read_textures

BRIGHT = 0.64  # between the brightest ground and the darkest object
SMALLEST = 6  # pixels; fewer are no object, nor a fault
OVERLAP = 0.94  # of a region with the nearest shape, below which it is no shape of ours
OFF = 0.1  # root mean square distance of a region's pixels from its colour's line, above which it is none of ours
FRAME, REACH = 32, 1.5  # samples each way, and half their extent in square roots of the area
ROUGH, STEEP = 0.022, 0.1  # haze: standard deviation from a plane, and the plane's range, of clouds and gradients


@dataclass(frozen=True)
class Seen:
    """One object as read; None where it is none of the grammar's."""

    shape: str | None
    colour: str | None
    size: str | None
    texture: str | None
    centre: tuple[float, float]


@dataclass(frozen=True)
class Reading:
    """What a picture shows: its objects, and the colour and style of its background."""

    things: tuple[Seen, ...]
    ground: str | None
    style: str


def read(images: Tensor) -> list[Reading]:
    """Read pictures.

    Args:
        images: (B, 3, 64, 64) in [0, 1].

    Returns:
        B readings.
    """
    bright = images.amax(1)
    regions, owner = split(bright > BRIGHT)
    things: list[list[Seen]] = [[] for _ in images]
    for index, seen in zip(owner.tolist(), _objects(images[owner], regions), strict=True):
        things[index].append(seen)
    grounds = _grounds(images, F.max_pool2d((bright > 0.55).float()[:, None], 5, 1, 2)[:, 0] == 0)
    return [Reading(tuple(seen), *ground) for seen, ground in zip(things, grounds, strict=True)]


def split(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Connected regions, corners included.

    Args:
        mask: (B, 64, 64) bool.

    Returns:
        Regions (K, 64, 64) bool of at least ``SMALLEST`` pixels, and the picture of each, (K,) in ascending order.
    """
    numbers = torch.arange(1, mask[0].numel() + 1, dtype=torch.float32).view(1, 1, *mask.shape[1:]) * mask[:, None]
    while True:
        spread = F.max_pool2d(numbers, 3, 1, 1) * mask[:, None]
        if torch.equal(spread, numbers):
            break
        numbers = spread
    regions, owner = [], []
    for index, labels in enumerate(numbers[:, 0]):
        found, counts = labels[labels > 0].unique(return_counts=True)
        for number in found[counts >= SMALLEST]:
            regions.append(labels == number)
            owner.append(index)
    stacked = torch.stack(regions) if regions else mask[:0]
    return stacked, torch.tensor(owner, dtype=torch.int64)


def _objects(images: Tensor, regions: Tensor) -> list[Seen]:
    """Each region (K, 64, 64) of its picture (K, 3, 64, 64), as an object."""
    if not len(regions):
        return []
    near = F.max_pool2d(regions.float()[:, None], 3, 1, 1)[:, 0]
    inside = F.max_pool2d(1 - regions.float()[:, None], 3, 1, 1)[:, 0] == 0
    inside = torch.where(inside.sum((1, 2), keepdim=True) >= SMALLEST, inside, regions)
    colours, pale = _colours(images, inside)
    cover = _cover(images, near)
    area = cover.sum((1, 2))
    centre = (cover[..., None] * pixels()).sum((1, 2)) / area[:, None]
    shapes = _shapes(cover, area, centre)
    textures = read_textures(pale, inside, centre)
    radii = [math.sqrt(float(size) / AREAS[shape]) if shape else None for size, shape in zip(area, shapes, strict=True)]
    sizes = [SIZES[_nearest(radius)] if radius else None for radius in radii]
    places = [(float(x), float(y)) for x, y in centre]
    return [Seen(*facts) for facts in zip(shapes, colours, sizes, textures, places, strict=True)]


def _nearest(radius: float) -> int:
    return min(range(len(RADII)), key=lambda index: abs(RADII[index] - radius))


def _colours(images: Tensor, inside: Tensor) -> tuple[list[str | None], Tensor]:
    """Colour of each region, and how far each pixel is from it on the way to the second tone, (K, 64, 64)."""
    towards = (1 - PALETTE) * PALE
    offset = images[:, None] - PALETTE[:, :, None, None]  # (K, colours, 3, 64, 64)
    pale = (offset * towards[:, :, None, None]).sum(2) / towards.square().sum(1)[:, None, None]
    error = (offset - pale.clamp(0, 1)[:, :, None] * towards[:, :, None, None]).square().sum(2)
    count = inside.sum((1, 2)).clamp(min=1)
    error = ((error * inside[:, None]).sum((2, 3)) / count[:, None]).sqrt()
    best, which = error.min(1)
    names = [COLOURS[index] if off < OFF else None for index, off in zip(which.tolist(), best.tolist(), strict=True)]
    return names, pale[torch.arange(len(which)), which].clamp(0, 1)


def _cover(images: Tensor, near: Tensor) -> Tensor:
    """How far each pixel (K, 64, 64) is the object's, from its brightness between those of ground and object."""
    bright = images.amax(1)
    ring = F.max_pool2d(near[:, None], 5, 1, 2)[:, 0] * (1 - near) * (bright < BRIGHT)
    ground = (bright * ring).sum((1, 2)) / ring.sum((1, 2)).clamp(min=1)
    core = near * (bright > BRIGHT)
    top = (bright * core).sum((1, 2)) / core.sum((1, 2)).clamp(min=1)
    level = (bright - ground[:, None, None]) / (top - ground)[:, None, None]
    return level.clamp(0, 1) * near


def _shapes(cover: Tensor, area: Tensor, centre: Tensor) -> list[str | None]:
    """The shape that covers each region best, by ``2 sum(a b) / (sum(a a) + sum(b b))``, after its area is made 1."""
    unit = area.sqrt()[:, None, None, None]
    grid = (_frame() * unit + centre[:, None, None]) / SIZE * 2 - 1
    seen = F.grid_sample(cover[:, None], grid, align_corners=False).flatten(1)
    names, drawn = _outlines()
    squares = seen.square().sum(1)[:, None] + drawn.square().sum(1)
    best, which = (2 * seen @ drawn.T / squares).max(1)
    return [names[index] if like > OVERLAP else None for index, like in zip(which.tolist(), best.tolist(), strict=True)]


def _frame() -> Tensor:
    """Sample points (1, 32, 32, 2) around an object of area 1."""
    steps = torch.linspace(-REACH, REACH, FRAME)
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)[None]


@cache
def _outlines() -> tuple[list[str], Tensor]:
    """Every shape with area 1, in many turns: names, and how far it covers each sample point, (P, 1024)."""
    angles = torch.linspace(-TILT, TILT, 7)
    frames = turn(_frame().expand(len(angles), FRAME, FRAME, 2), angles)
    drawn, names = [], []
    for shape in SHAPES:
        scale = AREAS[shape] ** 0.5
        edge = distance(shape, frames * scale) / scale
        drawn.append((0.5 - edge * 8).clamp(0, 1).flatten(1))  # as soft as a pixel on an object of 64 pixels
        names += [shape] * len(angles)
    return names, torch.cat(drawn)


def _grounds(images: Tensor, behind: Tensor) -> list[tuple[str | None, str]]:
    """Colour and style of each background, from the pixels (B, 64, 64) that no object is near."""
    count = behind.sum((1, 2)).clamp(min=1)
    mean = (images * behind[:, None]).sum((2, 3)) / count[:, None]
    towards = 1 - GROUND
    along = ((mean[:, None] - GROUND) * towards).sum(2) / towards.square().sum(1)
    error = (mean[:, None] - GROUND - along.clamp(0, HAZE)[..., None] * towards).norm(dim=2)
    best, which = error.min(1)
    base, way = GROUND[which][:, :, None, None], towards[which][:, :, None, None]
    haze = ((images - base) * way).sum(1) / way.square().sum(1)
    names = [GROUNDS[index] if off < OFF else None for index, off in zip(which.tolist(), best.tolist(), strict=True)]
    return list(zip(names, [_style(*pair) for pair in zip(haze, behind, strict=True)], strict=True))


def _style(haze: Tensor, behind: Tensor) -> str:
    """Style of a background, from its haze (64, 64) averaged over 4 x 4 pixels, and the plane that fits it best."""
    full = F.avg_pool2d(behind.float()[None], 4)[0] == 1
    points, values = F.avg_pool2d(pixels().permute(2, 0, 1), 4)[:, full].T / SIZE, F.avg_pool2d(haze[None], 4)[0][full]
    if len(values) < 8:
        return "plain"
    design = torch.cat([points, torch.ones(len(points), 1)], 1)
    plane = torch.linalg.lstsq(design, values[:, None]).solution[:, 0]
    if float((values - design @ plane).std()) > ROUGH:
        return "cloudy"
    return "gradient" if float(plane[:2].abs().sum()) > STEEP else "plain"
