"""Puts a session around a model's stack of blocks, and takes it off again."""

from __future__ import annotations

import contextlib
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from padecast._clock import Clock
from padecast._errors import ConcurrentRun, UnsupportedModel, unknown
from padecast._intercept import Intercept
from padecast._memory import Streams
from padecast._session import Session
from padecast.targets import BlockOutput, Target

MakeSession = Callable[[int], Session]


@dataclass
class Call:
    """One call of the model, from its first block to its last."""

    session: Session
    branch: str
    started: Callable[[], Any]
    entry: Streams = ()
    forecast: Streams | None = None


@dataclass
class Block:
    """One block of the span: where its arguments are, and what stands in for its output."""

    module: nn.Module
    returns: BlockOutput
    parameters: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = tuple(inspect.signature(type(self.module).forward).parameters)[1:]
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

    def passed(self, args: tuple[Any, ...], kwargs: dict[str, Any], replaced: dict[str, Tensor] | None = None) -> Any:
        """Return the block's inputs in the shape of its output, some of them replaced."""
        given = replaced or {}
        values = tuple(
            given[name] if name in given else self.argument(name, args, kwargs) for name in self.returns.names
        )
        return values[0] if self.returns.bare else values


class Attachment:
    """A session around one model's span of blocks, on that instance alone.

    Args:
        model: The transformer.
        target: Where its stack lies.
        span: Which run of block lists is forecast.
        clock: Places calls in runs and schedules.
        make_session: Builds the session of a run of so many steps.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the span has no blocks. Nothing is left attached after an error.
    """

    def __init__(self, model: nn.Module, target: Target, span: str, clock: Clock, make_session: MakeSession) -> None:
        if span not in target.spans:
            raise unknown(f"span of {target.model}", span, target.spans)
        self.model, self.target, self.clock = model, target, clock
        self._make_session, self._names = make_session, target.streams(span)
        self._parameters = tuple(inspect.signature(type(model).forward).parameters)[1:]
        self._blocks = _blocks(model, target, span)
        self.session: Session | None = None
        self._context: Any = None
        self._call: Call | None = None
        self._calls: dict[int, int] = {}
        self._thread: int | None = None
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self._install(undo)
            self._undo = undo.pop_all()

    def remove(self) -> None:
        """Restore the model; safe to call twice."""
        self._undo.close()
        self.reset()

    def reset(self) -> None:
        """Drop the run in progress; the next call begins a new one."""
        if self.session is not None:
            self.session.forget()
        self._call, self._thread = None, None
        self._calls = {}
        self.clock.reset()

    def _install(self, undo: contextlib.ExitStack) -> None:
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if module is self.model:
                self._enter(args, kwargs)

        def after(module: nn.Module, args: Any, output: Any) -> None:
            if module is self.model:
                self._leave(output)

        undo.callback(self.model.register_forward_pre_hook(before, with_kwargs=True).remove)
        undo.callback(self.model.register_forward_hook(after, always_call=True).remove)
        if hasattr(self.model, "cache_context"):
            self._listen(undo)
        for place, block in enumerate(self._blocks):
            undo.callback(Intercept(block.module, self._around(block, place)).remove)

    def _listen(self, undo: contextlib.ExitStack) -> None:
        """Be told which branch a pipeline runs, on this instance alone."""
        model: Any = self.model
        original, had_own = model.cache_context, "cache_context" in model.__dict__

        @contextlib.contextmanager
        def cache_context(name: Any, **details: Any) -> Iterator[None]:
            before, self._context = self._context, _Context(name, **details)
            try:
                with original(name, **details):
                    yield
            finally:
                self._context = before

        def restore() -> None:
            if model.__dict__.get("cache_context") is not cache_context:
                return
            if had_own:
                model.cache_context = original
            else:
                del model.cache_context

        model.cache_context = cache_context
        undo.callback(restore)

    # One call of the model ---------------------------------------------------------------------------------------

    def _enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._call is not None:
            self._recover()
        timestep = self._given(self.target.timestep, args, kwargs)
        tick = self.clock.locate(timestep, self._context, self._given(self._parameters[0], args, kwargs))
        if tick.foreign:
            return
        if tick.begins:
            self._begin(tick.position.total if tick.position else 1)
        if self._thread not in (None, threading.get_ident()):
            raise ConcurrentRun(
                "another thread is in the middle of a run with this accelerated model.\n"
                "Usual cause: two requests served by one pipeline at once. Give every thread its own pipeline "
                "(pipe.__class__.from_pipe(pipe) shares the weights), or guard the pipeline with a lock."
            )
        if tick.position is None or self.session is None:
            return
        if tick.position.total != self.session.total:
            self._begin(tick.position.total)
        self.session.begin(tick.position)
        self._call = Call(self.session, self._branch(tick.position.index), _stopwatch(_device(kwargs, args)))

    def _leave(self, output: Any) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        if output is None:
            self.reset()
            return
        call.session.records[-1].seconds.append(call.started())
        if call.session.complete:
            call.session.forget()
            self._thread = None

    def _begin(self, total: int) -> None:
        if self.session is not None:
            self.session.forget()
        self.session, self._calls = self._make_session(total), {}
        self._thread = threading.get_ident()

    def _recover(self) -> None:
        """Handle a call that never ended: an interrupt in the middle of it, or another thread's call."""
        if self._thread not in (None, threading.get_ident()):
            raise ConcurrentRun(
                "two threads are inside this accelerated model at once.\n"
                "Give every thread its own pipeline, or guard the pipeline with a lock."
            )
        self.reset()
        self.session = None

    def _branch(self, index: int) -> str:
        name = getattr(self._context, "name", None)
        if name is not None:
            return str(name)
        self._calls = {index: self._calls.get(index, 0) + 1}
        return f"call {self._calls[index]}"

    def _given(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in kwargs:
            return kwargs[name]
        place = self._parameters.index(name) if name in self._parameters else len(args)
        return args[place] if place < len(args) else None

    # One call of a block -----------------------------------------------------------------------------------------

    def _around(self, block: Block, place: int) -> Callable[..., Any]:
        is_first, is_last = place == 0, place == len(self._blocks) - 1

        def around(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call = self._call
            if call is None:
                return forward(*args, **kwargs)
            if is_first:
                call.entry = tuple(block.argument(name, args, kwargs) for name in self._names)
                call.forecast = call.session.forecast(call.branch, call.entry)
            if call.forecast is None:
                output = forward(*args, **kwargs)
                return self._learn(call, block, output) if is_last else output
            replaced = dict(zip(self._names, call.forecast, strict=True)) if is_last else None
            return block.passed(args, kwargs, replaced)

        return around

    def _learn(self, call: Call, block: Block, output: Any) -> Any:
        streams = block.streams(output, self._names)
        learnt = call.session.learn(call.branch, call.entry, streams)
        if learnt is streams:
            return output
        if block.returns.bare:
            return learnt[0]
        by_name = dict(zip(self._names, learnt, strict=True))
        return tuple(by_name.get(name, value) for name, value in zip(block.returns.names, output, strict=True))


class _Context:
    """What a pipeline said of a call, whatever release of diffusers said it."""

    def __init__(self, name: Any, **details: Any) -> None:
        self.name = getattr(name, "name", name)
        self.step_index = details.get("step_index", getattr(name, "step_index", None))
        self.num_inference_steps = details.get("num_inference_steps", getattr(name, "num_inference_steps", None))


def _blocks(model: nn.Module, target: Target, span: str) -> list[Block]:
    blocks = [
        Block(module, target.blocks[name]) for name in target.spans[span] for module in getattr(model, name, None) or []
    ]
    if not blocks:
        raise UnsupportedModel(
            f"the span {span!r} of this {target.model} has no blocks in {', '.join(target.spans[span])}.\n"
            f"Its spans: {', '.join(target.spans)}"
        )
    return blocks


def _device(kwargs: dict[str, Any], args: tuple[Any, ...]) -> torch.device:
    return next((value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), torch.device("cpu"))


def _stopwatch(device: torch.device) -> Callable[[], Callable[[], float]]:
    """Start a stopwatch; stopping it returns a reading that is taken later, so that no GPU is waited for."""
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()

        def stop() -> Callable[[], float]:
            end.record()
            return lambda: (end.synchronize(), start.elapsed_time(end) / 1e3)[1]

        return stop
    started = time.perf_counter()

    def stop_on_host() -> Callable[[], float]:
        seconds = time.perf_counter() - started
        return lambda: seconds

    return stop_on_host
