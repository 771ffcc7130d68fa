"""Arithmetic on features: inner products of residuals, and their weighted sums.

Shapes: a stack carries one or more streams (image tokens, text tokens), each ``(B, ...)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Streams = tuple[Tensor, ...]
Rows = tuple[Tensor | None, ...]
"""For every stream ``(B, N)`` which of its rows count; ``None`` if all do."""


def detach(streams: Streams) -> Streams:
    """Return features without what their gradients would need."""
    return tuple(x.detach() for x in streams)


def make_origin(features: Tensor) -> Tensor:
    """Return zeros of a shape, dtype and device that take no memory: one number that stands for all."""
    return features.new_zeros(()).requires_grad_(features.requires_grad).expand(features.shape)


def inner_products(slots: Iterable[Tensor], residual: Tensor, rows: Tensor | None = None) -> Tensor:
    """Inner products of one residual with several, per sample, summed in float64 over float32 tokens.

    Args:
        slots: K remembered residuals, each ``(B, ..., D)``, one after the other, so that no copy of them is made.
        residual: The new one, ``(B, ..., D)``.
        rows: ``(B, N)`` which tokens of ``(B, N, D)`` count. Default all.

    Returns:
        ``(B, K)``: sums over everything but the batch, not yet divided by the number of elements.

    Example:
        >>> inner_products([torch.ones(2, 3), torch.zeros(2, 3)], torch.full((2, 3), 2.0))
        tensor([[6., 0.],
                [6., 0.]], dtype=torch.float64)
    """
    wide = residual if residual.dtype in (torch.float32, torch.float64) else residual.float()
    per_token = torch.stack([_per_token(slot.to(wide.dtype), wide) for slot in slots], dim=-1)
    if rows is not None:
        per_token = torch.where(rows[..., None], per_token, 0)  # what lies in the others may be anything
    exact = torch.float32 if wide.device.type == "mps" else torch.float64
    summed_up: Tensor = per_token.flatten(1, -2).sum(1, dtype=exact) if per_token.ndim > 2 else per_token.to(exact)
    return summed_up


def elements(stream: Tensor, rows: Tensor | None) -> int | Tensor:
    """Return how many numbers of a stream count: of every sample alike, or ``(B,)``."""
    return stream[0].numel() if rows is None else rows.sum(1) * stream.shape[-1]


def _per_token(left: Tensor, right: Tensor) -> Tensor:
    exact: Tensor = torch.linalg.vecdot(left, right) if products_are_exact() else (left * right).sum(-1)
    return exact


def products_are_exact() -> bool:
    """Whether matrix products of float32 features have float32's precision, and not that of TF32 or bfloat16."""
    return torch.get_float32_matmul_precision() == "highest"


def pad(weights: Tensor, size: int) -> Tensor:
    """Give older residuals weight zero, up to ``size`` of them."""
    missing = size - weights.shape[-1]
    return weights if missing <= 0 else torch.nn.functional.pad(weights, (0, missing))


def sum_weighted(start: Tensor, slots: Iterable[Tensor], weights: Tensor) -> Tensor:
    """Return ``start + sum_k w_k slots_k``, accumulated in at least float32, in the dtype of ``start``.

    Args:
        start: ``(B, ...)``, the stack's current input.
        slots: K remembered residuals ``(B, ...)``, in any dtype.
        weights: ``(K,)`` on the host, used as plain numbers, so that no transfer and no synchronisation happens; or
            ``(B, K)`` on the features' device.

    Example:
        >>> sum_weighted(torch.zeros(1, 2), [torch.ones(1, 2), torch.ones(1, 2)], torch.tensor([2.0, -0.5]))
        tensor([[1.5000, 1.5000]])
    """
    narrow = start.dtype not in (torch.float32, torch.float64)
    if narrow and weights.ndim == 1 and start.device.type == "cpu" and start.numel() > PIECE:
        return _in_pieces(start, list(slots), weights)
    total = start.to(torch.float32, copy=True) if narrow else start.clone()
    if weights.ndim == 1:
        for slot, weight in zip(slots, weights.tolist(), strict=True):
            if weight != 0.0:
                total.add_(slot, alpha=weight)
    else:
        columns = weights.to(total).reshape(*weights.shape, *(1,) * (start.ndim - 1))
        for k, slot in enumerate(slots):
            total.addcmul_(slot.to(total.dtype), columns[:, k])
    return total.to(start.dtype)


PIECE = 2**19
"""Elements that are summed at a time on a CPU, so that a float32 sum of narrow features stays in its cache."""


def _in_pieces(start: Tensor, slots: Sequence[Tensor], weights: Tensor) -> Tensor:
    out = torch.empty_like(start, memory_format=torch.contiguous_format)
    flat = [tensor.reshape(-1) for tensor in (start, *slots)]
    for pieces in zip(out.view(-1).split(PIECE), *(x.split(PIECE) for x in flat), strict=True):
        pieces[0].copy_(sum_weighted(pieces[1], pieces[2:], weights))
    return out


def product(start: Tensor, block: Tensor, weights: Tensor) -> Tensor:
    """Return :func:`sum_weighted` as one product, for residuals that lie together in the dtype of the start.

    Args:
        start: ``(B, ...)`` float32 or float64.
        block: ``(K, B, ...)``.
        weights: ``(K,)`` on the host, or ``(B, K)`` on the features' device.

    Example:
        >>> product(torch.zeros(1, 2), torch.ones(2, 1, 2), torch.tensor([2.0, -0.5]))
        tensor([[1.5000, 1.5000]])
    """
    weights = weights.to(start).expand(len(start), -1)
    rows = block.reshape(len(block), len(start), -1).transpose(0, 1)
    return torch.baddbmm(start.reshape(len(start), 1, -1), weights[:, None], rows).view(start.shape)


@dataclass(frozen=True)
class Ready:
    """A forecast that awaits the stack's input alone: tensors and arithmetic that a compiler can take into its graph.

    Args:
        slots: Residuals of every stream ``(K, B, ...)``, as they lie in the ring.
        weights: ``(K,)`` or ``(B, K)`` in that order, on the features' device, at least float32.

    Example:
        >>> Ready((torch.ones(2, 1, 2),), torch.tensor([2.0, -0.5])).add((torch.zeros(1, 2),))
        (tensor([[1.5000, 1.5000]]),)
    """

    slots: Streams
    weights: Tensor

    def fits(self, inputs: Streams) -> bool:
        """Whether the input has the shape, dtype and device of the residuals, and nobody asks for its gradient."""
        return len(inputs) == len(self.slots) and all(
            (x.shape, x.dtype, x.device) == (slots.shape[1:], slots.dtype, slots.device) and not x.requires_grad
            for x, slots in zip(inputs, self.slots, strict=True)
        )

    def add(self, inputs: Streams) -> Streams:
        """Return ``inputs + sum_k w_k R_k``, accumulated in at least float32, in the dtype of the inputs."""
        return tuple(self._sum(x, slots) for x, slots in zip(inputs, self.slots, strict=True))

    def _sum(self, start: Tensor, slots: Tensor) -> Tensor:
        total = start.to(self.weights.dtype)
        for k in range(len(slots)):
            weight = self.weights[..., k].reshape(-1, *(1,) * (start.ndim - 1))
            total = total + torch.where(weight == 0, 0, weight * slots[k])  # what has no weight may hold anything
        return total.to(start.dtype)
