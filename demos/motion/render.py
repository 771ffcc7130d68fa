"""Frames of clips: one anti-aliased object on a plain background or a gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from demos.batch import ramp
from demos.motion.course import Course, plot
from padecast.zoo.motion.appearance import BEHIND, COLOUR
from padecast.zoo.motion.grammar import SHAPES, STYLES, Clip
from padecast.zoo.scenes.appearance import HAZE, pixels, turn
from padecast.zoo.scenes.shapes import distance


def film(clips: Sequence[Clip], generator: torch.Generator) -> Tensor:
    """Render each clip once, with its chances taken from the generator.

    Returns:
        (B, 3, 17, 64, 64) in [0, 1].
    """
    return render(plot(clips, generator))


def render(course: Course) -> Tensor:
    """Render a batch of clips; a clip does not depend on its mates in the batch.

    Args:
        course: B clips of T frames, on any device.

    Returns:
        (B, 3, T, 64, 64) in [0, 1], float32, on that device.
    """
    colour = COLOUR.to(course.colour.device)[course.colour]
    return torch.lerp(background(course)[:, :, None], colour[:, :, None, None, None], cover(course)[:, None])


def cover(course: Course) -> Tensor:
    """How far the object covers each pixel, (B, T, 64, 64): ``clamp(1/2 - d, 0, 1)``, d pixels outside its edge."""
    count, frames = course.radius.shape
    radius = course.radius.flatten()[:, None, None]
    points = pixels(radius.device) - course.centre.flatten(0, 1)[:, None, None]
    points = turn(points, course.angle.flatten()) / radius[..., None]
    edge = torch.zeros_like(points[..., 0])
    owner = course.shape.repeat_interleave(frames)
    for index, shape in enumerate(SHAPES):
        chosen = (owner == index).nonzero()[:, 0]
        edge[chosen] = distance(shape, points[chosen])
    covered: Tensor = (0.5 - edge * radius).clamp(0, 1).unflatten(0, (count, frames))
    return covered


def background(course: Course) -> Tensor:
    """The background alone, (B, 3, 64, 64): its colour, mixed with white by up to ``HAZE`` where it is a gradient."""
    colour = BEHIND.to(course.ground.device)[course.ground, :, None, None]
    haze = HAZE * ramp(course.direction) * (course.style == STYLES.index("gradient"))[:, None, None]
    return colour + haze[:, None] * (1 - colour)
