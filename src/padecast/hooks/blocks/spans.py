"""What of a model a span names: its output, the blocks of a description, halves of them, or their sublayers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from padecast._errors import UnsupportedModel, unknown
from padecast._intercept import Around, Intercept, Layer, innermost
from padecast.forecasters.extras import Extra
from padecast.forecasters.toca import ToCa
from padecast.hooks.blocks.blocks import Block, Blocks
from padecast.hooks.blocks.probes import probe_of
from padecast.hooks.blocks.sublayers import sublayers_of
from padecast.hooks.blocks.toca import renew_tokens
from padecast.hooks.call import Here
from padecast.hooks.outputs import Opaque
from padecast.hooks.stack import Span, Stack
from padecast.targets import HALVES, MODULES, REST, WHOLE, Target
from padecast.targets.parts import lookup


def span_of(model: nn.Module, target: Target, span: str, probe: str = "", extra: Extra | None = None) -> Span:
    """Return what a span names in a model.

    Args:
        model: The transformer or U-Net.
        target: Where its stack lies.
        span: By name.
        probe: What a policy wants to see. Default nothing.
        extra: What a forecaster does besides weights: some extras need stacks of their own. Default nothing.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the span has no blocks, or does not show what the policy wants to see.
        InvalidOption: If the span is not one for such a policy or forecaster.
    """
    stacks: Sequence[Stack] = stacks_of(model, target, span)
    if isinstance(extra, ToCa):
        stacks = renew_tokens(model, target, span)
    layers = partial(_layers_on_rows, model, target, stacks)
    return Span(stacks, partial(probe_of, probe, model, target, span), layers)


def _layers_on_rows(model: nn.Module, target: Target, stacks: Sequence[Stack], local: Here) -> list[Layer]:
    """Return what notes which rows of a block list's streams count, where the parts of the stacks are not told."""
    if not target.masks or all(isinstance(stack, Blocks) for stack in stacks):
        return []
    return [
        Intercept(innermost(module), "forward", _note_rows(Block(module, target.returns(path)), target, local))
        for path in target.blocks
        for module in lookup(model, path)[:1]
    ]


def _note_rows(block: Block, target: Target, local: Here) -> Around:
    def around(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = local.call
        if call is not None:
            call.stream_rows = block.rows(target, args, kwargs)
        return forward(*args, **kwargs)

    return around


def stacks_of(model: nn.Module, target: Target, span: str) -> list[Stack]:
    """Return the stacks that a span names, each forecast by itself; nearly always one.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the span has no blocks.
    """
    if target.opaque or span not in (HALVES, MODULES):
        return [stack_of(model, target, span)]
    if span == HALVES:
        return [Blocks(model, target, lists) for lists in halves(model, target.lists("full"))]
    return [Opaque([x.part], text=x.text, second=x.second) for x in sublayers_of(model, target)]


def halves(model: nn.Module, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Cut a run of block lists in two, as slices.

    Raises:
        UnsupportedModel: If there are fewer than two blocks.
    """
    counts = [len(lookup(model, path)) for path in paths]
    front, back, left = list[str](), list[str](), sum(counts) // 2
    if not left:
        raise UnsupportedModel(f"{sum(counts)} block cannot be cut in two.\nForecast it whole: span='full'")
    for path, count in zip(paths, counts, strict=True):
        if left >= count:
            front.append(path)
        elif left > 0:
            front.append(f"{path}[:{left}]")
            back.append(f"{path}[{left}:]")
        else:
            back.append(path)
        left -= count
    return front, back


def stack_of(model: nn.Module, target: Target, span: str) -> Stack:
    """Return the parts of a model that a span names, where they are one stack.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the span has no blocks.
    """
    if span in WHOLE:
        return Opaque.around(model, WHOLE[span], packed=target.samples is None)
    if span not in target.spans and (span != REST or target.opaque):
        raise unknown(f"span of {target.model}", span, [*target.spans, *WHOLE])
    if not target.opaque:
        return Blocks(model, target, target.lists(span))
    parts = [part for path in target.spans[span] for part in lookup(model, path)]
    if not parts:
        raise UnsupportedModel(
            f"the span {span!r} of this {target.model} has no parts in {', '.join(target.spans[span])}.\n"
            f"Forecast the model's output instead: span={next(iter(WHOLE))!r}"
        )
    return Opaque(parts)
