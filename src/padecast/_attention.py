"""What queries and keys say of tokens: which ones the others look at, and how widely each looks at a text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from padecast._history import TINY

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

    Example:
        >>> query, key = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 3, 4)
        >>> with Attention() as seen:
        ...     _ = scaled_dot_product_attention(query, key, key)
        >>> seen.control, seen.texts
        ({2: tensor([[1., 1.]])}, {3})
    """

    def __init__(self) -> None:
        super().__init__()
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
            sums = _column_sums(query, key, attn_mask, scale)
            sizes = self._joined.get(length, [])
            apart = sums.split(sizes, 1) if sizes and len(set(sizes)) == len(sizes) else ()
            for own in (*apart, sums):
                self.influence[own.shape[1]] = own / own.mean(1, keepdim=True).clamp_min(TINY)
        elif length not in self.control:
            self.texts.add(others)
            self.control[length] = _entropy(query, key, attn_mask, scale)


def _column_sums(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return ``(B, N)``: what share of all attention every key got."""
    rows = torch.arange(0, query.shape[2], -(-query.shape[2] // QUERIES), device=query.device)
    sums = [weights.mean(1).sum(1) for weights in _in_pieces(query, key, mask, scale, rows)]
    return torch.stack(sums).sum(0) / len(rows)


def _entropy(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return ``(B, N)``: the entropy of every query's attention, over all heads, as a share of the highest possible."""
    rows = torch.arange(query.shape[2], device=query.device)
    found = [torch.special.entr(weights.mean(1)).sum(-1) for weights in _in_pieces(query, key, mask, scale, rows)]
    return torch.cat(found, 1) / math.log(max(key.shape[2], 2))


def _in_pieces(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, rows: Tensor) -> Iterator[Tensor]:
    """Yield the attention of some queries, some of them at a time."""
    length, size = query.shape[2], max(1, PIECE // (query.shape[0] * query.shape[1] * key.shape[2]))
    for piece in rows.split(size):
        own = mask[..., piece, :] if mask is not None and mask.shape[-2] == length else mask
        yield _weights(query[:, :, piece], key, own, scale)


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return attention weights ``(B, heads, queries, keys)``."""
    products = (query @ key.transpose(-2, -1)).float() * scale
    if mask is not None:
        products = products.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else products + mask
    return products.softmax(-1).nan_to_num()
