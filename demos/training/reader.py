"""Small networks that judge what demo models draw: trained with AdamW and one cosine, written in float16."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from padecast import files

N = TypeVar("N", bound=nn.Module)


def descend(network: N, losses: Iterable[Tensor], *, steps: int, rate: float, decay: float) -> N:
    """Train a network.

    Args:
        network: to train.
        losses: each computed, when it is asked for, with the weights as they are by then.
        steps: how many losses there are.
        rate: peak learning rate.
        decay: of the weights.

    Returns:
        The network, in evaluation mode.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    for loss in losses:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def write_halved(network: nn.Module, path: Path) -> Path:
    """Save the weights in float16; returns the file."""
    weights = network.state_dict()
    halved = {name: weight.half() for name, weight in weights.items() if weight.is_floating_point()}
    return files.write_tensors(path, {**weights, **halved})
