"""Where in a model a policy sees what it decides by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from padecast._block import Block, lookup
from padecast._errors import UnsupportedModel
from padecast._mix import Streams
from padecast.targets import Target

Forward = Callable[..., Any]


class Probe(Protocol):
    """Looks at one call of a model, at its first part that may be skipped."""

    def clear(self) -> None:
        """Forget the call before."""

    def look(
        self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], entry: Streams
    ) -> Tensor:
        """Return what the policy wants to see.

        Args:
            forward: The first part.
            args: What it is given.
            kwargs: What it is given by name.
            entry: Its streams.
        """


class Modulated:
    """The output of a module that lies before the first part or inside it, where it is run for that alone.

    Args:
        model: The transformer.
        target: Says which module, in ``Target.modulated``.
        undo: Takes it off again.

    Raises:
        UnsupportedModel: If the target does not say which.
    """

    def __init__(self, model: nn.Module, target: Target, undo: contextlib.ExitStack) -> None:
        found = lookup(model, target.modulated) if target.modulated else []
        if not found:
            raise UnsupportedModel(
                f"it is not known which module of a {target.model} modulates its first block's input.\n"
                "Usual cause: a class described without it. Add its path to the Target, such as\n"
                '    modulated="transformer_blocks.0.norm1"\n'
                "or take a method that looks at no block, such as adaptive."
            )
        self._seen: Tensor | None = None
        self._only = False
        undo.callback(found[0].register_forward_hook(self._note).remove)

    def clear(self) -> None:
        """Forget the call before, whose first part may have run after it was looked at."""
        self._seen = None

    def _note(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self._seen = output[0] if isinstance(output, (tuple, list)) else output
        if self._only:
            raise _Enough

    def look(
        self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], entry: Streams
    ) -> Tensor:
        """Return the module's output of this call."""
        if self._seen is None:
            self._only = True
            try:
                forward(*args, **kwargs)
            except _Enough:
                pass
            finally:
                self._only = False
        seen, self._seen = self._seen, None
        if seen is None:
            raise UnsupportedModel(
                "the module that a Target names in modulated does not run before or in its first block."
            )
        return seen


class _Enough(Exception):
    """Ends a run of the first part, once the module was seen."""


class FirstResidual:
    """What the blocks before the span add to its first stream: the residual of the model's first block.

    Args:
        model: The transformer.
        target: Where its blocks lie.
        undo: Takes it off again.
    """

    def __init__(self, model: nn.Module, target: Target, undo: contextlib.ExitStack) -> None:
        name = target.spans["full"][0]
        self._block = Block(lookup(model, name)[0], target.blocks[name])
        self._main = target.streams("full")[0]
        self._given: Tensor | None = None
        hook = self._block.module.register_forward_pre_hook(self._note, with_kwargs=True)
        undo.callback(hook.remove)

    def clear(self) -> None:
        """Forget the call before."""
        self._given = None

    def _note(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name = self._main if self._main in self._block.returns.names else self._block.returns.names[-1]
        self._given = self._block.argument(name, args, kwargs)

    def look(
        self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], entry: Streams
    ) -> Tensor:
        """Return the first block's residual."""
        given, self._given = self._given, None
        assert given is not None
        return entry[0] - given


def probe_of(kind: str, model: nn.Module, target: Target, undo: contextlib.ExitStack) -> Probe | None:
    """Install what a policy wants to see; nothing where it looks at no block."""
    if kind == "modulated":
        return Modulated(model, target, undo)
    return FirstResidual(model, target, undo) if kind == "first-block" else None
