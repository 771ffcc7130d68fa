"""Where in a model a policy sees what it decides by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from padecast._errors import InvalidOption, UnsupportedModel, unknown
from padecast._intercept import Intercept, Layer, innermost
from padecast.hooks.blocks.blocks import Block, samples_first
from padecast.hooks.call import Call, Here
from padecast.hooks.stack import Probe
from padecast.memory.arithmetic import Streams
from padecast.policies.base import PROBES
from padecast.targets import REST, Target
from padecast.targets.parts import lookup

Forward = Callable[..., Any]


class Modulated:
    """The output of a module that lies before the first part or inside it, where it is run for that alone.

    Args:
        model: The transformer.
        target: Says which module, in ``Target.modulated``.
        local: This thread's ``call``; other threads may run the same modules for other pipelines.

    Raises:
        UnsupportedModel: If the target does not say which.
    """

    def __init__(self, model: nn.Module, target: Target, local: Here) -> None:
        modules = lookup(model, target.modulated) if target.modulated else []
        if not modules:
            raise UnsupportedModel(
                f"it is not known which module of a {target.model} modulates its first block's input.\n"
                "Usual cause: a class described without it. Add its path to the Target, such as\n"
                '    modulated="transformer_blocks.0.norm1"\n'
                "or take a method that looks at no block, such as adaptive."
            )
        self._here = local
        # No hook: while an exception passes, torch goes through a module's hooks, which another thread may change then.
        self.layers: list[Layer] = [Intercept(innermost(modules[0]), "forward", self._around)]

    def _around(self, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = forward(*args, **kwargs)
        call = self._here.call
        if call is not None and call.looks:
            call.seen = (output[0] if isinstance(output, (tuple, list)) else output,)
            if call.looks_alone:
                raise _Enough
        return output

    def look(self, call: Call, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return the module's output of this call."""
        if call.seen is None:
            call.looks_alone = True
            try:
                forward(*args, **kwargs)
            except _Enough:
                pass
            finally:
                call.looks_alone = False
        return call.show(
            "the module that a Target names as modulated runs neither before its first block nor in it.\n"
            "Usual cause: a path of another release of the model."
        )


class _Enough(Exception):
    """Ends a run of the first part, once the module was seen."""


class FirstResidual:
    """What the model's first block adds to its main streams, or to the last of its streams.

    Args:
        model: The transformer.
        target: Where its blocks lie.
        local: This thread's ``call``.
    """

    def __init__(self, model: nn.Module, target: Target, local: Here) -> None:
        name = target.lists("full")[0]
        self._block = Block(lookup(model, name)[0], target.returns(name))
        names = self._block.returns.names
        self._streams = tuple(main for main in target.streams("full") if main in names) or names[-1:]
        self._samples, self._here = target.samples, local
        self.layers: list[Layer] = [Intercept(innermost(self._block.module), "forward", self._around)]

    def _around(self, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = forward(*args, **kwargs)
        call = self._here.call
        if call is not None and call.looks:
            inputs = [self._block.argument(name, args, kwargs) for name in self._streams]
            pairs = zip(self._block.streams(output, self._streams), inputs, strict=True)
            call.seen = samples_first((y - x for y, x in pairs if x is not None), self._samples)
        return output

    def look(self, call: Call, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return the first block's residual."""
        return call.show(
            "the model's first block ran without being seen, so that nothing is known to decide by.\n"
            "Usual cause: another library restored its forward. Switch off and on again after offloading changes."
        )


def probe_of(kind: str, model: nn.Module, target: Target, span: str, local: Here) -> Probe | None:
    """Return what shows a policy what it wants to see; nothing where it looks at no block.

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
        return Modulated(model, target, local)
    return FirstResidual(model, target, local) if kind == "first-block" else None
