"""Puts a session around a model's stack of blocks, and takes it off again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from padecast._errors import ConcurrentRun, FeatureChanged, PadecastError
from padecast._intercept import Around, Intercept, Layer, Switch, innermost, is_in_place
from padecast.forecasters.extras import Extra
from padecast.hooks.blocks.blocks import Block, Blocks, lookup, parameters_of
from padecast.hooks.call import Call, Pass, Said, device_of, features_of, size_of
from padecast.hooks.callers import Caller, caller_of, is_inside
from padecast.hooks.conditions import Branch, Condition, conditions_of
from padecast.hooks.copies import plain_copies
from padecast.hooks.counting import Tick, value_of
from padecast.hooks.hook import Hook, outside_of_graphs
from padecast.hooks.passage import Passage
from padecast.hooks.probes import Probe, on_grid, probe_of
from padecast.hooks.schedule import Clock
from padecast.hooks.stack import Stack, stacks_of
from padecast.hooks.stopwatch import stopwatch
from padecast.hooks.tracks import Track, Tracks
from padecast.session.session import Session
from padecast.targets import Target

MOST_OVERTAKEN = 16
"""Runs that lost their place to another thread's and are still told so when they go on."""
MakeSession = Callable[[int], Session]


class Listener:
    """What is told of a model's calls: nothing, unless it is overridden."""

    def leave_alone(self, caller: Caller, timestep: Any) -> None:
        """Hear of a call that another pipeline makes."""

    def note(self, session: Session) -> None:
        """Hear that a call of the model is done, of the step that a session has begun last."""

    def finish(self) -> None:
        """Hear that the last step of a run is done."""

    def fail(self, grid: Any) -> None:
        """Hear that a run on some schedule could not be begun, or gone on with."""


class Attachment:
    """A session around one model's span of blocks, on that instance alone.

    Args:
        model: The transformer.
        target: Where its stack lies.
        span: Which run of block lists is forecast.
        clock: Places calls in runs and schedules.
        make_session: Builds the session of a run of so many steps.
        listener: Is told of runs that end and of calls that are left alone. Default nobody.
        probe: What its policy wants to see. Default nothing.
        extra: What its forecaster does besides weights. Default nothing.
        switch: Whether it acts, together with others. Default one of its own, which is on inside a ``with`` block.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the span has no blocks.
        InvalidOption: If the span is not one for such a policy or forecaster.
    """

    def __init__(
        self,
        model: nn.Module,
        target: Target,
        span: str,
        clock: Clock,
        make_session: MakeSession,
        listener: Listener | None = None,
        probe: str = "",
        extra: Extra | None = None,
        switch: Switch | None = None,
    ) -> None:
        self.model, self.target, self.clock = model, target, clock
        self._make_session, self._listener = make_session, listener or Listener()
        self._parameters = parameters_of(model)
        self._stacks: list[Stack] = stacks_of(model, target, span, extra)
        self._tracks = Tracks(clock.steps)
        self._replaced: Session | None = None  # of the run before, while it is not certain that another has begun
        # Why a run that has perhaps begun cannot be served, and its first step: it is not certain before the second.
        self._refusal: tuple[PadecastError, int] | None = None
        # Callers whose runs lost their place to another thread's: their thread, the schedule, and where they were.
        self._overtaken: dict[int, tuple[int | None, Any, float | None]] = {}
        self._here = threading.local()  # this thread's call and cache context
        self._inside: set[int] = set()
        self._is_traced = False  # whether the model's forward runs as one compiled graph
        self._kind = probe
        self._switch = switch or Switch()
        self._probe: Probe | None = probe_of(probe, model, target, span, self._here)
        self._layers = self._all_layers()

    def install(self) -> None:
        """Put it on the model, where it does nothing until its switch is on."""
        for layer in self._layers:
            layer.install()

    @property
    def session(self) -> Session | None:
        """The session of the latest run."""
        return self._tracks.latest.session

    @session.setter
    def session(self, session: Session | None) -> None:
        self._tracks.latest.session = session

    def remove(self) -> None:
        """Restore the model; safe to call twice, and again after an interrupt."""
        self._switch.on = False
        for layer in reversed(self._layers):
            layer.remove()
        self.reset()
        self._layers = []

    def __enter__(self) -> Attachment:
        try:
            self.install()
            self._switch.on = True
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def reset(self) -> None:
        """Drop the run in progress; the next call begins a new one."""
        self.clock.reset()  # first, because it has the next call begin a run, if an interrupt comes now
        self._tracks.reset()
        self._replaced = self._refusal = None
        self._end_call()

    def is_entered(self) -> bool:
        """Whether this thread is inside a call of the model that is accelerated."""
        return getattr(self._here, "call", None) is not None and is_inside(threading.get_ident(), self.model)

    def is_busy(self) -> bool:
        """Whether another thread is inside the model; calls that an interrupt ended are forgotten."""
        if any(is_inside(thread, self.model) for thread in self._inside if thread != threading.get_ident()):
            return True
        if self._inside:
            self._inside.clear()
            self.reset()
        return False

    def _all_layers(self) -> list[Layer]:
        before, after = (partial(outside_of_graphs(f), self) for f in (Attachment._before, Attachment._after))
        layers: list[Layer] = [
            *(self._probe.layers if self._probe is not None else ()),
            Hook(self.model, "register_forward_pre_hook", before, with_kwargs=True),
            Hook(self.model, "register_forward_hook", after, always_call=True),
        ]
        if hasattr(self.model, "cache_context"):
            layers.append(Intercept(self.model, "cache_context", self._listen))
        layers += self._layers_on_rows()
        for number, stack in enumerate(self._stacks):
            passage = Passage(stack, number, len(self._stacks) > 1, self._here, self._probe)
            for place, part in enumerate(stack.parts):
                layers.append(Intercept(innermost(part), "forward", passage.around(place)))
        # Last, and so around what a span of the whole model puts here: its part asks for a call that has begun.
        layers.append(Intercept(self.model, "forward", self._around_forward))
        # First on and last off: a copy that is made in between takes nothing of the rest along.
        return [*plain_copies(layer.owner for layer in layers), *layers]

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        """Begin a call, unless torch asks while this is put on or taken off: it leaves out what is given by name."""
        if module is not self.model or kwargs is None:
            return
        self._here.hooked = True
        with self._switch.lock:
            if self._switch.on:
                self._enter(args, kwargs)

    def _after(self, module: nn.Module, _args: Any, output: Any) -> None:
        if module is self.model:
            self._here.hooked = False
            with self._switch.lock:
                self._leave(output)

    def _around_forward(self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Begin and end a call of the model's ``forward`` itself, of which torch tells no hook."""
        if torch.compiler.is_compiling() or self._is_announced():
            return forward(*args, **kwargs)
        # Stays so where forward raises, which ends the run.
        output = None
        self._before(self.model, args, kwargs)
        try:
            output = forward(*args, **kwargs)
        finally:
            self._after(self.model, args, output)
        return output

    def _is_announced(self) -> bool:
        """Whether a hook has told of this call of ``forward``: of no later one, should an interrupt end this."""
        hooked, self._here.hooked = getattr(self._here, "hooked", False), False
        return hooked

    def _layers_on_rows(self) -> list[Layer]:
        """Return what notes which rows of a block list's streams count, where the parts of the stacks are not told."""
        if not self.target.masks or all(isinstance(stack, Blocks) for stack in self._stacks):
            return []
        return [
            Intercept(innermost(module), "forward", self._noting(Block(module, self.target.returns(path))))
            for path in self.target.blocks
            for module in lookup(self.model, path)[:1]
        ]

    def _noting(self, block: Block) -> Around:
        def around(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call: Call | None = getattr(self._here, "call", None)
            if call is not None:
                call.stream_rows = block.rows(self.target, args, kwargs)
            return forward(*args, **kwargs)

        return around

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
            # Contexts may be nested: the outer one goes on.
            self._here.context = before

    @property
    def _context(self) -> Said | None:
        return getattr(self._here, "context", None)

    # One call of the model ---------------------------------------------------------------------------------------

    def _enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # torch calls no hook when a KeyboardInterrupt leaves the model: such a call is found by the next one.
        ended = self._end_call()
        if ended is not None and ended.session is self.session:  # and no other thread's run has begun since
            # Spent before the reset forgets which schedule it was: the scheduler may hold the next run's by now.
            self.clock.spend(self.clock.latest)  # an interrupt ended the call before, and the run
            self.reset()
        caller = caller_of(self.clock.pipeline, self.model)
        timestep = self._pick(self.target.timestep, args, kwargs)
        if caller.pipeline is not self.clock.pipeline and not caller.is_by_hand:
            self._listener.leave_alone(caller, timestep)
            return
        asks_gradient = self._asks_gradient(args, kwargs)
        if asks_gradient and self.model.training and self._tracks.latest.is_over:
            return  # training, and no step of a run
        if self.is_busy():
            self._tracks.latest.conflict = True  # the other run is spoilt too, and hears of it at the end of its call
            raise _concurrent()
        self._check_overtaken(caller, timestep)
        conditions = conditions_of(self._conditioning(args, kwargs))
        track, tick = self._locate(timestep, conditions, args, kwargs, caller)
        if tick.foreign:
            # A thread that steps our scheduler makes our own calls look foreign: an error is better than a wrong image.
            if not caller.is_by_hand:
                self._check_thread(track, caller)
            self._leave_alone(caller)
            return
        try:
            if not self._is_ours(track, tick, conditions, caller):
                return
            session = self._session_at(track, tick, caller)
            if session is None or tick.position is None:
                return
            branch = self._branch(track, tick, conditions, self._pick(self._parameters[0], args, kwargs))
        except BaseException:
            # The run is lost, whatever went wrong (a plan of another length, Ctrl-C), and its schedule is spent for all
            # models of the pipeline: a call by hand on it must not pass for the start of a run.
            grid = self.clock.latest
            self.reset()
            self.clock.spend(grid)
            self._listener.fail(grid)
            raise
        track.value = track.counter.value
        # Noted last of all: a call that could not be begun must not be ended.
        if branch is not None:
            self._here.call = self._call(session, branch.name, args, kwargs, asks_gradient)
            self._inside.add(threading.get_ident())

    def _locate(
        self,
        timestep: Any,
        conditions: tuple[Condition, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        caller: Caller,
    ) -> tuple[Track, Tick]:
        features = self._pick(self._parameters[0], args, kwargs)
        if self.clock.has_grid:
            by_hand = self.clock.pipeline is not None and caller.is_by_hand
            size = size_of(features)
            return self._tracks.latest, self.clock.locate(timestep, self._context, by_hand, caller.site, size)
        return self._tracks.locate(timestep, self._context, conditions, features)

    def _is_ours(self, track: Track, tick: Tick, conditions: tuple[Condition, ...], caller: Caller) -> bool:
        """Whether a call that fits the schedule belongs to its run, also where it is made by hand."""
        session, at = track.session, tick.position
        by_hand = self.clock.pipeline is not None and self.clock.has_grid and caller.is_by_hand
        if not by_hand or tick.begins or session is None or at is None:
            return True
        # At the first step every conditioning is new.
        if not session.trace.steps or session.trace.steps[0].at.index == at.index:
            return True
        ours = track.takes(None if self._context is None else str(self._context.name), conditions, at.index)
        session.unplaced += not ours
        return ours

    def _leave_alone(self, caller: Caller) -> None:
        """Let a call go by that is no step of the run, and take back a run that was taken for ours because of such."""
        # Right after a run seemed to begin by hand, a call that does not fit is of the same loop: neither was ours.
        if self._replaced is not None or self._refusal is not None:
            if self._replaced is not None:
                self.session = self._replaced
            self._replaced = self._refusal = None
            self.clock.reset()
        elif not caller.is_by_hand and self.session is not None:
            self.session.unplaced += 1  # an evaluation between the steps of the schedule

    def _asks_gradient(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the call's output is to have a gradient, which a forecast would not have."""
        if not torch.is_grad_enabled():
            return False
        tensors = (x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor))
        return any(x.requires_grad for x in tensors) or any(x.requires_grad for x in self.model.parameters())

    def _conditioning(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the model's arguments by name, but for the first, its latents, and its timestep, whatever its name."""
        named = (*zip(self._parameters[1:], args[1:], strict=False), *kwargs.items())
        yield from ((name, x) for name, x in named if name not in (self._parameters[0], self.target.timestep))

    def _call(
        self, session: Session, branch: str, args: tuple[Any, ...], kwargs: dict[str, Any], asks_gradient: bool
    ) -> Call:
        """Begin a call at a step of the run."""
        latents = self._pick(self._parameters[0], args, kwargs)
        if self._kind == "latents":
            session.observe(features_of(latents))
        elif self._kind == "spectrum":
            session.observe(on_grid(features_of(latents), dict(self._conditioning(args, kwargs))))
        watch = stopwatch(device_of(args, kwargs))
        # The oracle computes and hands on something else, and a probe is not asked before the first part is reached.
        certain = asks_gradient or session.records[-1].computed
        computes = certain and not session.replays and self._probe is None
        passes = self._passes(branch)
        # A graph cannot stop to decide: the forecast is made ready now, and is an input of the graph.
        if self._is_traced and not computes and self._probe is None and len(passes) == 1:
            for way in passes:
                way.ready = session.ready(way.key)
        if asks_gradient:
            session.insist("gradient", [way.key for way in passes])
        return Call(session, watch, passes, computes, tuple(getattr(latents, "shape", ())), asks_gradient)

    def _end_call(self) -> Call | None:
        """Return this thread's call, which is over."""
        call, self._here.call = getattr(self._here, "call", None), None
        self._inside.discard(threading.get_ident())
        return call

    def _session_at(self, track: Track, tick: Tick, caller: Caller) -> Session | None:
        """Return the session of the call's run with its step begun; ``None`` without a schedule."""
        if not tick.begins:
            self._check_thread(track, caller)
        if self._refusal is not None and not tick.begins and tick.position is not None:
            error, first = self._refusal
            # Another branch of the first step, which tells no more than the first.
            if tick.position.index == first:
                return None
            raise error  # it was a run of ours after all
        if tick.total is not None and (tick.begins or track.session is None or tick.total != track.session.total):
            self._begin(track, tick, caller)
        session = track.session
        if session is None:
            return None
        if tick.position is None:
            session.unplaced += 1
            return session
        # The second step has come, and fits: the run is ours.
        if session.trace.steps and tick.position.index != session.trace.steps[0].at.index:
            self._replaced = None
        session.begin(tick.position)
        return session

    def _begin(self, track: Track, tick: Tick, caller: Caller) -> None:
        assert tick.total is not None
        before = track.session
        # Forgotten first: the next session takes over its slots, and needs none beside them.
        if before is not None:
            self._overtake(track, caller)
            before.forget()
        for stack in self._stacks:
            stack.clear()
        # A run that is forked off another keeps the branch for which that is done.
        if not len(track.branches) or tick.begins:
            track.branches.clear()
        self._replaced, self._refusal = before if tick.tentative else None, None
        try:
            track.session = self._make_session(tick.total)
        except PadecastError as error:
            # Another loop by hand may be of any length: whether the plan has to fit, the second step tells.
            if not tick.tentative:
                raise
            assert tick.position is not None
            self._refusal, track.session = (error, tick.position.index), None
            return
        track.session.begins_late = track.is_split
        track.thread, track.frame, track.conflict, track.passed = threading.get_ident(), caller.frame, False, None

    def _overtake(self, track: Track, caller: Caller) -> None:
        """Note whose run is not over and gives its place to one in another thread, to tell it when it goes on.

        Of a loop by hand over a pipeline's parts it is not known whether it goes on: its calls share no frame.
        """
        by_hand = self.clock.has_grid and caller.is_by_hand
        if track.thread not in (None, threading.get_ident()) and track.frame != caller.frame and not by_hand:
            self._overtaken[track.frame] = track.thread, self.clock.grid, track.value
            while len(self._overtaken) > MOST_OVERTAKEN:  # runs that were given up never come back
                del self._overtaken[next(iter(self._overtaken))]

    def _check_overtaken(self, caller: Caller, timestep: Any) -> None:
        """Raise if a run goes on that lost its place to one in another thread, though that may be over by now.

        The same caller may begin another run instead: then the schedule was set anew, or time turns back.
        """
        if caller.frame not in self._overtaken:
            return
        (thread, grid, last), rising = self._overtaken[caller.frame], self._tracks.latest.counter.rising
        value = None if timestep is None or last is None or self.clock.has_grid else value_of(timestep)
        if value is not None and value == last:
            return  # another call of the step where it was, or the first of another run: the next one tells
        del self._overtaken[caller.frame]
        # Whoever begins anew has set the schedule since. By hand the frame may be a helper's: its identity comes again.
        if self.clock.has_grid:
            goes_on = not caller.is_by_hand and (self.clock.grid is grid or not self.clock.is_outdated)
        else:
            # In another thread it is the identity of another frame.
            goes_on = value is not None and thread == threading.get_ident() and (value > (last or 0)) == rising
        if goes_on:
            latest = self._tracks.latest
            if latest.thread == threading.get_ident():
                self.reset()
            # The run that took its place is lost with it, and hears so at its next call.
            latest.conflict = not latest.is_over and latest.thread is not None
            raise _concurrent()

    def _check_thread(self, track: Track, caller: Caller) -> None:
        """Raise if the call goes on with a run that belongs to another thread, or that another thread has spoilt.

        The steps of one run may come from several threads, one after the other, as those of a generator do: they are
        made by one call of a pipeline.
        """
        if track.thread not in (None, threading.get_ident()) and track.frame == caller.frame:
            track.thread = threading.get_ident()
        mine = track.thread in (None, threading.get_ident())
        if mine and not track.conflict:
            return
        if mine:
            self.reset()
        else:
            # The run of the other thread is lost too, and hears so when it goes on, unless one of them is by hand.
            self._overtake(track, caller)
        raise _concurrent()

    def _leave(self, output: Any) -> None:
        call = self._end_call()
        if call is None:
            return
        # torch hands its hooks None where the model raised.
        if output is None:
            self.reset()
        elif self._tracks.latest.conflict:
            self.reset()
            raise _concurrent()
        else:
            self._finish(call)

    def _finish(self, call: Call) -> None:
        for number, way in enumerate(call.passes):
            if way.ready is not None and way.forecast is not None:
                call.session.serve(way.key)
            elif way.ready is not None:
                call.session.decline(way.key, "changed")
            if way.learnt is not None:
                # A part whose output is noted cuts the graph, so that nothing can be decided ahead for all of it.
                self._is_traced = not self._stacks[number].notes
                rows = self._stacks[number].match_rows(way.stream_rows or call.stream_rows, way.learnt[1])
                call.session.learn(way.key, *way.learnt, rows)
            elif way.reached_end and way.forecast is None:
                self._is_traced = False  # it was computed outside of a graph
        call.session.records[-1].seconds.append(call.stop())
        for number, way in enumerate(call.passes):
            if way.reached_end:
                continue
            # Parts were skipped for a forecast that the last one never handed on: the output is worth nothing.
            if way.forecast is not None:
                self.reset()
                raise FeatureChanged(
                    f"the blocks of this {self.target.model} were given other forwards in the middle of a run.\n"
                    "Usual cause: offloading switched on or off in a callback. Do that between runs."
                )
            call.session.lose(way.key, "bypassed" if self._is_displaced(number) else "left out")
        self._listener.note(call.session)
        if call.session.complete:
            call.session.forget()
            # Whoever samples next, in whatever thread, overtakes nobody.
            self._tracks.latest.thread = None
            self._listener.finish()

    def _is_displaced(self, number: int) -> bool:
        """Whether another library took our forwards off a stack, so that its parts ran without us."""
        return not all(is_in_place(innermost(part)) for part in self._stacks[number].parts)

    def _branch(self, track: Track, tick: Tick, conditions: tuple[Condition, ...], latents: Any) -> Branch | None:
        """Return the branch of a call; nothing if it is not known which, and the call is computed."""
        assert track.session is not None and tick.position is not None
        name = None if self._context is None else str(self._context.name)
        branch = track.branches.find(name, conditions, latents, tick.position.index)
        if branch is None:
            track.session.insist("unclear", ["" if name is None else name])
        return branch

    def _passes(self, branch: str) -> list[Pass]:
        """Return a branch's way through every stack, and under which name it is remembered."""
        if len(self._stacks) == 1:
            return [Pass(branch, branch)]
        return [Pass(f"{branch}, part {number}", branch) for number in range(len(self._stacks))]

    def _pick(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
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
