from __future__ import annotations

import pytest
import torch
from torch import Tensor

from demos.motion.render import film
from padecast.zoo.motion.grammar import Clip, draw


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    """Random clips, the same for every test."""
    generator = torch.Generator().manual_seed(11)
    return [draw(generator) for _ in range(96)]


@pytest.fixture(scope="session")
def filmed(clips: list[Clip]) -> Tensor:
    """The first third of them, rendered."""
    return film(clips[:32], torch.Generator().manual_seed(12))
