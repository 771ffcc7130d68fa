"""What a model is given to denoise: its first argument."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from padecast._errors import UnsupportedModel
from padecast.hooks.layout import Layout, Like
from padecast.memory.arithmetic import Streams


def features_of(argument: Any) -> Streams:
    """Return the floating-point tensors of an argument with their samples first; it may be a list of samples.

    Raises:
        UnsupportedModel: If there are none.
    """
    features = tuple(x for x in tree_leaves(argument) if isinstance(x, Tensor) and x.is_floating_point())
    if not features:
        raise UnsupportedModel(
            f"the model's first argument, of type {type(argument).__name__}, holds no latents for the policy to see.\n"
            "Usual cause: a model that is given text first. Take a method that looks at no latents, such as adaptive."
        )
    return Layout(tuple(map(Like.of, features)), listed=isinstance(argument, list)).inward(features)


def size_of(argument: Any) -> int:
    """Return how many numbers one sample of the model's first argument has; 0 if it holds no tensors.

    Example:
        >>> import torch
        >>> size_of(torch.zeros(2, 4, 8, 8)), size_of([torch.zeros(16, 1, 8, 8), torch.zeros(16, 1, 8, 8)])
        (256, 1024)
    """
    if isinstance(argument, Tensor):
        return argument[:1].numel()
    parts = [x for x in tree_leaves(argument) if isinstance(x, Tensor)]
    return max((x.numel() for x in parts), default=0)


def on_grid(features: Streams, arguments: Mapping[str, Any]) -> Streams:
    """Return packed latents with their height and width, where the model is told them; others as they are.

    Args:
        features: The model's first argument; packed it is ``(B, N, C)``, and becomes ``(B, C, H, W)``, or
            ``(B, C, F, H, W)`` in a model of clips.
        arguments: Its other arguments by name. Of ``img_ids`` the ends are read, which on a GPU is a wait.

    Example:
        >>> import torch
        >>> on_grid((torch.zeros(1, 6, 64),), {"height": 2, "width": 3})[0].shape
        torch.Size([1, 64, 2, 3])
    """
    grid = _grid(arguments) if any(x.ndim == 3 for x in features) else ()
    return tuple(_unpack(x, grid) if x.ndim == 3 else x for x in features)


def _unpack(x: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Return ``(B, N, C)`` as ``(B, C, *grid)``, if the grid has N places."""
    fits = len(grid) > 1 and math.prod(grid) == x.shape[1]
    return x.transpose(1, 2).unflatten(2, grid) if fits else x


def _grid(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Return how many tokens lie along every axis, as far as a model is told; nothing if it is not."""
    ids = arguments.get("img_ids")
    if isinstance(ids, Tensor) and ids.ndim > 1 and ids.shape[-1] > 2 and len(ids):
        rows = ids.reshape(-1, ids.shape[-1])[:, 1:3]  # of an image's row and column; the first tells images apart
        return tuple(int(size) + 1 for size in (rows.amax(0) - rows.amin(0)).tolist())
    named = [arguments[name] for name in ("num_frames", "height", "width") if arguments.get(name) is not None]
    sizes = named or tree_leaves(arguments.get("img_shapes"))[:3]
    return tuple(sizes) if all(isinstance(size, int) for size in sizes) else ()
