"""Puts a session around a model's stack of blocks, and takes it off again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from padecast._block import parameters_of
from padecast._call import Call, Pass, Said, device_of, features_of
from padecast._clock import Clock
from padecast._count import Tick
from padecast._errors import ConcurrentRun, FeatureChanged
from padecast._frames import is_inside
from padecast._intercept import Intercept, innermost
from padecast._module import check_tokens
from padecast._passage import Passage
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
        chooses: Whether its forecaster chooses tokens that modules compute. Default false.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the span has no blocks. Nothing is left attached after an error.
        InvalidOption: If the span is not one for such a policy or forecaster.
    """

    def __init__(
        self,
        model: nn.Module,
        target: Target,
        span: str,
        clock: Clock,
        make_session: MakeSession,
        probe: str = "",
        chooses: bool = False,
    ) -> None:
        self.model, self.target, self.clock = model, target, clock
        self._make_session = make_session
        self._parameters = parameters_of(model)
        self._stacks: list[Stack] = stacks_of(model, target, span)
        if chooses:
            check_tokens(self._stacks, target, span)
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
            passage = Passage(stack, number, len(self._stacks) > 1, self._here, self._probe)
            for place, part in enumerate(stack.parts):
                undo.callback(Intercept(innermost(part), "forward", passage.around(place)).remove)

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
            self._here.call = self._call(session, tick.position.index, args, kwargs)
            self._inside.add(threading.get_ident())

    def _call(self, session: Session, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Begin a call at a step of the run."""
        latents = self._given(self._parameters[0], args, kwargs)
        if self._probe is not None:
            self._probe.clear()
        if self._kind == "latents":
            session.observe(features_of(latents))
        watch = stopwatch(device_of(args, kwargs))
        computes = session.records[-1].computed and not session.forecaster.replays and self._probe is None
        passes = self._passes(self._branch(index))
        if self._is_traced and not computes and self._probe is None and len(passes) == 1:
            for one in passes:
                one.ready = session.ready(one.key)
        return Call(session, watch, passes, computes, tuple(getattr(latents, "shape", ())))

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
            elif one.reached_end and one.forecast is None:
                self._is_traced = False  # it was computed outside of a graph
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

    def _passes(self, branch: str) -> list[Pass]:
        """Return a branch's way through every stack, and under which name it is remembered."""
        if len(self._stacks) == 1:
            return [Pass(branch, branch)]
        return [Pass(f"{branch}, part {number}", branch) for number in range(len(self._stacks))]

    def _given(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in kwargs:
            return kwargs[name]
        place = self._parameters.index(name) if name in self._parameters else len(args)
        return args[place] if place < len(args) else None


def _concurrent() -> ConcurrentRun:
    return ConcurrentRun(
        "two threads sample with one accelerated pipeline at once; both runs are lost.\n"
        "Usual cause: two requests served by one pipeline. Guard it with a lock, or give every thread a pipeline and a "
        "scheduler of its own that share the weights:\n"
        "    type(pipe).from_pipe(pipe, scheduler=copy.deepcopy(pipe.scheduler))"
    )
