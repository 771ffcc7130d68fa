"""What a session is put around: the blocks of a described span, or a model whose output is forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import nn

from padecast._errors import UnsupportedModel, unknown
from padecast.forecasters.extras import Extra
from padecast.forecasters.toca import ToCa
from padecast.hooks.blocks.blocks import Blocks, lookup, parameters_of
from padecast.hooks.blocks.sublayers import sublayers_of
from padecast.hooks.blocks.toca import renew_tokens
from padecast.hooks.outputs import Opaque
from padecast.hooks.rows import Known
from padecast.memory.arithmetic import Rows, Streams
from padecast.targets import HALVES, MODULES, REST, WHOLE, Target


class Stack(Protocol):
    """Consecutive parts of a model that are skipped together."""

    parts: list[nn.Module]
    notes: bool
    """Whether it wants to see what every part returns."""
    remembers_entry: bool
    """Whether it finds the entry by itself when it learns, so that nobody else need keep it."""

    def clear(self) -> None:
        """Forget the run."""

    def entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what a forecast is added to, at the call of the first part; nothing if none is possible."""

    def source(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what the first part is given of every sample, at its call; nothing if that is not known."""

    def read_rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Known:
        """Return which rows count of what the first part is given, at its call; nothing if all do or none is known."""

    def match_rows(self, stream_rows: Known, streams: Streams) -> Rows | None:
        """Return which rows of the output count, by those of what a block was given; ``None`` if all do."""

    def skip(self, place: int, args: tuple[Any, ...], kwargs: dict[str, Any], forecast: Streams | None) -> Any:
        """Return what stands in for a part's output; the last part's holds the forecast."""

    def ran(self, place: int, output: Any) -> None:
        """See what a part returned."""

    def learnt(self, entry: Streams, output: Any) -> tuple[Streams, Streams]:
        """Return input and output of the stack, from its entry and what its last part returned."""

    def exchange(self, output: Any, streams: Streams) -> Any:
        """Return the last part's output with other features."""


def stacks_of(model: nn.Module, target: Target, span: str, extra: Extra | None = None) -> list[Stack]:
    """Return the stacks that a span names, each forecast by itself; nearly always one.

    Args:
        model: The transformer.
        target: Where its blocks lie.
        span: Which of them.
        extra: What its forecaster does besides weights: some extras need stacks of their own. Default nothing.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the span has no blocks, or none that the extra could serve.
        InvalidOption: If the span is not one for the extra.
    """
    stacks = _stacks_of(model, target, span)
    return [*renew_tokens(model, target, span)] if isinstance(extra, ToCa) else stacks


def _stacks_of(model: nn.Module, target: Target, span: str) -> list[Stack]:
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
        names = parameters_of(model)
        return Opaque([model], (names[0], 0) if WHOLE[span] else None, packed=target.samples is None)
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
