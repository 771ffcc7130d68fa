"""Which texture an object has, from where in it the second tone shows."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from .grammar import TEXTURES
from .layout import SIZE, TILT
from .render import paleness, pixels, turn

PHASES = {"striped": (12, 1), "checked": (8, 8), "dotted": (6, 6)}  # how finely each is tried, each way
TURNS = 5
FAINTEST = 0.06  # mean paleness below which an object is plain
LIKENESS = 0.65  # correlation with the nearest pattern, below which a texture is none of ours
MARGIN = 0.08  # by which it exceeds the correlation with any other texture, or else it is neither


def read_textures(pale: Tensor, inside: Tensor) -> list[str | None]:
    """The texture of each object: the pattern with which its paleness correlates most.

    With `m` the mask, `p` paleness and `q` a pattern, the correlation is that of p and q over the pixels of m,
    largest over the pattern's turns and phases.

    Args:
        pale: (K, 64, 64), 0 where an object has its colour and 1 where it has its second tone.
        inside: (K, 64, 64) bool, the pixels that are the object's alone.

    Returns:
        K textures, None where a pattern is seen that is none of ours.
    """
    mask, tone = inside.flatten(1).float(), (pale * inside).flatten(1)
    count = mask.sum(1).clamp(min=1)
    likeness = _correlations(mask, tone, count)
    faint = (tone.sum(1) / count < FAINTEST).tolist()
    (best, second), which = likeness.sort(1, descending=True).values[:, :2].unbind(1), likeness.argmax(1)
    named = [TEXTURES[1:][index] for index in which.tolist()]
    clear = ((best > LIKENESS) & (best - second > MARGIN)).tolist()
    return ["plain" if light else name if sure else None for light, name, sure in zip(faint, named, clear, strict=True)]


def _correlations(mask: Tensor, tone: Tensor, count: Tensor) -> Tensor:
    """Largest correlation (K, 3) of each object with each of the textures but "plain"."""
    found = []
    for texture in TEXTURES[1:]:
        patterns = _patterns(texture).to(mask)
        mean, square = mask @ patterns.T / count[:, None], mask @ patterns.square().T / count[:, None]
        average = (tone.sum(1) / count)[:, None]
        together = tone @ patterns.T / count[:, None] - mean * average
        spread = (square - mean.square()) * ((tone.square().sum(1) / count)[:, None] - average.square())
        found.append((together / spread.clamp(min=1e-6).sqrt()).amax(1))
    return torch.stack(found, 1)


@cache
def _patterns(texture: str) -> Tensor:
    """A texture over the whole picture in all turns and phases, (P, 4096)."""
    angles = torch.linspace(-TILT, TILT, TURNS)
    frames = turn(pixels().expand(TURNS, SIZE, SIZE, 2), angles)
    across, down = (torch.arange(steps) / steps for steps in PHASES[texture])
    phases = torch.cartesian_prod(across, down)
    patterns = [paleness(texture, frames, phase) for phase in phases]
    return torch.stack(patterns).flatten(0, 1).flatten(1)
