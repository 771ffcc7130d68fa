"""What a clip shows, read from its geometry and compared with what is drawn.

The object is brighter than any background, so it is the connected region above a threshold of the largest channel. A
colour is the nearest one; a shape the one whose outline, drawn with the region's centre and area and in any turn,
covers it best over all frames; movement follows from how centre, area and turn change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from padecast.zoo.motion.appearance import BEHIND, COLOUR, FRAMES, GROWTH, RADII, TRAVEL, TURN
from padecast.zoo.motion.grammar import COLOURS, GROUNDS, SHAPES, SIZES
from padecast.zoo.scenes.appearance import HAZE, SIZE, pixels, turn
from padecast.zoo.scenes.read import BRIGHT, FRAME, OFF, REACH, SMALLEST, STEEP, split
from padecast.zoo.scenes.shapes import AREAS, distance

OVERLAP = 0.9  # mean over frames with the nearest shape, below which it is no shape of ours
STEP = math.radians(4)  # between the turns in which every shape is tried
SYMMETRY = {"square": 4, "triangle": 3, "star": 5}  # turns by a whole circle over this look alike
CLEAR, FAINT = 0.5, 0.35  # of the movement that is drawn: there is one above, and none below


@dataclass(frozen=True)
class Reading:
    """What a clip shows; None where it is none of the grammar's, or not the same throughout.

    Args:
        count: objects in every frame; None if not always as many.
        shape: one of ``SHAPES``.
        colour: one of ``COLOURS``.
        size: one of ``SIZES``.
        movement: one of ``MOVEMENTS``.
        ground: one of ``GROUNDS``.
        style: one of ``STYLES``.
    """

    count: int | None
    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    movement: str | None = None
    ground: str | None = None
    style: str | None = None


def read(clips: Tensor) -> list[Reading]:
    """Read clips.

    Args:
        clips: (B, 3, 17, 64, 64) in [0, 1].

    Returns:
        B readings.
    """
    return [_read(clip.transpose(0, 1)) for clip in clips]


def _read(frames: Tensor) -> Reading:
    """One clip, (17, 3, 64, 64)."""
    bright = frames.amax(1)
    regions, owner = split(bright > BRIGHT)
    counts = {int(count) for count in owner.bincount(minlength=FRAMES)}
    ground, style = _ground(frames, F.max_pool2d((bright > 0.55).float()[:, None], 5, 1, 2)[:, 0] == 0)
    if counts != {1}:
        return Reading(counts.pop() if len(counts) == 1 else None, ground=ground, style=style)
    cover = _cover(frames, F.max_pool2d(regions.float()[:, None], 3, 1, 1)[:, 0])
    area = cover.sum((1, 2))
    centre = (cover[..., None] * pixels()).sum((1, 2)) / area[:, None]
    shape, angle = _shape(cover, area, centre)
    radius = (area / AREAS[shape]).sqrt() if shape else area.sqrt()
    size = SIZES[int(radius.mean() > sum(RADII) / 2)] if shape else None
    return Reading(1, shape, _colour(frames, regions), size, _movement(centre, radius, angle), ground, style)


def _cover(frames: Tensor, near: Tensor) -> Tensor:
    """How far each pixel (17, 64, 64) is the object's, from its brightness between those of ground and object."""
    bright = frames.amax(1)
    ring = F.max_pool2d(near[:, None], 5, 1, 2)[:, 0] * (1 - near) * (bright < BRIGHT)
    core = near * (bright > BRIGHT)
    ground, top = ((bright * where).sum((1, 2)) / where.sum((1, 2)).clamp(min=1) for where in (ring, core))
    return ((bright - ground[:, None, None]) / (top - ground)[:, None, None]).clamp(0, 1) * near


def _colour(frames: Tensor, regions: Tensor) -> str | None:
    """The colour nearest to the mean of the region's inner pixels over all frames."""
    inside = F.max_pool2d(1 - regions.float()[:, None], 3, 1, 1)[:, 0] == 0
    inside = inside if inside.sum() >= SMALLEST * FRAMES else regions
    mean = (frames * inside[:, None]).sum((0, 2, 3)) / inside.sum()
    off, which = (COLOUR - mean).norm(dim=1).min(0)
    return COLOURS[int(which)] if off < 2 * OFF else None


def _shape(cover: Tensor, area: Tensor, centre: Tensor) -> tuple[str | None, Tensor]:
    """The shape that covers the region best, by ``2 sum(a b) / (sum(a a) + sum(b b))``, and its turn in every frame."""
    grid = (_frame() * area.sqrt()[:, None, None, None] + centre[:, None, None]) / SIZE * 2 - 1
    seen = F.grid_sample(cover[:, None], grid, align_corners=False).flatten(1)
    best: dict[str, tuple[float, Tensor]] = {}
    for shape in SHAPES:
        angles, drawn = _outlines(shape)
        likeness = 2 * seen @ drawn.T / (seen.square().sum(1)[:, None] + drawn.square().sum(1))
        most, which = likeness.max(1)
        best[shape] = float(most.mean()), angles[which] * SYMMETRY.get(shape, 0)
    shape = max(best, key=lambda name: best[name][0])
    return (shape if best[shape][0] > OVERLAP else None), _unrolled(best[shape][1]) / SYMMETRY.get(shape, 1)


def _unrolled(angles: Tensor) -> Tensor:
    """Angles without jumps by a whole circle from one to the next."""
    steps = (angles.diff() + math.pi) % (2 * math.pi) - math.pi
    return torch.cat([angles[:1], angles[0] + steps.cumsum(0)])


def _frame() -> Tensor:
    """Sample points (1, 32, 32, 2) around an object of area 1."""
    steps = torch.linspace(-REACH, REACH, FRAME)
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)[None]


@cache
def _outlines(shape: str) -> tuple[Tensor, Tensor]:
    """A shape with area 1 in all turns that differ: angles (P,), and how far it covers each sample point (P, 1024)."""
    period = 2 * math.pi / SYMMETRY.get(shape, 360)
    angles = torch.arange(0, period, STEP)
    scale = AREAS[shape] ** 0.5
    frames = turn(_frame().expand(len(angles), FRAME, FRAME, 2), angles)
    return angles, (0.5 - distance(shape, frames * scale) / scale * 8).clamp(0, 1).flatten(1)


def _movement(centre: Tensor, radius: Tensor, angle: Tensor) -> str | None:
    """The one movement that is clear, while all others are faint."""
    travel, growth, turned = _change(centre), _change(radius.log()[:, None]), _change(angle[:, None])
    full = math.log((1 + GROWTH) / (1 - GROWTH))
    found = {
        "moving right": float(travel[0]) / TRAVEL,
        "moving down": float(travel[1]) / TRAVEL,
        "growing": float(growth) / full,
        "turning": float(turned) / TURN,
    }
    opposite = {"moving right": "moving left", "moving down": "moving up", "growing": "shrinking"}
    (second, _), (most, name) = sorted((abs(amount), name) for name, amount in found.items())[-2:]
    if most < CLEAR or second > FAINT:
        return None
    return name if found[name] > 0 else opposite.get(name)


def _change(values: Tensor) -> Tensor:
    """How much values (17, N) change from the first frame to the last, by the line that fits them best."""
    time = torch.linspace(-1, 1, FRAMES)[:, None]
    return 2 * (time * (values - values.mean(0))).sum(0) / time.square().sum()


def _ground(frames: Tensor, behind: Tensor) -> tuple[str | None, str | None]:
    """Colour and style of the background, from the pixels (17, 64, 64) that the object is not near."""
    count = behind.sum(0)
    mean = (frames * behind[:, None]).sum(0) / count.clamp(min=1)  # over time, (3, 64, 64)
    seen = count > 0
    if seen.sum() < SIZE:
        return None, None
    colour = mean[:, seen].mean(1)
    towards = 1 - BEHIND
    along = ((colour - BEHIND) * towards).sum(1) / towards.square().sum(1)
    off, which = (colour - BEHIND - along.clamp(0, HAZE)[:, None] * towards).norm(dim=1).min(0)
    way = towards[which]
    haze = ((mean[:, seen] - BEHIND[which][:, None]) * way[:, None]).sum(0) / way.square().sum()
    design = torch.cat([pixels()[seen] / SIZE, torch.ones(len(haze), 1)], 1)
    slope = torch.linalg.lstsq(design, haze[:, None]).solution[:2].abs().sum()
    return (GROUNDS[int(which)] if off < OFF else None), ("gradient" if slope > STEEP else "plain")
