"""Parts of a model whose outputs are remembered as they are, where there is no residual between input and output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from padecast.hooks.blocks.blocks import parameters_of
from padecast.hooks.layout import Layout, Like
from padecast.hooks.rows import Known, matching
from padecast.memory.arithmetic import Rows, Streams

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
        text: Whether the output belongs to the text, where that has as many rows as the image. Default false.
        packed: Whether the parts are given one sample, whatever they return. Default false: a list holds samples.
        second: Whether samples lie in the second dimension of outputs. Default false.
    """

    def __init__(
        self,
        parts: Sequence[nn.Module],
        difference: tuple[str, int] | None = None,
        text: bool = False,
        packed: bool = False,
        second: bool = False,
    ) -> None:
        self.parts, self._difference, self._text = list(parts), difference, text
        self._packed, self._second = packed, second
        self.notes = self.remembers_entry = True
        self.clear()

    def clear(self) -> None:
        """Forget what parts returned: another run begins."""
        self._seen: dict[Key, dict[int, tuple[list[Any], TreeSpec]]] = {}
        self._key: Key = ()
        self._given: Streams = ()
        self._layout = Layout(())

    def entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what a forecast is added to; nothing if such a call was not seen in this run."""
        leaves = tree_leaves((args, kwargs))
        self._key = tuple(Like.of(x) if isinstance(x, Tensor) else x for x in leaves if isinstance(x, KINDS))
        self._given = () if self._difference is None else _features(_argument(*self._difference, args, kwargs))
        shapes = self._seen.get(self._key, {}).get(len(self.parts) - 1)
        if shapes is None:
            return ()
        leaves, spec = shapes
        return self._starts([leaf for leaf in leaves if isinstance(leaf, Like)], spec)

    def source(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what the first part was given of every sample: its first argument."""
        features = _features(argument := _argument(self._name, 0, args, kwargs))
        return self._lay_out([Like.of(x) for x in features], tree_flatten(argument)[1]).inward(features)

    def read_rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Known:
        """Nothing is known before the parts ran."""
        return {}

    def match_rows(self, stream_rows: Known, streams: Streams) -> Rows | None:
        """Return which rows of the output count, by what was seen of the block in which it lies; ``None`` if all do."""
        if self._layout.is_list:
            return self._layout.rows(streams)
        return matching(stream_rows, streams, self._text) if stream_rows else None

    def skip(self, place: int, _args: tuple[Any, ...], _kwargs: dict[str, Any], forecast: Streams | None) -> Any:
        """Return what stands in for a part's output."""
        leaves, spec = self._seen[self._key][place]
        likes = [leaf for leaf in leaves if isinstance(leaf, Like)]
        laid = self._lay_out(likes, spec)
        streams = iter([like.zeros() for like in likes] if forecast is None else laid.outward(forecast))
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
        self._layout = self._lay_out(likes, spec)
        return self._starts(likes, spec), self._layout.inward(streams)

    def exchange(self, output: Any, streams: Streams) -> Any:
        """Return the last part's output with other features."""
        leaves, spec = tree_flatten(output)
        likes = [Like.of(leaf) for leaf in leaves if _is_feature(leaf)]
        features = iter(self._lay_out(likes, spec).outward(streams))
        return tree_unflatten([next(features) if _is_feature(leaf) else leaf for leaf in leaves], spec)

    @property
    def _name(self) -> str:
        return parameters_of(self.parts[0])[0]

    def _lay_out(self, likes: Sequence[Like], spec: TreeSpec) -> Layout:
        listed, place = _has_list(spec), int(self._second)
        sizes = {like.shape[place if len(like.shape) > 2 else 0] for like in likes}
        return Layout(tuple(likes), listed and not self._packed, listed or len(sizes) > 1, self._second)

    def _starts(self, likes: list[Like], spec: TreeSpec) -> Streams:
        """Return what is subtracted from the outputs, or zeros where the shapes differ."""
        same = [Like.of(x) for x in self._given] == likes
        return self._lay_out(likes, spec).inward(self._given if same else [like.zeros() for like in likes])


def _argument(name: str, place: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kwargs.get(name, args[place] if place < len(args) else None)


def _features(value: Any) -> Streams:
    return tuple(leaf for leaf in tree_leaves(value) if _is_feature(leaf))


def _has_list(spec: TreeSpec) -> bool:
    return spec.type is list or any(_has_list(child) for child in spec.children())


def _is_feature(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0
