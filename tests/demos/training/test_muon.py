"""Orthogonalised momentum."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from demos.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(2, 8, 24), (2, 24, 8)])
def test_updates_are_orthogonal(shape: tuple[int, int, int]) -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.5 and values.max() < 1.4


def test_kernels_move_as_matrices() -> None:
    weight = nn.Parameter(torch.ones(4, 2, 3))
    weight.sum().backward()
    Muon([weight], lr=0.1, decay=0.0).step()
    assert weight.std() < 1e-6 and 0.9 < weight.mean() < 1
