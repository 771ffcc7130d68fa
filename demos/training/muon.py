"""Orthogonalised momentum, which trains matrices in fewer steps than AdamW does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic a + b x² + c x⁴ that drives singular values to about 1


class Muon(torch.optim.Optimizer):
    """``w ← (1 - lr decay) w - lr 0.2 √max(m, n) orthogonal(momentum)``, for weights (m, n) or flattened to it.

    The factor gives updates the size that AdamW's have, so that both take the same learning rate. ``torch.optim.Muon``
    always computes in bfloat16, and refuses the kernels of convolutions; this one does under autocast alone.

    Args:
        weights: each of two dimensions or more.
        lr: learning rate.
        momentum: decay of the running sum of gradients.
        decay: weight decay.

    Reference:
        Keller Jordan et al.: Muon: An optimizer for hidden layers in neural networks (2024).
        Jingyuan Liu et al.: Muon is scalable for LLM training, arXiv:2502.16982: the factor.
    """

    def __init__(
        self, weights: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        for group in self.param_groups:
            alike: dict[Any, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.flatten(1).shape].append(weight)
            for weights in alike.values():
                self._move(weights, group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Update weights of one shape, together."""
        directions = []
        for weight in weights:
            assert weight.grad is not None
            velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
            velocity.lerp_(weight.grad, 1 - group["momentum"])
            directions.append(torch.lerp(weight.grad, velocity, group["momentum"]).flatten(1))
        updates = orthogonal(torch.stack(directions))
        scale = 0.2 * max(updates.shape[1:]) ** 0.5
        for weight, update in zip(weights, updates, strict=True):
            weight.mul_(1 - group["lr"] * group["decay"])
            weight.add_(update.view_as(weight), alpha=-group["lr"] * scale)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """Matrices (B, m, n) with their singular values driven to about 1, by Newton-Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    wide: Tensor = matrices.mT if tall else matrices
    wide = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    first, second, third = COEFFICIENTS
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = first * wide + (second * gram + third * gram @ gram) @ wide
    return wide.mT if tall else wide
