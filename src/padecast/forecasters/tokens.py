"""What is known of a module's tokens, when some of them are chosen to be computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """The tokens of one module at a forecast step, of which some are to be computed.

    Args:
        age: ``(B, N)`` forecast steps since each was computed; 0 at the first one after a computed step.
        grid: Sizes of the grid in which they lie, row by row; the product is N. A single size is a line.
        influence: ``(B, N)`` attention that the other tokens of the block paid each at the latest computed step, 1 on
            average; ``None`` if it was not seen.
        control: ``(B, N)`` entropy of each one's attention to the text, in [0, 1]; ``None`` if it was not seen.
        rows: ``(B, N)`` which tokens are a sample's own and do not only fill up its batch; ``None`` if all are.
    """

    age: Tensor
    grid: tuple[int, ...]
    influence: Tensor | None = None
    control: Tensor | None = None
    rows: Tensor | None = None


def grid_of(count: int, latents: Sequence[int]) -> tuple[int, ...]:
    """Return the grid in which tokens lie, as the shape of the latents suggests; a line if it suggests none.

    Args:
        count: Number of tokens.
        latents: Shape of the model's first argument: ``(B, C, H, W)``, ``(B, C, F, H, W)``, or packed already.

    Example:
        >>> grid_of(16, (2, 4, 8, 8)), grid_of(24, (1, 4, 3, 4, 8)), grid_of(24, (1, 24, 64))
        ((4, 4), (3, 2, 4), (24,))
    """
    if len(latents) in (4, 5):
        *frames, height, width = latents[2:]
        for patch in range(1, min(height, width) + 1):
            grid = (*frames, height // patch, width // patch)
            if math.prod(grid) == count:
                return grid
    side = math.isqrt(count)
    return (side, side) if side * side == count else (count,)


def cells_of(grid: Sequence[int], side: int, device: torch.device | None = None) -> Tensor:
    """Number the cells of a grid: squares of so many tokens a side in every frame, as many in a row on a line.

    Returns:
        ``(N,)``: the cell of every token.

    Example:
        >>> cells_of((2, 4), 2).tolist(), cells_of((6,), 2).tolist()
        ([0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1])
    """
    if len(grid) == 1:
        return torch.arange(grid[0], device=device) // side**2
    *frames, height, width = grid
    rows, columns = (torch.arange(size, device=device) // side for size in (height, width))
    wide, high = -(-width // side), -(-height // side)
    plane = (rows[:, None] * wide + columns).flatten()
    shifts = torch.arange(math.prod(frames), device=device) * (wide * high)
    return (shifts[:, None] + plane).flatten()


def highest_of(scores: Tensor, cells: Tensor) -> Tensor:
    """Return ``(B, N)``: 1 for the highest score of every cell, one of them where several are, and 0 for the others.

    Example:
        >>> highest_of(torch.tensor([[1.0, 3.0, 2.0, 2.0]]), torch.tensor([0, 0, 1, 1]))
        tensor([[0., 1., 1., 0.]])
    """
    rank = scores.argsort(stable=True, dim=1, descending=True).argsort(1)
    cells = cells.expand_as(rank)
    best = rank.new_full(rank.shape, rank.shape[1]).scatter_reduce(1, cells, rank, "amin")
    highest: Tensor = rank == best.gather(1, cells)
    return highest.to(scores.dtype)
