"""The digits the demo model learns from: scikit-learn's scans, drawn smoothly on a 16 x 16 canvas."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 16
CLASSES = 10
# A scan fills its 8 x 8 frame to the border; drawn at 7/8 of the canvas it keeps a dark margin of one pixel.
FILL = 0.875


@dataclass(frozen=True)
class Wobble:
    """How far an augmented digit may differ from its scan; every range is uniform and symmetric.

    Args:
        turn: rotation in degrees, default 7.
        grow: relative change of size, default 0.06.
        slant: horizontal shear, default 0.08.
        shift: displacement in pixels of the 16 x 16 canvas, default 0.7.
    """

    turn: float = 7.0
    grow: float = 0.06
    slant: float = 0.08
    shift: float = 0.7


def load_scans() -> tuple[Tensor, Tensor]:
    """The 1797 scans of ``sklearn.datasets.load_digits``.

    Returns:
        Scans of shape (1797, 1, 8, 8), float32 in [0, 1], and their labels of shape (1797,), int64 in 0..9.

    Raises:
        ImportError: scikit-learn is not installed (it is needed for training only).
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the demo digits come from scikit-learn, which is not installed.\n"
            "Training needs it, sampling does not. Install it with:   pip install scikit-learn"
        ) from error
    digits = load_digits()
    scans = torch.from_numpy(digits.images).to(torch.float32)[:, None] / 16
    return scans, torch.from_numpy(digits.target).to(torch.int64)


def draw(scans: Tensor, frames: Tensor | None = None) -> Tensor:
    """Draw scans on the canvas, with a dark background and firm strokes.

    Bicubic resampling, then a smoothstep: with ``v`` the resampled value and
    ``u = clamp((v - 0.05) / 0.9, 0, 1)`` a pixel is ``3 u² - 2 u³``.

    Args:
        scans: (B, 1, 8, 8) in [0, 1].
        frames: (B, 2, 3) affine maps from canvas to scan coordinates, as ``affine_grid`` takes them;
            default: centred, upright, 7/8 of the canvas.

    Returns:
        (B, 1, 16, 16) in [0, 1], zero outside the strokes.
    """
    if frames is None:
        frames = (torch.eye(2, 3, device=scans.device) / FILL).expand(len(scans), 2, 3)
    grid = F.affine_grid(frames, [len(scans), 1, SIZE, SIZE], align_corners=False)
    drawn = F.grid_sample(scans, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    firm = ((drawn - 0.05) / 0.9).clamp(0, 1)
    return firm * firm * (3 - 2 * firm)


def random_frames(count: int, wobble: Wobble, generator: torch.Generator) -> Tensor:
    """Random canvas-to-scan maps for ``draw``.

    Args:
        count: how many.
        wobble: the ranges.
        generator: source of randomness; its device is the device of the result.

    Returns:
        (count, 2, 3) affine maps.
    """
    unit = torch.rand(5, count, generator=generator, device=generator.device) * 2 - 1
    turn = torch.deg2rad(unit[0] * wobble.turn)
    size = FILL * (1 + unit[1] * wobble.grow)
    slant = unit[2] * wobble.slant
    cos, sin = torch.cos(turn) / size, torch.sin(turn) / size
    shift = unit[3:] * wobble.shift * 2 / SIZE
    rows = torch.stack([cos, slant * cos - sin, shift[0], sin, slant * sin + cos, shift[1]], dim=1)
    return rows.reshape(count, 2, 3)
