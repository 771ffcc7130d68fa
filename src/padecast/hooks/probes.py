"""Where in a model a policy sees what it decides by."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from padecast._errors import InvalidOption, UnsupportedModel, unknown
from padecast._intercept import Intercept, Layer, innermost
from padecast.hooks.blocks.blocks import Block, lookup, samples_first
from padecast.hooks.call import Call
from padecast.memory.arithmetic import Streams
from padecast.policies.base import PROBES
from padecast.targets import REST, Target

Forward = Callable[..., Any]


class Probe(Protocol):
    """Looks at one call of a model, at its first part that may be skipped."""

    layers: list[Layer]
    """What it puts on the model."""

    def look(self, call: Call, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what the policy wants to see.

        Args:
            call: The model's call, which holds what was seen of it so far.
            forward: The first part.
            args: What it is given.
            kwargs: What it is given by name.
        """


class Modulated:
    """The output of a module that lies before the first part or inside it, where it is run for that alone.

    Args:
        model: The transformer.
        target: Says which module, in ``Target.modulated``.
        local: This thread's ``call``; other threads may run the same modules for other pipelines.

    Raises:
        UnsupportedModel: If the target does not say which.
    """

    def __init__(self, model: nn.Module, target: Target, local: threading.local) -> None:
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
        call: Call | None = getattr(self._here, "call", None)
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

    def __init__(self, model: nn.Module, target: Target, local: threading.local) -> None:
        name = target.lists("full")[0]
        self._block = Block(lookup(model, name)[0], target.returns(name))
        names = self._block.returns.names
        self._streams = tuple(main for main in target.streams("full") if main in names) or names[-1:]
        self._samples, self._here = target.samples, local
        self.layers: list[Layer] = [Intercept(innermost(self._block.module), "forward", self._around)]

    def _around(self, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = forward(*args, **kwargs)
        call: Call | None = getattr(self._here, "call", None)
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


def probe_of(kind: str, model: nn.Module, target: Target, span: str, local: threading.local) -> Probe | None:
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


def on_grid(features: Streams, arguments: Mapping[str, Any]) -> Streams:
    """Return packed latents with their height and width, where the model is told them; others as they are.

    Args:
        features: The model's first argument; packed it is ``(B, N, C)``, and becomes ``(B, C, H, W)``, or
            ``(B, C, F, H, W)`` in a model of clips.
        arguments: Its other arguments by name. Of ``img_ids`` the ends are read, which on a GPU is a wait.

    Example:
        >>> import torch
        >>> on_grid((torch.zeros(1, 6, 64),), {"height": 2, "width": 3})[0].shape
        torch.Size([1, 64, 2, 3])
    """
    grid = _grid(arguments) if any(x.ndim == 3 for x in features) else ()
    return tuple(_unpack(x, grid) if x.ndim == 3 else x for x in features)


def _unpack(x: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Return ``(B, N, C)`` as ``(B, C, *grid)``, if the grid has N places."""
    fits = len(grid) > 1 and math.prod(grid) == x.shape[1]
    return x.transpose(1, 2).unflatten(2, grid) if fits else x


def _grid(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Return how many tokens lie along every axis, as far as a model is told; nothing if it is not."""
    ids = arguments.get("img_ids")
    if isinstance(ids, Tensor) and ids.ndim > 1 and ids.shape[-1] > 2 and len(ids):
        rows = ids.reshape(-1, ids.shape[-1])[:, 1:3]  # of an image's row and column; the first tells images apart
        return tuple(int(size) + 1 for size in (rows.amax(0) - rows.amin(0)).tolist())
    named = [arguments[name] for name in ("num_frames", "height", "width") if arguments.get(name) is not None]
    sizes = named or tree_leaves(arguments.get("img_shapes"))[:3]
    return tuple(sizes) if all(isinstance(size, int) for size in sizes) else ()
