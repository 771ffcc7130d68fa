"""What queries and keys say of tokens: which ones the others look at, and how widely each looks at a text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from padecast._noise import TINY
from padecast.hooks.rows import Known, joint

QUERIES = 256
"""Column sums are taken over no more than so many queries, evenly spaced."""
PIECE = 2**24
"""Attention weights that are held at a time."""


class Attention(TorchFunctionMode):
    """While it is entered, sees in this thread what fused attention is given.

    ``influence`` holds ``(B, N)`` column sums, 1 on average, for every stream of N tokens that attended to itself, also
    as part of a joint attention; ``control`` the entropy ``(B, N)`` of N tokens that attended to others, as a share of
    the highest possible, and ``texts`` how many those others were. Streams of equal length in a joint attention cannot
    be told apart and are left out.

    Args:
        stream_rows: Which rows of the block's streams count. Default all.

    Example:
        >>> query, key = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 3, 4)
        >>> with Attention() as seen:
        ...     _ = scaled_dot_product_attention(query, key, key)
        >>> seen.control, seen.texts
        ({2: tensor([[1., 1.]])}, {3})
    """

    def __init__(self, stream_rows: Known | None = None) -> None:
        super().__init__()
        self._known = stream_rows or {}
        self.influence: dict[int, Tensor] = {}
        self.control: dict[int, Tensor] = {}
        self.texts: set[int] = set()
        self._joined: dict[int, list[int]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at a call, and run it."""
        kwargs = kwargs or {}
        if func is torch.cat:
            self._note_lengths(*args, **kwargs)
        elif func is scaled_dot_product_attention:
            with torch.no_grad():
                self._see(*args, **kwargs)
        return func(*args, **kwargs)

    def _note_lengths(self, tensors: Any, dim: int = 0, **named: Any) -> None:
        """Note of which streams, in which order, a joint one was made."""
        dim = named.get("axis", dim)
        if len({x.ndim for x in tensors}) == 1 and dim not in (-1, tensors[0].ndim - 1):
            sizes = [x.shape[dim] for x in tensors]
            self._joined[sum(sizes)] = sizes

    def _see(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        if query.ndim != 4 or is_causal or not query.numel() or not key.numel():
            return
        if enable_gqa:
            key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        scale, length, others = scale or query.shape[-1] ** -0.5, query.shape[2], key.shape[2]
        if length == others:
            rows = self._rows(length, len(query))
            sums = _column_sums(query, key, attn_mask, scale, rows)
            sizes = self._joined.get(length, [])
            apart = sizes if sizes and len(set(sizes)) == len(sizes) else []
            for part, row_mask in zip(_parts(sums, apart), _parts(rows, apart), strict=True):
                self.influence[part.shape[1]] = part / _mean(part, row_mask).clamp_min(TINY)
        elif length not in self.control:
            self.texts.add(others)
            self.control[length] = _entropy(query, key, attn_mask, scale, self._rows(others, len(query)))

    def _rows(self, length: int, batch: int) -> Tensor | None:
        """Return which rows of a stream, or of a joint one, count; ``None`` if all do."""
        sizes = [] if any(size == length for size, _ in self._known.values()) else self._joined.get(length, [])
        parts = [like for size in sizes or [length] for like in self._known if self._known[like][0] == size]
        rows = joint(self._known, parts) if len(parts) == max(len(sizes), 1) else None
        return rows if rows is not None and len(rows) == batch else None


def _parts(x: Tensor | None, sizes: list[int]) -> tuple[Any, ...]:
    """Return the parts of every stream, and the whole."""
    return (None,) * (len(sizes) + 1) if x is None else (*(x.split(sizes, 1) if sizes else ()), x)


def _mean(x: Tensor, row_mask: Tensor | None) -> Tensor:
    if row_mask is None:
        return x.mean(1, keepdim=True)
    return torch.where(row_mask, x, 0).sum(1, keepdim=True) / row_mask.sum(1, keepdim=True).clamp_min(1)


def _column_sums(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, row_mask: Tensor | None) -> Tensor:
    """Return ``(B, N)``: what share of all attention every key got from the rows that count."""
    if row_mask is None:
        rows = torch.arange(0, query.shape[2], -(-query.shape[2] // QUERIES), device=query.device)
        sums = [weights.mean(1).sum(1) for weights in _in_pieces(query, key, mask, scale, rows)]
        return torch.stack(sums).sum(0) / len(rows)
    rows, count = _spread(row_mask)
    places = rows[:, None, :, None]
    some = query.gather(2, places.expand(-1, query.shape[1], -1, query.shape[3]))
    if mask is not None and mask.shape[-2] == query.shape[2]:
        mask = mask.expand(len(query), *mask.shape[1:]).gather(2, places.expand(-1, mask.shape[1], -1, key.shape[2]))
    everyone = torch.arange(rows.shape[1], device=query.device)
    total, done = query.new_zeros(len(query), key.shape[2], dtype=torch.float32), 0
    for weights in _in_pieces(some, key, mask, scale, everyone):
        piece = everyone[done : done + weights.shape[2]]
        total += torch.where((piece < count)[..., None], weights.mean(1), 0).sum(1)
        done += weights.shape[2]
    return total / count


def _spread(row_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(B, Q)`` rows that count, evenly spaced as in a sample alone, and ``(B, 1)`` how many of them there are.

    The rows beyond are any.
    """
    size = row_mask.sum(1, keepdim=True).clamp_min(1)
    stride = (size + QUERIES - 1) // QUERIES
    order = row_mask.logical_not().to(torch.uint8).argsort(stable=True, dim=1)
    places = torch.arange(min(QUERIES, row_mask.shape[1]), device=row_mask.device) * stride
    return order.gather(1, places.clamp_max(row_mask.shape[1] - 1)), (size + stride - 1) // stride


def _entropy(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, key_mask: Tensor | None) -> Tensor:
    """Return ``(B, N)``: the entropy of every query's attention, over all heads, as a share of the highest possible.

    That is the logarithm of how many keys count.
    """
    rows = torch.arange(query.shape[2], device=query.device)
    entropies = [torch.special.entr(weights.mean(1)).sum(-1) for weights in _in_pieces(query, key, mask, scale, rows)]
    if key_mask is None:
        return torch.cat(entropies, 1) / math.log(max(key.shape[2], 2))
    return torch.cat(entropies, 1) / key_mask.sum(1, keepdim=True).clamp_min(2).log()


def _in_pieces(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, rows: Tensor) -> Iterator[Tensor]:
    """Yield the attention of some queries, some of them at a time."""
    length, size = query.shape[2], max(1, PIECE // (query.shape[0] * query.shape[1] * key.shape[2]))
    for piece in rows.split(size):
        part = mask[..., piece, :] if mask is not None and mask.shape[-2] == length else mask
        yield _weights(query[:, :, piece], key, part, scale)


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return attention weights ``(B, heads, queries, keys)``."""
    products = (query @ key.transpose(-2, -1)).float() * scale
    if mask is not None:
        products = products.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else products + mask
    return products.softmax(-1).nan_to_num()
