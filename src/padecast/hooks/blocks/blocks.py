"""Described blocks: where their arguments are, what stands in for their output, and what their residual is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from padecast._errors import UnsupportedModel
from padecast.hooks.rows import Known, joint, read_rows
from padecast.hooks.stack import Stack
from padecast.memory.arithmetic import Rows, Streams
from padecast.targets import BlockOutput, Target
from padecast.targets.parts import lookup, parameters_of


@dataclass
class Block:
    """A block and how it is called.

    Args:
        module: The block.
        returns: What it returns, in the names of its own arguments.

    Raises:
        UnsupportedModel: If the block has no argument of such a name.
    """

    module: nn.Module
    returns: BlockOutput
    parameters: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = parameters_of(self.module)
        absent = [name for name in self.returns.names if name not in self.parameters]
        if absent:
            raise UnsupportedModel(
                f"blocks of class {type(self.module).__name__} take {', '.join(self.parameters)}, not {absent[0]!r}.\n"
                "Usual cause: a description for another release of the model. Describe it anew with targets.register."
            )

    def argument(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what the block was given under a name."""
        return kwargs[name] if name in kwargs else args[self.parameters.index(name)]

    def rows(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Known:
        """Return which rows of the streams that the block was given count."""
        arguments = dict(zip(self.parameters, args, strict=False)) | kwargs
        return read_rows(target.masks, target.samples, self.returns.names, arguments)

    def streams(self, output: Any, names: tuple[str, ...]) -> Streams:
        """Pick named streams from what the block returned."""
        if self.returns.bare:
            return (output,)
        return tuple(output[self.returns.names.index(name)] for name in names)

    def pass_through(self, args: tuple[Any, ...], kwargs: dict[str, Any], replaced: dict[str, Tensor]) -> Any:
        """Return the block's inputs in the shape of its output, some of them replaced."""
        values = []
        for name in self.returns.names:
            values.append(replaced[name] if name in replaced else self.argument(name, args, kwargs))
        return values[0] if self.returns.bare else tuple(values)

    def exchange(self, output: Any, replaced: dict[str, Tensor]) -> Any:
        """Return the block's output, some of its streams replaced."""
        if self.returns.bare:
            return replaced.get(self.returns.names[0], output)
        return tuple(replaced.get(name, value) for name, value in zip(self.returns.names, output, strict=True))


class Blocks(Stack):
    """The blocks of a span, whose residual is what they add to the streams that they are given.

    Args:
        model: The transformer.
        target: Where its blocks lie.
        lists: Which of its block lists, or slices of them.

    Raises:
        UnsupportedModel: If there are none, or if they are not as described.
    """

    def __init__(self, model: nn.Module, target: Target, lists: Sequence[str]) -> None:
        names = [name for name in lists if len(lookup(model, name))]
        self._blocks = [Block(module, target.returns(name)) for name in names for module in lookup(model, name)]
        if not self._blocks:
            raise UnsupportedModel(
                f"this {target.model} has no blocks in {', '.join(lists) or 'a span of none'}.\n"
                f"Its spans: {', '.join(target.spans)}"
            )
        self._names = self._present = target.streams_of(lists)
        self._target, self._samples = target, target.samples
        self._joined = target.returns(names[-1]).joins if len(names) > 1 else ()
        self.parts = [block.module for block in self._blocks]

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return the streams that a forecast is added to: as the last block gets them when none does anything."""
        first = self._blocks[0]
        if self._joined:
            self._present = self._names
            return (torch.cat([first.argument(name, args, kwargs) for name in self._joined], dim=1),)
        streams, present = [], []
        for name in self._names:
            stream = kwargs[name] if name in kwargs else first.argument(name, args, kwargs)
            if stream is not None:
                streams.append(stream)
                present.append(name)
        self._present = tuple(present)
        return samples_first(streams, self._samples)

    def source(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what the first block was given of every sample."""
        return self.inputs(args, kwargs)

    def read_rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Known:
        """Return which rows of the first block's streams count."""
        return self._blocks[0].rows(self._target, args, kwargs) if self._target.masks else {}

    def match_rows(self, stream_rows: Known, streams: Streams) -> Rows | None:
        """Return which rows of the streams count; ``None`` if all do."""
        groups = [self._joined] if self._joined else [(name,) for name in self._present]
        return tuple(joint(stream_rows, names) for names in groups) if stream_rows else None

    def skip(self, place: int, args: tuple[Any, ...], kwargs: dict[str, Any], forecast: Streams | None) -> Any:
        """Return a block's inputs in the shape of its output, or the forecast in their place."""
        return self._blocks[place].pass_through(args, kwargs, {} if forecast is None else self._name_streams(forecast))

    def learnt(self, inputs: Streams, output: Any) -> tuple[Streams, Streams]:
        """Return the streams that the blocks were given, and those that they returned."""
        return inputs, samples_first(self._blocks[-1].streams(output, self._present), self._samples)

    def exchange(self, output: Any, streams: Streams) -> Any:
        """Return the last block's output, some of its streams replaced."""
        return self._blocks[-1].exchange(output, self._name_streams(streams))

    def _name_streams(self, streams: Streams) -> dict[str, Tensor]:
        """Return streams with their samples where the blocks have them."""
        if self._samples is None:
            streams = tuple(stream[0] for stream in streams)
        elif self._samples:
            streams = tuple(stream.transpose(0, self._samples) for stream in streams)
        return dict(zip(self._present, streams, strict=True))


def samples_first(streams: Iterable[Tensor], samples: int | None) -> Streams:
    """Return the streams of a block with their samples first.

    Args:
        streams: As the block has them.
        samples: Which of their dimensions counts the samples; ``None`` if none does.
    """
    if samples is None:
        return tuple(stream[None] for stream in streams)
    return tuple(streams) if samples == 0 else tuple(x.transpose(0, samples) for x in streams)
