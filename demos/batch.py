"""What all pictures and clips leave to chance alike: batches of it, and their backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor

from padecast.zoo.scenes.appearance import SIZE, pixels
from padecast.zoo.scenes.grammar import Background

B = TypeVar("B", bound="Batch")


@dataclass(frozen=True)
class Batch:
    """Tensors that agree in their first dimension, that of the batch: a subclass names them."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self: B, chosen: slice) -> B:
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def to(self: B, device: torch.device | str) -> B:
        """The same on another device."""
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))


def draw_backgrounds(
    stated: Sequence[Background | None], chance: Tensor, grounds: Sequence[str], styles: Sequence[str]
) -> dict[str, Tensor]:
    """Take the backgrounds that captions state, and the others by chance.

    Args:
        stated: B of them, or none.
        chance: (B, 2) in [0, 1), for colour and style.
        grounds: the colours there are.
        styles: the styles there are.

    Returns:
        "ground" and "style", (B,) each: index into ``grounds`` and ``styles``.
    """
    drawn = {"ground": (chance[:, 0] * len(grounds)).long(), "style": (chance[:, 1] * len(styles)).long()}
    for index, background in enumerate(stated):
        if background:
            drawn["ground"][index] = grounds.index(background.colour)
            drawn["style"][index] = styles.index(background.style)
    return drawn


def ramp(direction: Tensor) -> Tensor:
    """A gradient over the picture, (B, 64, 64): from 0 to 1, corner to corner, in directions (B,) in radians."""
    way = torch.stack([torch.cos(direction), torch.sin(direction)], -1)
    along = ((pixels(direction.device) / SIZE - 0.5) * way[:, None, None]).sum(-1)
    return 0.5 + along / way.abs().sum(-1)[:, None, None]
