"""A seeded random projection that keeps inner products and bounds memory, whatever the size of the features."""

from __future__ import annotations

import torch
from torch import Tensor

SIZE = 65_521
"""Dimensions of the projection: prime, so that a model's outlier channels do not fall on one another."""
BLOCK, LAUNCH = 2**17, 2**22
"""Numbers of a sample that are folded at once, about: as fit a processor's cache, and where every operation is launched
on a device, as make launches few."""


def sketch(features: Tensor, size: int = SIZE, seed: int = 0, signs: Tensor | None = None) -> Tensor:
    r"""Fold features into ``size`` dimensions with random signs.

    .. math:: y_m = \sum_{j \equiv m \bmod \text{size}} s_j x_j, \qquad s_j = \pm 1

    Then ``<y(a), y(b)>`` has the expectation ``<a, b>`` and a relative deviation of about ``sqrt(2 / size)`` (0.55 %
    for the default size) where energy is spread over many elements. Signs are drawn block by block: nothing larger
    than a block (2^17 numbers, on a GPU 2^22, or ``size`` if that is more) per sample is ever made.

    Args:
        features: ``(B, n)``.
        size: Dimensions, at least 1. Features that are no larger are returned as they are.
        seed: Of the signs.
        signs: Those of this seed, ``(n,)``, from :func:`draw_signs`, for who folds many features of one size: that
            takes about as long as reading the features. By default they are drawn anew, which takes far longer.

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
    count = features.shape[1]
    if count <= size:
        return features.float()
    folded = torch.zeros(len(features), size, dtype=torch.float32, device=features.device)
    wide = max(block_of(features.device) // size, 1) * size
    for start in range(0, count, wide):
        part = features[:, start : start + wide]
        few = draw_signs(part.shape[1], seed, features.device, start) if signs is None else signs[start : start + wide]
        signed = part.float() * few
        whole = part.shape[1] // size * size
        folded += signed[:, :whole].unflatten(1, (-1, size)).sum(1)
        folded[:, : part.shape[1] - whole] += signed[:, whole:]
    return folded


def draw_signs(count: int, seed: int, device: torch.device, start: int = 0) -> Tensor:
    """Return signs that depend on place and seed alone, alike on every device: bits of a 31-bit integer hash.

    Args:
        count: How many.
        seed: Of all of them.
        device: Where they are wanted.
        start: Place of the first.

    Returns:
        ``(count,)`` int8, each 1 or -1.

    Example:
        >>> draw_signs(6, 0, torch.device("cpu")).tolist()
        [-1, -1, -1, 1, -1, 1]
    """
    signs = torch.empty(count, dtype=torch.int8, device=device)
    for first in range(0, count, wide := block_of(device)):
        last = min(first + wide, count)
        mixed = torch.arange(start + first + 1, start + last + 1, dtype=torch.int64, device=device)
        mixed.mul_(0x9E3779B1).add_((seed + 1) * 0x85EBCA6B).bitwise_and_(MASK)
        for shift, factor in ((16, 0x7FEB352D), (15, 0x68E31DA4)):
            mixed.bitwise_xor_(mixed >> shift).mul_(factor).bitwise_and_(MASK)
        signs[first:last] = mixed.bitwise_right_shift_(16).bitwise_and_(1).mul_(2).sub_(1)
    return signs


def block_of(device: torch.device) -> int:
    """Return how many numbers of a sample are folded at once."""
    return BLOCK if device.type == "cpu" else LAUNCH


MASK = 0x7FFFFFFF
