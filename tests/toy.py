"""A model of a few numbers, whose runs take a millisecond, for tests that need hundreds of runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from padecast import targets

GRID = (900, 750, 600, 450, 300, 150)
METHODS = {
    "blocks": "linear:every=2",
    "moments": "spectrum:warmup=2,degree=1",
    "matrix": "tc-pade:every=2,span=full",
    "probe of a module": "teacache:threshold=9",
    "probe of a block": "first-block:threshold=9",
    "probe of latents": "easycache:threshold=9",
    "modules": "fora:every=2,span=modules",
    "tokens": "toca:every=2",
    "halves": "delta-dit",
    "whole model": "fora:every=2,span=output",
}
"""One method for every way in which something is put on a model."""


class Modulation(nn.Module):
    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return x * (1 + temb)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn, self.ff = Modulation(), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, hidden_states: Tensor, temb: Tensor) -> Tensor:
        hidden_states = hidden_states + self.attn(self.norm1(hidden_states, temb))
        return hidden_states + self.ff(hidden_states)


class Toy(nn.Module):
    """Two blocks, and a cache context as the models of diffusers have one."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.eval()

    def forward(self, hidden_states: Tensor, timestep: Tensor) -> Tensor:
        temb = timestep.reshape(-1, 1, 1) / 1000
        for block in self.blocks:
            hidden_states = block(hidden_states, temb)
        return hidden_states.tanh()

    @contextlib.contextmanager
    def cache_context(self, name: str) -> Iterator[None]:
        yield


class Grid:
    """A scheduler that knows no more than its timesteps."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.timesteps = torch.tensor(GRID)


class Pipe:
    """A loop over one or two models that take turns."""

    def __init__(self, *models: nn.Module) -> None:
        self.transformer, self.scheduler = models[0], Grid()
        if len(models) > 1:
            self.transformer_2 = models[1]

    def __call__(self) -> Tensor:
        self.scheduler.begin()
        x = torch.linspace(-1, 1, 12).reshape(1, 3, 4)
        for place, t in enumerate(self.scheduler.timesteps):
            model = self.transformer if place < 3 else getattr(self, "transformer_2", self.transformer)
            with torch.no_grad(), model.cache_context("cond"):
                x = x - 0.1 * model(x, t.reshape(1))
        return x


@contextlib.contextmanager
def described() -> Iterator[None]:
    """Describe the class inside the block."""
    targets.register(targets.Target("Toy", {"blocks": targets.HIDDEN}, modulated="blocks.0.norm1"))
    try:
        yield
    finally:
        del targets.REGISTRY["Toy"]


def held(*models: nn.Module) -> dict[str, Any]:
    """What every part of models holds, so that something left behind shows."""
    return {
        f"{number}.{name}": {
            key: tuple(value) if isinstance(value, dict) else id(value) for key, value in vars(module).items()
        }
        for number, model in enumerate(models)
        for name, module in model.named_modules()
    }
