"""Where an object is in every frame, and all else that a caption leaves to chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from demos.batch import Batch, draw_backgrounds
from padecast.zoo.motion.appearance import FRAMES, GROWTH, RADII, TRAVEL, TURN
from padecast.zoo.motion.grammar import COLOURS, GROUNDS, MOVEMENTS, SHAPES, SIZES, STYLES, Clip
from padecast.zoo.scenes.appearance import SIZE
from padecast.zoo.scenes.shapes import REACH

MARGIN = 2.0  # pixels between an object and the border of the picture
LATTICE = 16  # pixels from one possible place to the next, halfway through the clip: what a token shows
TILT = 0.03  # radians by which an object may be turned at first: 2 degrees
SPREAD = 0.1  # pixels by which a radius may differ from these
_WAYS = {"moving left": (-1, 0), "moving right": (1, 0), "moving up": (0, -1), "moving down": (0, 1)}
_GROWTH = {"growing": GROWTH, "shrinking": -GROWTH}


@dataclass(frozen=True)
class Course(Batch):
    """A batch of clips, each with its chances taken: nothing about its pixels is open any more.

    Args:
        shape: (B,), index into ``SHAPES``.
        colour: (B,), index into ``COLOURS``.
        movement: (B,), index into ``MOVEMENTS``.
        radius: (B, 17), pixels.
        centre: (B, 17, 2), x and y in pixels.
        angle: (B, 17), radians.
        ground: (B,), index into ``GROUNDS``.
        style: (B,), index into ``STYLES``.
        direction: (B,), of the gradient, radians.
    """

    shape: Tensor
    colour: Tensor
    movement: Tensor
    radius: Tensor
    centre: Tensor
    angle: Tensor
    ground: Tensor
    style: Tensor
    direction: Tensor

    def part(self, start: int, frames: int) -> Course:
        """Some frames of the same clips, one after the other."""
        timed = {name: getattr(self, name)[:, start : start + frames] for name in ("radius", "centre", "angle")}
        return Course(**{**{field.name: getattr(self, field.name) for field in fields(self)}, **timed})


def plot(clips: Sequence[Clip], generator: torch.Generator) -> Course:
    """Take the chances that captions leave open: places, angles, unstated backgrounds.

    Args:
        clips: B of them.
        generator: source of randomness, on the CPU.

    Returns:
        The batch, on the CPU. Objects lie inside the picture in every frame and move at a constant speed; halfway they
        are on the lattice.
    """
    chance = torch.rand(len(clips), 7, generator=generator)
    time = torch.linspace(-1, 1, FRAMES)
    radius = torch.tensor(RADII)[_indices(clips, "size", SIZES)] + SPREAD * (2 * chance[:, 0] - 1)
    growth = torch.tensor([_GROWTH.get(clip.movement, 0.0) for clip in clips])
    reach = radius * REACH * (1 + growth.abs())
    way = torch.tensor([_WAYS.get(clip.movement, (0, 0)) for clip in clips]) * TRAVEL / 2
    room = SIZE / 2 - MARGIN - reach[:, None] - way.abs()
    places = (room / LATTICE).floor()  # on each side of the picture's middle
    middle = SIZE / 2 + LATTICE * (((2 * places + 1) * chance[:, 1:3]).floor() - places)
    turn = torch.tensor([TURN / 2 * (clip.movement == "turning") for clip in clips])
    return Course(
        shape=_indices(clips, "shape", SHAPES),
        colour=_indices(clips, "colour", COLOURS),
        movement=_indices(clips, "movement", MOVEMENTS),
        radius=radius[:, None] * (1 + growth[:, None] * time),
        centre=middle[:, None] + way[:, None] * time[:, None],
        angle=TILT * (2 * chance[:, 3, None] - 1) + turn[:, None] * time,
        **draw_backgrounds([clip.background for clip in clips], chance[:, 4:6], GROUNDS, STYLES),
        direction=2 * torch.pi * chance[:, 6],
    )


def _indices(clips: Sequence[Clip], kind: str, known: Sequence[str]) -> Tensor:
    return torch.tensor([known.index(getattr(clip, kind)) for clip in clips])
