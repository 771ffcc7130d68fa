"""A seeded random projection that keeps inner products and bounds memory, whatever the size of the features."""

from __future__ import annotations

import torch
from torch import Tensor

SIZE = 65_521
"""Dimensions of the projection: prime, so that a model's outlier channels do not fall on one another."""


def sketch(features: Tensor, size: int = SIZE, seed: int = 0) -> Tensor:
    r"""Fold features into ``size`` dimensions with random signs.

    .. math:: y_m = \sum_{j \equiv m \bmod \text{size}} s_j x_j, \qquad s_j = \pm 1

    Then ``<y(a), y(b)>`` has the expectation ``<a, b>`` and a relative deviation of about ``sqrt(2 / size)`` (0.55 %
    for the default size) where energy is spread over many elements. Signs are drawn piece by piece: nothing larger
    than ``size`` per sample is ever made, or than :data:`PIECE` on a GPU, where every operation takes time to begin.

    Args:
        features: ``(B, n)``.
        size: Dimensions, at least 1. Features that are no larger are returned as they are.
        seed: Of the signs.

    Returns:
        ``(B, min(n, size))`` float32 on the features' device.

    Example:
        >>> x = torch.randn(1, 100_000, generator=torch.Generator().manual_seed(0))
        >>> y = sketch(x, size=10_007)
        >>> y.shape, bool((y.square().sum() / x.square().sum() - 1).abs() < 0.05)
        (torch.Size([1, 10007]), True)

    Reference:
        Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", 2004 (count sketch); the error of
        the inner product is that of Alon, Matias and Szegedy, 1999.
    """
    if features.shape[1] <= size:
        return features.float()
    return fold(features, size, seed, 1 if features.device.type == "cpu" else max(1, PIECE // size))


PIECE = 2**18
"""Elements per sample that are folded at a time on a GPU: a few large operations in place of hundreds of small ones."""


def fold(features: Tensor, size: int, seed: int, rows: int) -> Tensor:
    """Return :func:`sketch` of features that are larger, so many times ``size`` of them at a time."""
    folded = torch.zeros(len(features), size, dtype=torch.float32, device=features.device)
    for start in range(0, features.shape[1], rows * size):
        part = features[:, start : start + rows * size].float()
        signs = _signs(start, part.shape[1], seed, features.device)
        whole = part.shape[1] // size
        cut = whole * size if whole > 1 else 0
        if cut:
            folded += (part[:, :cut] * signs[:cut]).unflatten(1, (whole, size)).sum(1)
        folded[:, : part.shape[1] - cut].addcmul_(part[:, cut:], signs[cut:])
    return folded


def _signs(start: int, count: int, seed: int, device: torch.device) -> Tensor:
    """Return signs that depend on place and seed alone, alike on every device: bits of a 31-bit integer hash."""
    place = torch.arange(start, start + count, dtype=torch.int64, device=device) + 1
    mixed = (place * 0x9E3779B1 + (seed + 1) * 0x85EBCA6B) & MASK
    for shift, factor in ((16, 0x7FEB352D), (15, 0x68E31DA4)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & MASK
    return ((mixed >> 16) & 1).float().mul_(2).sub_(1)


MASK = 0x7FFFFFFF
