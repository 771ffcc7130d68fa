from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from demos.scenes.render import picture
from padecast.zoo.scenes.grammar import Scene, draw, parse

Draw = Callable[..., Tensor]


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    """Random scenes, the same for every test."""
    generator = torch.Generator().manual_seed(11)
    return [draw(generator) for _ in range(256)]


@pytest.fixture(scope="session")
def pictures(scenes: list[Scene]) -> Tensor:
    """A picture of each of them."""
    return picture(scenes, torch.Generator().manual_seed(12))


@pytest.fixture(scope="session")
def drawn() -> Draw:
    """Draw one caption some times."""

    def some(caption: str, count: int = 8) -> Tensor:
        return picture([parse(caption)] * count, torch.Generator().manual_seed(13))

    return some
