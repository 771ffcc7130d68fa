"""What a test of a model class needs: a tiny instance with random weights, and a call that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from torch import Tensor, nn


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Draw standard normal numbers that are always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Case:
    """One model class as it is tested.

    Args:
        model: Name of the class in ``diffusers``.
        config: Arguments of its constructor: tiny, at least two blocks in every list.
        inputs: ``inputs()`` gives the keyword arguments of its forward,
            except for the latent and the timestep themselves.
        latent: Draws the main input, ``latent(seed)``: a tensor, or what the class takes instead.
        latent_name: The argument of the forward that takes the latent.
        timestep_name: The argument of the forward that takes the timestep.
        timestep: Makes the timestep argument of a number between 0 and 1, growing with noise.
        variant: Tells several cases of one class apart.
    """

    model: str
    config: dict[str, Any]
    inputs: Callable[[], dict[str, Any]]
    latent: Callable[[int], Any]
    latent_name: str = "hidden_states"
    timestep_name: str = "timestep"
    timestep: Callable[[float], Any] = lambda t: torch.tensor([1000.0 * t])
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.model} {self.variant}".strip()

    def make(self) -> nn.Module:
        """Build the model; parameters that are initialised to zeros are drawn at random, so that all of it counts."""
        torch.manual_seed(0)
        model: nn.Module = getattr(diffusers, self.model)(**self.config)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.is_floating_point() and not bool(parameter.any()):
                    parameter.copy_(0.2 * torch.randn(parameter.shape, generator=draw))
        return model.eval()

    def call(self, model: nn.Module, latent: Any, t: float) -> list[Tensor]:
        """Call the model at a noise level between 0 and 1, and return the tensors that it returns."""
        given = {self.latent_name: latent, self.timestep_name: self.timestep(t), **self.inputs()}
        with torch.no_grad():
            output = model(**given)
        leaves = torch.utils._pytree.tree_leaves(output)
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]
