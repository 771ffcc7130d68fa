"""Puts a session around a model's stack of blocks, and takes it off again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from padecast._block import parameters_of
from padecast._call import Call, Pass, Said
from padecast._clock import Clock
from padecast._count import Tick
from padecast._errors import ConcurrentRun, FeatureChanged, UnsupportedModel
from padecast._frames import is_inside
from padecast._intercept import Around, Intercept, innermost
from padecast._mix import Streams
from padecast._probe import Probe, probe_of
from padecast._session import Session
from padecast._stack import Stack, stacks_of
from padecast._stopwatch import stopwatch
from padecast.targets import Target

MakeSession = Callable[[int], Session]


class Attachment:
    """A session around one model's span of blocks, on that instance alone.

    Args:
        model: The transformer.
        target: Where its stack lies.
        span: Which run of block lists is forecast.
        clock: Places calls in runs and schedules.
        make_session: Builds the session of a run of so many steps.
        probe: What its policy wants to see. Default nothing.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the span has no blocks. Nothing is left attached after an error.
    """

    def __init__(
        self, model: nn.Module, target: Target, span: str, clock: Clock, make_session: MakeSession, probe: str = ""
    ) -> None:
        self.model, self.target, self.clock = model, target, clock
        self._make_session = make_session
        self._parameters = parameters_of(model)
        self._stacks: list[Stack] = stacks_of(model, target, span)
        self.session: Session | None = None
        self._here = threading.local()  # this thread's call and cache context
        self._inside: set[int] = set()
        self._calls: dict[int, int] = {}
        self._owner: int | None = None
        self._conflict = False
        self._is_traced = False  # whether the model's forward runs as one compiled graph
        self._kind = probe
        with contextlib.ExitStack() as undo:
            self._probe: Probe | None = probe_of(probe, model, target, span, undo)
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
        self._end_call()
        self._owner, self._conflict, self._calls = None, False, {}
        self.clock.reset()

    def is_busy(self) -> bool:
        """Whether another thread is inside the model; calls that an interrupt ended are forgotten."""
        if any(is_inside(thread, self.model) for thread in self._inside if thread != threading.get_ident()):
            return True
        if self._inside:
            self._inside.clear()
            self.reset()
        return False

    def _install(self, undo: contextlib.ExitStack) -> None:
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if module is self.model:
                self._enter(args, kwargs)

        def after(module: nn.Module, args: Any, output: Any) -> None:
            if module is self.model:
                self._leave(output)

        before, after = torch.compiler.disable(before), torch.compiler.disable(after)
        undo.callback(self.model.register_forward_pre_hook(before, with_kwargs=True).remove)
        undo.callback(self.model.register_forward_hook(after, always_call=True).remove)
        if hasattr(self.model, "cache_context"):
            undo.callback(Intercept(self.model, "cache_context", self._listen).remove)
        for number, stack in enumerate(self._stacks):
            for place, part in enumerate(stack.parts):
                undo.callback(Intercept(innermost(part), "forward", self._around(number, place)).remove)

    def _listen(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Be told which branch a pipeline runs."""
        return self._telling(method(*args, **kwargs), Said(*args, **kwargs))

    @contextlib.contextmanager
    def _telling(self, opened: contextlib.AbstractContextManager[None], context: Said) -> Iterator[None]:
        before, self._here.context = self._context, context
        try:
            with opened:
                yield
        finally:
            self._here.context = before

    @property
    def _context(self) -> Said | None:
        return getattr(self._here, "context", None)

    # One call of the model ---------------------------------------------------------------------------------------

    def _enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._end_call() is not None:
            self.reset()  # an interrupt ended the call before
        if self.clock.is_foreign():
            return
        if self.is_busy():
            self._conflict = True  # the other thread's run is spoilt too, and hears of it at the end of its call
            raise _concurrent()
        timestep = self._given(self.target.timestep, args, kwargs)
        tick = self.clock.locate(timestep, self._context, self._given(self._parameters[0], args, kwargs))
        if tick.foreign:
            return
        if not tick.begins:
            self._check_owner()
        try:
            session = self._session_at(tick)
        except BaseException:
            self.reset()
            raise
        if session is not None and tick.position is not None:
            if self._probe is not None:
                self._probe.clear()
            if self._kind == "latents":
                session.observe(_features(self._given(self._parameters[0], args, kwargs)))
            watch = stopwatch(_device(kwargs, args))
            computes = session.records[-1].computed and not session.forecaster.replays and self._probe is None
            passes = [Pass(key) for key in self._keys(self._branch(tick.position.index))]
            if self._is_traced and not computes and self._probe is None and len(passes) == 1:
                for one in passes:
                    one.ready = session.ready(one.key)
            self._here.call = Call(session, watch, passes, computes)
            self._inside.add(threading.get_ident())

    def _end_call(self) -> Call | None:
        """Return this thread's call, which is over."""
        call, self._here.call = getattr(self._here, "call", None), None
        self._inside.discard(threading.get_ident())
        return call

    def _session_at(self, tick: Tick) -> Session | None:
        """Return the session of the call's run with its step begun; ``None`` without a schedule."""
        if tick.total is not None and (tick.begins or self.session is None or tick.total != self.session.total):
            self._begin(tick.total)
        if self.session is None:
            return None
        if tick.position is None:
            self.session.unplaced += 1
        else:
            self.session.begin(tick.position)
        return self.session

    def _begin(self, total: int) -> None:
        if self.session is not None:
            self.session.forget()
        for stack in self._stacks:
            stack.clear()
        self.session, self._calls = self._make_session(total), {}
        self._owner, self._conflict = threading.get_ident(), False

    def _check_owner(self) -> None:
        """Raise if the call goes on with a run that belongs to another thread, or that another thread has spoilt."""
        mine = self._owner in (None, threading.get_ident())
        if mine and not self._conflict:
            return
        if mine:
            self.reset()
        else:
            self._conflict = True
        raise _concurrent()

    def _leave(self, output: Any) -> None:
        call = self._end_call()
        if call is None:
            return
        if output is None:
            self.reset()
        elif self._conflict:
            self.reset()
            raise _concurrent()
        else:
            self._finish(call)

    def _finish(self, call: Call) -> None:
        for number, one in enumerate(call.passes):
            if one.ready is not None and one.forecast is not None:
                call.session.serve(one.key)
            elif one.ready is not None:
                call.session.decline(one.key, "changed")
            if one.learnt is not None:
                self._is_traced = not self._stacks[number].notes
                call.session.learn(one.key, *one.learnt)
        call.session.records[-1].seconds.append(call.stop())
        for one in call.passes:
            if one.reached_end:
                continue
            if one.forecast is not None:
                self.reset()
                raise FeatureChanged(
                    f"the blocks of this {self.target.model} were given other forwards in the middle of a run.\n"
                    "Usual cause: offloading switched on or off in a callback. Do that between runs."
                )
            call.session.decline(one.key, "bypassed")
        if call.session.complete:
            call.session.forget()
            self._owner = None

    def _branch(self, index: int) -> str:
        if self._context is not None:
            return str(self._context.name)
        self._calls = {index: self._calls.get(index, 0) + 1}
        return f"call {self._calls[index]}"

    def _keys(self, branch: str) -> list[str]:
        """Return under which names a branch's stacks are remembered."""
        return [branch] if len(self._stacks) == 1 else [f"{branch}, part {n}" for n in range(len(self._stacks))]

    def _given(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in kwargs:
            return kwargs[name]
        place = self._parameters.index(name) if name in self._parameters else len(args)
        return args[place] if place < len(args) else None

    # One call of a block -----------------------------------------------------------------------------------------

    def _around(self, number: int, place: int) -> Around:
        stack = self._stacks[number]
        is_first, is_last = place == 0, place == len(stack.parts) - 1

        def around(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call: Call | None = getattr(self._here, "call", None)
            if call is None:
                return forward(*args, **kwargs)
            one = call.passes[number]
            if is_first and (call.computes or one.ready is not None) and torch.compiler.is_compiling():
                _begin_in_graph(stack, one, args, kwargs)
            elif is_first:
                begin(stack, call.session, one, forward, args, kwargs)
            one.reached_end = is_last and one.begun
            if one.forecast is not None:
                return stack.skipped(place, args, kwargs, one.forecast if is_last else None)
            output = forward(*args, **kwargs)
            if notes:
                ran(place, output)
            if not one.reached_end:
                return output
            if torch.compiler.is_compiling() and not call.session.forecaster.replays:
                one.learnt = _kept(stack, one.entry, output)  # learnt when the model returns: no graph break here
                return output
            return learn(stack, call.session, one, output)

        notes, ran = stack.notes, torch.compiler.disable(stack.ran)
        begin, learn = torch.compiler.disable(self._begin_pass), torch.compiler.disable(_learn)
        return around

    def _begin_pass(
        self,
        stack: Stack,
        session: Session,
        one: Pass,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        one.ready = None
        entry = stack.entry(args, kwargs)
        if self._probe is not None and session.waits_to_see and stack is self._stacks[0]:
            session.observe(self._probe.look(forward, args, kwargs))
        part = None if len(self._stacks) == 1 else self._stacks.index(stack)
        one.begun, one.forecast = True, session.forecast(one.key, entry, part)
        if one.forecast is None and not stack.remembers_entry:
            one.entry = session.hold(one.key, entry)


def _begin_in_graph(stack: Stack, one: Pass, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Forecast with what was decided before the model was called, or compute: no graph break."""
    one.begun, one.entry = True, stack.entry(args, kwargs)
    if one.ready is not None and one.ready.fits(one.entry):
        one.forecast = one.ready.add(one.entry)


def _kept(stack: Stack, entry: Streams, output: Any) -> tuple[Streams, Streams]:
    """Return what there is to learn, safe from a model that goes on in place."""
    entry, streams = stack.learnt(entry, output)
    return tuple(x.clone() for x in entry), tuple(y.clone() for y in streams)


def _learn(stack: Stack, session: Session, one: Pass, output: Any) -> Any:
    entry, streams = stack.learnt(one.entry, output)
    learnt = session.learn(one.key, entry, streams)
    return output if learnt is streams else stack.exchanged(output, learnt)


def _concurrent() -> ConcurrentRun:
    return ConcurrentRun(
        "two threads sample with one accelerated pipeline at once; both runs are lost.\n"
        "Usual cause: two requests served by one pipeline. Guard it with a lock, or give every thread a pipeline and a "
        "scheduler of its own that share the weights:\n"
        "    type(pipe).from_pipe(pipe, scheduler=copy.deepcopy(pipe.scheduler))"
    )


def _features(given: Any) -> Streams:
    """Return the floating-point tensors of an argument, which may be a list of samples.

    Raises:
        UnsupportedModel: If there are none.
    """
    features = tuple(x for x in tree_leaves(given) if isinstance(x, Tensor) and x.is_floating_point())
    if not features:
        raise UnsupportedModel(
            f"the model's first argument, of type {type(given).__name__}, holds no latents for the policy to see.\n"
            "Usual cause: a model that is given text first. Take a method that looks at no latents, such as adaptive."
        )
    return features


def _device(kwargs: dict[str, Any], args: tuple[Any, ...]) -> torch.device:
    return next((value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), torch.device("cpu"))
