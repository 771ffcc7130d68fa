"""Parts of a model whose outputs are remembered as they are, where there is no residual between input and output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from padecast._mix import Streams


@dataclass(frozen=True)
class Like:
    """The shape, dtype and device of a feature."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, x: Tensor) -> Like:
        """Note those of a feature."""
        return cls(x.shape, x.dtype, x.device)

    def zeros(self) -> Tensor:
        """Make zeros like the feature."""
        return torch.zeros(self.shape, dtype=self.dtype, device=self.device)


Key = tuple[Like | bool | str, ...]
KINDS = (Tensor, bool, str)
"""What of its arguments tells one kind of call from another; numbers change with every step."""


class Opaque:
    """Consecutive parts of a model, of which the last one's output is forecast.

    A part that is skipped returns zeros in the shapes that it returned when it ran; nobody looks at them, because all
    that comes after is skipped too, up to the last part. With a single part, the model itself, the whole model is
    forecast. A call whose tensors have other shapes than any before in the run cannot be forecast.

    Args:
        parts: In the order in which the model runs them.
        difference: Argument of the first part, by name and place, that forecasts are added to where it has the
            output's shape; none unless given.
    """

    def __init__(self, parts: Sequence[nn.Module], difference: tuple[str, int] | None = None) -> None:
        self.parts, self._difference = list(parts), difference
        self.notes = self.remembers_entry = True
        self.clear()

    def clear(self) -> None:
        """Forget what parts returned: another run begins."""
        self._seen: dict[Key, dict[int, tuple[list[Any], TreeSpec]]] = {}
        self._key: Key = ()
        self._given: Streams = ()

    def entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what a forecast is added to; nothing if such a call was not seen in this run."""
        leaves = tree_leaves((args, kwargs))
        self._key = tuple(Like.of(x) if isinstance(x, Tensor) else x for x in leaves if isinstance(x, KINDS))
        self._given = self._subtracted(args, kwargs)
        known = self._seen.get(self._key, {}).get(len(self.parts) - 1)
        if known is None:
            return ()
        leaves, spec = known
        likes = [leaf for leaf in leaves if isinstance(leaf, Like)]
        return self._starts(likes, _is_one_sample(likes, spec))

    def skipped(self, place: int, _args: tuple[Any, ...], _kwargs: dict[str, Any], forecast: Streams | None) -> Any:
        """Return what stands in for a part's output."""
        leaves, spec = self._seen[self._key][place]
        likes = [leaf for leaf in leaves if isinstance(leaf, Like)]
        one = _is_one_sample(likes, spec)
        streams = iter([like.zeros() for like in likes] if forecast is None else _outward(forecast, one))
        return tree_unflatten([next(streams) if isinstance(leaf, Like) else leaf for leaf in leaves], spec)

    def ran(self, place: int, output: Any) -> None:
        """Note the shapes of what a part returned."""
        leaves, spec = tree_flatten(output)
        noted = [Like.of(leaf) if _is_feature(leaf) else leaf for leaf in leaves]
        self._seen.setdefault(self._key, {})[place] = (noted, spec)

    def learnt(self, _entry: Streams, output: Any) -> tuple[Streams, Streams]:
        """Return what a forecast would have been added to, and what there was instead."""
        leaves, spec = tree_flatten(output)
        streams = tuple(leaf for leaf in leaves if _is_feature(leaf))
        likes = [Like.of(stream) for stream in streams]
        one = _is_one_sample(likes, spec)
        return self._starts(likes, one), tuple(stream[None] for stream in streams) if one else streams

    def exchanged(self, output: Any, streams: Streams) -> Any:
        """Return the last part's output with other features."""
        leaves, spec = tree_flatten(output)
        likes = [Like.of(leaf) for leaf in leaves if _is_feature(leaf)]
        given = iter(_outward(streams, _is_one_sample(likes, spec)))
        return tree_unflatten([next(given) if _is_feature(leaf) else leaf for leaf in leaves], spec)

    def _subtracted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        if self._difference is None:
            return ()
        name, place = self._difference
        value = kwargs.get(name, args[place] if place < len(args) else None)
        return tuple(leaf for leaf in tree_leaves(value) if _is_feature(leaf))

    def _starts(self, outputs: list[Like], one: bool) -> Streams:
        """Return what is subtracted from the outputs, or zeros where the shapes differ."""
        same = [Like.of(x) for x in self._given] == outputs
        starts = self._given if same else tuple(like.zeros() for like in outputs)
        return tuple(start[None] for start in starts) if one else starts


def _is_one_sample(outputs: Sequence[Like], spec: TreeSpec) -> bool:
    """Whether outputs have no common dimension of samples, as the tensors of a list: they count as one sample."""
    return _has_list(spec) or len({like.shape[0] for like in outputs}) > 1


def _has_list(spec: TreeSpec) -> bool:
    return spec.type is list or any(_has_list(child) for child in spec.children())


def _outward(streams: Streams, one: bool) -> Streams:
    return tuple(stream[0] for stream in streams) if one else streams


def _is_feature(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0
