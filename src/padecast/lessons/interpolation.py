"""Cubic splines along the noise that there is to see: how what was seen at some levels is read at others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FLOOR = 0.05
"""Added to a level and to what is left of one, so that pure noise and the clean image have a place."""
MARGIN, TAIL = 0.05, 0.1
"""How far above and below the levels that were seen a level is still read, in roots of levels. Below, where hardly any
noise is left, errors hardly matter, and a finer schedule always reaches further."""


def place(levels: Sequence[float]) -> Array:
    r"""Return where effective noise levels lie on the axis of the splines: a log-SNR with both ends at hand.

    .. math:: x = \log \frac{1 - \ell + \epsilon}{\ell + \epsilon}, \qquad \epsilon = 0.05

    Args:
        levels: Effective noise levels, in [0, 1].

    Example:
        >>> place([1.0, 0.5, 0.0]).round(2).tolist()
        [-3.04, 0.0, 3.04]
    """
    level = np.clip(np.asarray(levels, dtype=np.float64), 0.0, 1.0)
    result: Array = np.log((1 - level + FLOOR) / (level + FLOOR))
    return result


def spline_weights(nodes: Sequence[float] | Array, places: Sequence[float] | Array) -> Array:
    r"""Return the weights W of cubic splines: what was seen at nodes is, at other places, ``W @ seen``.

    The splines pass through all nodes with continuous second derivatives, which vanish at both ends, where they go on
    as straight lines. A spline is linear in what it passes through, so that ``W G W^T`` are the inner products of
    interpolated features, whatever root of G is interpolated, and no negative eigenvalue can come of it.

    Args:
        nodes: ``(T,)`` distinct, rising.
        places: ``(N,)`` any.

    Returns:
        ``(N, T)``; rows sum to one, and a place that is a node gets that node alone.

    Raises:
        ValueError: If nodes do not rise.

    Example:
        >>> spline_weights([0.0, 1.0, 2.0], [1.0, 0.5]).round(3).tolist()
        [[0.0, 1.0, 0.0], [0.406, 0.688, -0.094]]

    Reference:
        De Boor, "A Practical Guide to Splines", 1978, chapter IV.
    """
    x, at = np.asarray(nodes, dtype=np.float64), np.asarray(places, dtype=np.float64)
    size = len(x)
    if size == 1:
        return np.ones((len(at), 1))
    gaps = np.diff(x)
    if not (gaps > 0).all():
        raise ValueError("nodes of a spline must rise")
    curvature = _curvature(gaps)
    low = np.clip(np.searchsorted(x, at, side="right") - 1, 0, size - 2)
    inside = np.clip(at, x[0], x[-1])
    gap, right = gaps[low], (inside - x[low]) / gaps[low]
    left: Array = 1 - right
    eye: Array = np.eye(size)
    bend = (gap**2 / 6)[:, None]
    weights: Array = left[:, None] * eye[low] + right[:, None] * eye[low + 1]
    weights += bend * ((left**3 - left)[:, None] * curvature[low] + (right**3 - right)[:, None] * curvature[low + 1])
    slope: Array = (eye[low + 1] - eye[low]) / gap[:, None]
    slope += (
        gap[:, None]
        / 6
        * ((1 - 3 * left**2)[:, None] * curvature[low] + (3 * right**2 - 1)[:, None] * curvature[low + 1])
    )
    result: Array = weights + (at - inside)[:, None] * slope
    return result


def _curvature(gaps: Array) -> Array:
    """Return ``(T, T)``: second derivatives at the nodes, as weights on what the spline passes through."""
    size = len(gaps) + 1
    system: Array = np.eye(size)
    right: Array = np.zeros((size, size))
    widths: list[float] = gaps.tolist()
    for k in range(1, size - 1):
        before, after = widths[k - 1], widths[k]
        system[k, k - 1 : k + 2] = (before / 6, (before + after) / 3, after / 6)
        right[k, k - 1 : k + 2] = 1 / before, -1 / before - 1 / after, 1 / after
    result: Array = np.asarray(np.linalg.solve(system, right), dtype=np.float64)
    return result


def share_covered(seen: Sequence[float], levels: Sequence[float]) -> float:
    """Return the share of levels that lie within those that were seen, or hardly beyond.

    Args:
        seen: Levels at which something is known.
        levels: Those that are asked for.

    Example:
        >>> share_covered([1.0, 0.25], [1.0, 0.5, 0.24, 0.01])
        0.75
    """
    if not len(seen) or not len(levels):
        return 0.0
    low, high = math.sqrt(min(seen)) - TAIL, math.sqrt(max(seen)) + MARGIN
    return sum(low <= math.sqrt(level) <= high for level in levels) / len(levels)
