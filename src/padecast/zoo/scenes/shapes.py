"""Outlines of the objects, as signed distances from their edge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from padecast.zoo.scenes.grammar import SHAPES

Corner = tuple[float, float]


def _around(radii: Sequence[float]) -> list[Corner]:
    """Corners at equal angles from the top, clockwise, at these distances from the centre."""
    angles = [2 * math.pi * index / len(radii) - math.pi / 2 for index in range(len(radii))]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in zip(radii, angles, strict=True)]


def _cross(reach: float, half: float) -> list[Corner]:
    """A plus sign whose arms end at ``reach`` and are ``2 half`` wide."""
    arm = [(-half, -reach), (half, -reach), (half, -half)]
    turned = [arm, [(-y, x) for x, y in arm], [(-x, -y) for x, y in arm], [(y, -x) for x, y in arm]]
    return [corner for quarter in turned for corner in quarter]


# Objects of one size have about the same area whatever their shape. The unit is the radius that ``layout`` draws;
# none reaches further than REACH times that.
CORNERS: dict[str, list[Corner]] = {
    "square": [(-0.76, -0.76), (0.76, -0.76), (0.76, 0.76), (-0.76, 0.76)],
    "triangle": _around([1.08] * 3),
    "star": _around([1.08, 0.54] * 5),
    "cross": _cross(1.0, 0.37),
}
CIRCLES: dict[str, tuple[float, float]] = {"circle": (0.0, 0.93), "ring": (0.52, 1.0)}  # inner and outer radius
REACH = 1.08


def distance(shape: str, points: Tensor) -> Tensor:
    """Signed distance of points from the edge of a shape of radius 1 around the origin.

    Args:
        shape: one of ``SHAPES``.
        points: (..., 2), x to the right and y down.

    Returns:
        (...), negative inside.
    """
    if shape in CIRCLES:
        inner, outer = CIRCLES[shape]
        radius = points.norm(dim=-1)
        return torch.maximum(radius - outer, inner - radius) if inner else radius - outer
    return _polygon(CORNERS[shape], points)


def _polygon(corners: list[Corner], points: Tensor) -> Tensor:
    """Distance from the nearest edge; its sign from how often a ray to the right crosses the outline."""
    x, y = points.unbind(-1)
    nearest = torch.full_like(x, math.inf)
    inside = torch.zeros_like(x, dtype=torch.bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ex, ey, px, py = bx - ax, by - ay, x - ax, y - ay
        along = ((px * ex + py * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        nearest = torch.minimum(nearest, (px - along * ex).square() + (py - along * ey).square())
        if ey:
            inside ^= ((y >= ay) != (y >= by)) & (px < py * (ex / ey))
    return torch.where(inside, -nearest.sqrt(), nearest.sqrt())


def area(shape: str) -> float:
    """Area of a shape of radius 1."""
    if shape in CIRCLES:
        inner, outer = CIRCLES[shape]
        return math.pi * (outer**2 - inner**2)
    corners = CORNERS[shape]
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairs)) / 2


AREAS = {shape: area(shape) for shape in SHAPES}
