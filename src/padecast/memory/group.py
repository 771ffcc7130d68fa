"""Processes that hold parts of the same features, and agree by summing small numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def sum_over(products: Tensor, size: int | Tensor, group: Any) -> tuple[Tensor, int | Tensor]:
    """Sum inner products, and numbers of elements, over a group of processes; nothing happens without one.

    Args:
        products: ``(B, K)`` sums over this process's part of the features.
        size: Elements of that part, per sample: of all alike, or ``(B,)``.
        group: A ``torch.distributed`` process group; ``None`` for features that lie whole in every process.
    """
    if group is None:
        return products, size
    sizes = size.to(products) if isinstance(size, Tensor) else products.new_tensor([float(size)])
    both = torch.cat([products.reshape(-1), sizes])
    torch.distributed.all_reduce(both, group=group)
    products, sizes = both[: products.numel()].reshape(products.shape), both[products.numel() :]
    return products, sizes if isinstance(size, Tensor) else int(sizes)


def group_of(model: nn.Module) -> Any:
    """Return the group over which diffusers' context parallelism splits a model's tokens; ``None`` if it does not.

    ``model.enable_parallelism(config=ContextParallelConfig(...))`` notes it on the model.
    """
    config = getattr(getattr(model, "_parallel_config", None), "context_parallel_config", None)
    return None if config is None else _group(config)


def _group(config: Any) -> Any:
    mesh = getattr(config, "_flattened_mesh", None)
    return None if mesh is None else mesh.get_group()
