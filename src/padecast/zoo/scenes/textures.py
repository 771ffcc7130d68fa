"""Which texture an object has, from where in it the second tone shows."""

from __future__ import annotations

import torch
from torch import Tensor

from padecast.zoo.scenes.appearance import TILT, paleness, pixels, turn
from padecast.zoo.scenes.grammar import TEXTURES

TURNS = 3
AWRY = (-1.0, 0.0, 1.0)  # pixels by which a pattern may lie aside of where it is drawn, each way
FAINTEST = 0.06  # mean paleness below which an object is plain
LIKENESS = 0.65  # correlation with the nearest pattern, below which a texture is none of ours
MARGIN = 0.08  # by which it exceeds the correlation with any other texture, or else it is neither


def read_textures(pale: Tensor, inside: Tensor, centre: Tensor) -> list[str | None]:
    """The texture of each object: the pattern with which its paleness correlates most.

    With ``m`` the mask, ``p`` paleness and ``q`` a pattern around the object's centre, the correlation is that of p
    and q over the pixels of m, largest over the pattern's turns and moves by a pixel.

    Args:
        pale: (K, 64, 64), 0 where an object has its colour and 1 where it has its second tone.
        inside: (K, 64, 64) bool, the pixels that are the object's alone.
        centre: (K, 2), of the objects, x and y in pixels.

    Returns:
        K textures, None where a pattern is seen that is none of ours.
    """
    mask, tone = inside.flatten(1).float(), (pale * inside).flatten(1)
    count = mask.sum(1).clamp(min=1)
    likeness = _correlations(mask, tone, count, centre)
    faint = (tone.sum(1) / count < FAINTEST).tolist()
    (best, second), which = likeness.sort(1, descending=True).values[:, :2].unbind(1), likeness.argmax(1)
    named = [TEXTURES[1:][index] for index in which.tolist()]
    clear = ((best > LIKENESS) & (best - second > MARGIN)).tolist()
    return ["plain" if light else name if sure else None for light, name, sure in zip(faint, named, clear, strict=True)]


def _correlations(mask: Tensor, tone: Tensor, count: Tensor, centre: Tensor) -> Tensor:
    """Largest correlation (K, 3) of each object with each of the textures but "plain"."""
    frames = _frames(centre)
    average = (tone.sum(1) / count)[:, None]
    own = (tone.square().sum(1) / count)[:, None] - average.square()
    found = []
    for texture in TEXTURES[1:]:
        patterns = paleness(texture, frames, torch.zeros(2)).flatten(2)  # (K, P, 4096)
        mean = torch.einsum("kn,kpn->kp", mask, patterns) / count[:, None]
        square = torch.einsum("kn,kpn->kp", mask, patterns.square()) / count[:, None]
        together = torch.einsum("kn,kpn->kp", tone, patterns) / count[:, None] - mean * average
        found.append((together / ((square - mean.square()) * own).clamp(min=1e-6).sqrt()).amax(1))
    return torch.stack(found, 1)


def _frames(centre: Tensor) -> Tensor:
    """Pixels in the frame of each object, in all turns and moves, (K, P, 64, 64, 2)."""
    moves = torch.cartesian_prod(torch.tensor(AWRY), torch.tensor(AWRY))
    around = pixels() - centre[:, None, None, None] - moves[None, :, None, None]
    angles = torch.linspace(-TILT, TILT, TURNS)
    turned = [turn(around.flatten(0, 1), angle.expand(len(centre) * len(moves))) for angle in angles]
    return torch.cat([one.unflatten(0, (len(centre), len(moves))) for one in turned], 1)
