"""ToCa in a model: what its attentions show, and its modules run for chosen tokens.

Which tokens those are is in ``padecast/forecasters/toca.py``, which knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from padecast._errors import InvalidOption, UnsupportedModel
from padecast._noise import TINY
from padecast.forecasters.toca import Renewal, grid_of
from padecast.hooks.blocks.sublayers import Sublayer, sublayers_of
from padecast.hooks.call import Call, Pass
from padecast.hooks.outputs import Opaque
from padecast.hooks.rows import Known, joint, matching
from padecast.memory.arithmetic import Streams
from padecast.targets import MODULES, Target
from padecast.targets.parts import parameters_of

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


class TokenModule(Opaque):
    """One attention or feed-forward network of a block, some of whose tokens are computed at forecast steps.

    An attention shows something of the block's tokens, and treats each by itself only if it was seen to look at a text.

    Args:
        sublayer: The network, and where it lies.
    """

    def __init__(self, sublayer: Sublayer) -> None:
        super().__init__([sublayer.part], text=sublayer.text, second=sublayer.second)
        self._block, self._attends, self._captions = sublayer.block, sublayer.attends, sublayer.captions

    watches = True

    def run(self, call: Call, way: Pass, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Run the module whole; if it is an attention whose tokens are to be told apart, note what it shows."""
        renewal = call.session.state
        if not self._attends or not isinstance(renewal, Renewal) or not renewal.watches:
            return forward(*args, **kwargs)
        with Attention(call.stream_rows) as seen:
            output = forward(*args, **kwargs)
        renewal.note((way.branch, self._block), seen.influence, seen.control)
        x, others = self._take_apart(args, kwargs)
        if x is not None and any(y.ndim == 3 and y.shape[1] in seen.texts for y in others):
            renewal.one_by_one.add(way.key)
        return output

    def renew(
        self, call: Call, way: Pass, forecast: Streams, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Streams:
        """Return a forecast with chosen tokens computed.

        Args:
            call: The model's call.
            way: How it goes through this module.
            forecast: What was remembered.
            forward: Runs the module.
            args: What it is given.
            kwargs: What it is given by name.
        """
        renewal = call.session.state
        if not isinstance(renewal, Renewal):
            return forecast
        if renewal.is_whole:
            return self.learnt((), forward(*args, **kwargs))[1]
        x, others = self._take_apart(args, kwargs)
        alone = not self._attends or way.key in renewal.one_by_one
        if x is None or not alone or len(forecast) != 1 or forecast[0].shape[:2] != x.shape[:2]:
            return forecast
        if any(x.shape[1] in y.shape for y in others):
            return forecast  # something else is given for every token, and cannot be chosen from by rule
        rows = matching(call.stream_rows, (x,), self._text) if call.stream_rows else None
        grid = (x.shape[1],) if self._captions else grid_of(x.shape[1], call.latents)
        tokens = renewal.choose(way.key, (way.branch, self._block), x, grid, None if rows is None else rows[0])
        some = x.gather(1, tokens[..., None].expand(-1, -1, x.shape[2]))
        args, kwargs = self._replace_input(some, args, kwargs)
        output = forward(*args, **kwargs)
        places = tokens[..., None].expand(-1, -1, output.shape[2])
        return (forecast[0].scatter(1, places, output.to(forecast[0].dtype)),)

    def _take_apart(self, args: Any, kwargs: dict[str, Any]) -> tuple[Tensor | None, list[Tensor]]:
        """Return the input whose tokens are computed, ``(B, N, D)``, if it is such, and all other tensors."""
        x = args[0] if args else kwargs.get(parameters_of(self.parts[0])[0])
        others = [y for y in tree_leaves((args, kwargs)) if isinstance(y, Tensor) and y is not x]
        plain = isinstance(x, Tensor) and x.ndim == 3 and x.is_floating_point() and x.shape[1] > 0
        return (x if plain else None), others

    def _replace_input(self, x: Tensor, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, parameters_of(self.parts[0])[0]: x})


def renew_tokens(model: nn.Module, target: Target, span: str) -> list[TokenModule]:
    """Return the attentions and feed-forward networks of a model's blocks, some of whose tokens are computed.

    Raises:
        InvalidOption: If the span is another than that of modules.
        UnsupportedModel: If the model has no feed-forward networks, or its tokens do not lie behind its samples.
    """
    if span != MODULES:
        raise InvalidOption(
            f"span={span!r} has no modules of which some tokens could be computed, as this method does.\n"
            f'Leave the span out, which is span="{MODULES}", or take a method that forecasts all tokens, such as fora.'
        )
    sublayers = [] if target.opaque or target.samples != 0 else sublayers_of(model, target)
    if all(sublayer.attends for sublayer in sublayers):
        raise UnsupportedModel(
            f"no feed-forward network over tokens is known in this {target.model}, so that none can be computed.\n"
            "Usual cause: a U-Net, other names than ff, ffn, mlp or feed_forward, or tokens that do not lie in the "
            'second dimension. Take a method that forecasts all tokens, such as fora:span="full".'
        )
    return [TokenModule(sublayer) for sublayer in sublayers]


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
