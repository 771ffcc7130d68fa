"""One block of a stack: where its arguments are, and what stands in for its output."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from padecast._errors import UnsupportedModel
from padecast._memory import Streams
from padecast.targets import BlockOutput, Target


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

    def streams(self, output: Any, names: tuple[str, ...]) -> Streams:
        """Pick named streams from what the block returned."""
        if self.returns.bare:
            return (output,)
        return tuple(output[self.returns.names.index(name)] for name in names)

    def passed(self, args: tuple[Any, ...], kwargs: dict[str, Any], replaced: dict[str, Tensor]) -> Any:
        """Return the block's inputs in the shape of its output, some of them replaced."""
        values = tuple(
            replaced[name] if name in replaced else self.argument(name, args, kwargs) for name in self.returns.names
        )
        return values[0] if self.returns.bare else values

    def exchanged(self, output: Any, replaced: dict[str, Tensor]) -> Any:
        """Return the block's output, some of its streams replaced."""
        if self.returns.bare:
            return replaced.get(self.returns.names[0], output)
        return tuple(replaced.get(name, value) for name, value in zip(self.returns.names, output, strict=True))


def blocks_of(model: nn.Module, target: Target, span: str) -> list[Block]:
    """Return the blocks of a span in the order in which the model runs them.

    Raises:
        UnsupportedModel: If there are none, or if they are not as described.
    """
    names = target.spans[span]
    blocks = [Block(module, target.blocks[name]) for name in names for module in getattr(model, name, None) or []]
    if not blocks:
        raise UnsupportedModel(
            f"the span {span!r} of this {target.model} has no blocks in {', '.join(names)}.\n"
            f"Its spans: {', '.join(target.spans)}"
        )
    return blocks


def parameters_of(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the arguments of a module's own forward, whoever replaced it on the instance."""
    return tuple(inspect.signature(type(module).forward).parameters)[1:]
