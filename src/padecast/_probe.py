"""Where in a model a policy sees what it decides by."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from padecast._block import Block, lookup, samples_first
from padecast._errors import InvalidOption, UnsupportedModel, unknown
from padecast._intercept import Intercept, innermost
from padecast._mix import Streams
from padecast.policies.base import PROBES
from padecast.targets import REST, Target

Forward = Callable[..., Any]


class Probe(Protocol):
    """Looks at one call of a model, at its first part that may be skipped."""

    def clear(self) -> None:
        """Forget the call before; another one begins in this thread."""

    def look(self, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what the policy wants to see.

        Args:
            forward: The first part.
            args: What it is given.
            kwargs: What it is given by name.
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
        self._here = _Here()
        undo.callback(found[0].register_forward_hook(self._note).remove)

    def clear(self) -> None:
        """Forget the call before, whose first part may have run after it was looked at; another call begins."""
        self._here.seen, self._here.looking = None, True

    def _note(self, _module: nn.Module, _args: Any, output: Any) -> None:
        if not self._here.looking:
            return
        self._here.seen = (output[0] if isinstance(output, (tuple, list)) else output,)
        if self._here.alone:
            raise _Enough

    def look(self, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return the module's output of this call."""
        here = self._here
        if here.seen is None:
            here.alone = True
            try:
                forward(*args, **kwargs)
            except _Enough:
                pass
            finally:
                here.alone = False
        seen, here.seen, here.looking = here.seen, None, False
        if seen is None:
            raise UnsupportedModel(
                "the module that a Target names as modulated runs neither before its first block nor in it.\n"
                "Usual cause: a path of another release of the model."
            )
        return seen


class _Here(threading.local):
    """What one thread's call has shown; other threads may run the same modules for other pipelines."""

    seen: Streams | None = None
    looking = False
    alone = False


class _Enough(Exception):
    """Ends a run of the first part, once the module was seen."""


class FirstResidual:
    """What the model's first block adds to its main streams, or to the last of its streams.

    Args:
        model: The transformer.
        target: Where its blocks lie.
        undo: Takes it off again.
    """

    def __init__(self, model: nn.Module, target: Target, undo: contextlib.ExitStack) -> None:
        name = target.lists("full")[0]
        self._block = Block(lookup(model, name)[0], target.returns(name))
        names = self._block.returns.names
        self._streams = tuple(main for main in target.streams("full") if main in names) or names[-1:]
        self._samples, self._here = target.samples, _Here()
        undo.callback(Intercept(innermost(self._block.module), "forward", self._around).remove)

    def clear(self) -> None:
        """Forget the call before; another one begins."""
        self._here.seen, self._here.looking = None, True

    def _around(self, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = forward(*args, **kwargs)
        if self._here.looking:
            given = [self._block.argument(name, args, kwargs) for name in self._streams]
            pairs = zip(self._block.streams(output, self._streams), given, strict=True)
            self._here.seen = samples_first((y - x for y, x in pairs if x is not None), self._samples)
        return output

    def look(self, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return the first block's residual."""
        seen, self._here.seen, self._here.looking = self._here.seen, None, False
        if seen is None:
            raise UnsupportedModel(
                "the model's first block ran without being seen, so that nothing is known to decide by.\n"
                "Usual cause: another library restored its forward. Switch off and on again after offloading changes."
            )
        return seen


def probe_of(kind: str, model: nn.Module, target: Target, span: str, undo: contextlib.ExitStack) -> Probe | None:
    """Install what a policy wants to see; nothing where it looks at no block.

    Raises:
        UnknownName: If no probe is called that.
        InvalidOption: If the span holds the block that is looked at.
        UnsupportedModel: If the model does not show it.
    """
    if kind and kind not in PROBES:
        raise unknown("probe", kind, PROBES)
    if kind == "first-block" and span != REST:
        raise InvalidOption(
            f"span={span!r} holds the first block, by which this policy decides and which must run at every step.\n"
            f"Leave out the blocks after it: span={REST!r}"
        )
    if kind == "modulated":
        return Modulated(model, target, undo)
    return FirstResidual(model, target, undo) if kind == "first-block" else None
