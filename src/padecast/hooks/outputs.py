"""Parts of a model whose outputs are remembered as they are, where there is no residual between input and output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from padecast.hooks.layout import Layout, Like
from padecast.hooks.rows import Known, matching
from padecast.hooks.stack import Stack
from padecast.memory.arithmetic import Rows, Streams
from padecast.targets.parts import parameters_of

Key = tuple[Any, ...]
KINDS = (Tensor, bool, str)
"""What of its arguments tells one kind of call from another; numbers change with every step."""


@dataclass(frozen=True)
class Shape:
    """What a part returned, without its features.

    Args:
        leaves: All that it returned, in order; of features their likes.
        spec: How these are nested.
        layout: Where the features hold their samples.
    """

    leaves: Sequence[Any]
    spec: TreeSpec
    layout: Layout

    def fill(self, features: Sequence[Tensor]) -> Any:
        """Return the same with other features."""
        stream = iter(features)
        return tree_unflatten([next(stream) if isinstance(leaf, Like) else leaf for leaf in self.leaves], self.spec)


class Opaque(Stack):
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

    wants_outputs = remembers_inputs = True

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
        self.clear()

    @classmethod
    def around(cls, model: nn.Module, difference: bool = True, packed: bool = False) -> Opaque:
        """Return a model as its only part.

        Args:
            model: The transformer.
            difference: Whether forecasts are added to its first argument, where that has the output's shape. Default
                true.
            packed: Whether it is given one sample, whatever it returns. Default false: a list holds samples.
        """
        return cls([model], (parameters_of(model)[0], 0) if difference else None, packed=packed)

    def clear(self) -> None:
        """Forget what parts returned: another run begins."""
        self._seen: dict[Key, dict[int, Shape]] = {}
        self._key: Key = ()  # of the call that was begun last
        self._given: Streams = ()
        self._layout = Layout(())

    def meet(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """See the call that begins, of which parts will be run; nothing that was seen before is read."""
        self._key = tuple([
            (x.shape, x.dtype, x.device) if isinstance(x, Tensor) else x
            for x in tree_leaves((args, kwargs))
            if isinstance(x, KINDS)
        ])  # fmt: skip
        self._given = () if self._difference is None else _features(_argument(*self._difference, args, kwargs))

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what a forecast is added to; nothing if such a call was not seen in this run."""
        self.meet(args, kwargs)
        shape = self._seen.get(self._key, {}).get(len(self.parts) - 1)
        return () if shape is None else self._starts(shape.layout)

    def source(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what the first part was given of every sample: its first argument."""
        argument = _argument(parameters_of(self.parts[0])[0], 0, args, kwargs)
        features = _features(argument)
        return self._lay_out([Like.of(x) for x in features], tree_flatten(argument)[1]).inward(features)

    def match_rows(self, stream_rows: Known, streams: Streams) -> Rows | None:
        """Return which rows of the output count, by what was seen of the block in which it lies; ``None`` if all do."""
        if self._layout.is_list:
            return self._layout.rows(streams)
        return matching(stream_rows, streams, self._text) if stream_rows else None

    def skip(self, place: int, _args: tuple[Any, ...], _kwargs: dict[str, Any], forecast: Streams | None) -> Any:
        """Return what stands in for a part's output."""
        shape = self._seen[self._key][place]
        layout = shape.layout
        return shape.fill([like.zeros() for like in layout.likes] if forecast is None else layout.outward(forecast))

    def ran(self, place: int, output: Any) -> None:
        """Note the shapes of what a part returned."""
        self._seen.setdefault(self._key, {})[place] = self._shape_of(output)

    def learnt(self, _entry: Streams, output: Any) -> tuple[Streams, Streams]:
        """Return what a forecast would have been added to, and what there was instead."""
        self._layout = self._shape_of(output).layout
        return self._starts(self._layout), self._layout.inward(_features(output))

    def exchange(self, output: Any, streams: Streams) -> Any:
        """Return the last part's output with other features."""
        shape = self._shape_of(output)
        return shape.fill(shape.layout.outward(streams))

    def _shape_of(self, output: Any) -> Shape:
        leaves, spec = tree_flatten(output)
        leaves = [Like.of(leaf) if _is_feature(leaf) else leaf for leaf in leaves]
        return Shape(leaves, spec, self._lay_out([leaf for leaf in leaves if isinstance(leaf, Like)], spec))

    def _lay_out(self, likes: Sequence[Like], spec: TreeSpec) -> Layout:
        listed, place = _has_list(spec), int(self._second)
        sizes = {like.shape[place if len(like.shape) > 2 else 0] for like in likes}
        return Layout(tuple(likes), listed and not self._packed, listed or len(sizes) > 1, self._second)

    def _starts(self, layout: Layout) -> Streams:
        """Return what is subtracted from the outputs, or zeros where the shapes differ."""
        features: Sequence[Tensor] = self._given
        if not layout.matches(features):
            features = [torch.zeros(like.shape, dtype=like.dtype, device=like.device) for like in layout.likes]
        return layout.inward(features)


def _argument(name: str, place: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kwargs.get(name, args[place] if place < len(args) else None)


def _features(value: Any) -> Streams:
    if isinstance(value, Tensor):
        return (value,) if _is_feature(value) else ()
    return tuple(leaf for leaf in tree_leaves(value) if _is_feature(leaf))


def _has_list(spec: TreeSpec) -> bool:
    return spec.type is list or any(_has_list(child) for child in spec.children())


def _is_feature(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0
