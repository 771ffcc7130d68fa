"""Puts a session around a model's stack of blocks, and takes it off again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from padecast._errors import FeatureChanged, InvalidOption, PadecastError
from padecast._intercept import Intercept, Layer, Switch, innermost, is_in_place
from padecast.hooks.call import Arrival, Call, Pass, Said
from padecast.hooks.callers import Caller, caller_of
from padecast.hooks.conditions import conditions_of
from padecast.hooks.copies import plain_copies
from padecast.hooks.counting import Tick
from padecast.hooks.guiders import layers_on_guiders
from padecast.hooks.hook import Hook, outside_of_graphs
from padecast.hooks.latents import features_of, on_grid, size_of
from padecast.hooks.passage import Passage
from padecast.hooks.schedule import Clock
from padecast.hooks.stack import Span
from padecast.hooks.threads import Threads, collision
from padecast.hooks.tracks import Track, Tracks
from padecast.session.session import Session
from padecast.session.stopwatch import stopwatch
from padecast.targets import Target
from padecast.targets.parts import parameters_of

MakeSession = Callable[[int], Session]


def check_alone(model: nn.Module) -> None:
    """Raise if a cache of diffusers is on a model: steps that it leaves out would count as computed, and teach.

    Raises:
        InvalidOption: If there is one.
    """
    if getattr(model, "is_cache_enabled", False) is True:
        name = type(getattr(model, "_cache_config", None)).__name__.removesuffix("Config")
        raise InvalidOption(
            f"diffusers' {name} is on this {type(model).__name__}: of two caches, each would forecast from what the "
            "other has left out.\n"
            "Switch one of them off: pipe.transformer.disable_cache(), or leave padecast off."
        )


class Listener:
    """What is told of a model's calls: nothing, unless it is overridden."""

    hears_calls = False
    """Whether it is told of every call; else of runs alone."""

    def leave_alone(self, caller: Caller, timestep: Any) -> None:
        """Hear of a call that another pipeline makes."""

    def note(self, session: Session) -> None:
        """Hear that a call of the model is done, of the step that a session has begun last."""

    def finish(self) -> None:
        """Hear that the last step of a run is done."""

    def fail(self, grid: Any) -> None:
        """Hear that a run on some schedule could not be begun, or gone on with."""


class Attachment:
    """A session around a span of one model, on that instance alone.

    Args:
        model: The transformer.
        target: What is known of its class.
        span: What of it is forecast.
        clock: Places calls in runs and schedules.
        make_session: Builds the session of a run of so many steps.
        listener: Is told of runs that end and of calls that are left alone. Default nobody.
        probe: What its policy wants to see. Default nothing.
        switch: Whether it acts, together with others. Default one of its own, which is on inside a ``with`` block.

    Raises:
        UnsupportedModel: If the model does not show what the policy wants to see.
    """

    def __init__(
        self,
        model: nn.Module,
        target: Target,
        span: Span,
        clock: Clock,
        make_session: MakeSession,
        listener: Listener | None = None,
        probe: str = "",
        switch: Switch | None = None,
    ) -> None:
        self.model, self.target, self.clock = model, target, clock
        self._make_session, self._listener = make_session, listener or Listener()
        self._parameters = parameters_of(model)
        self._stacks = list(span.stacks)
        self._tracks = Tracks(clock.steps)
        self._replaced: Session | None = None  # of the run before, while it is not certain that another has begun
        # Why a run that has perhaps begun cannot be served, and its first step: it is not certain before the second.
        self._refusal: tuple[PadecastError, int] | None = None
        self._threads = Threads(model)
        self._here = self._threads.here
        self._is_traced = False  # whether the model's forward runs as one compiled graph
        self._kind = probe
        self._switch = switch or Switch()
        self._probe = span.probe(self._here)
        self._layers = self._all_layers(span)

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
        self._threads.end()

    def is_entered(self) -> bool:
        """Whether this thread is inside a call of the model that is accelerated."""
        return self._threads.is_entered()

    def is_busy(self) -> bool:
        """Whether another thread is inside the model; calls that an interrupt ended are forgotten."""
        if not self._threads.inside:
            return False
        if self._threads.is_busy():
            return True
        self._threads.forget_interrupted()
        self.reset()
        return False

    def _all_layers(self, span: Span) -> list[Layer]:
        before, after = (partial(outside_of_graphs(f), self) for f in (Attachment._before, Attachment._after))
        layers: list[Layer] = [
            *(self._probe.layers if self._probe is not None else ()),
            Hook(self.model, "register_forward_pre_hook", before, with_kwargs=True),
            Hook(self.model, "register_forward_hook", after, always_call=True),
        ]
        if hasattr(self.model, "cache_context"):
            layers.append(Intercept(self.model, "cache_context", self._listen))
        layers += [*layers_on_guiders(self.clock.pipeline, self.model, self._here), *span.layers(self._here)]
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
        hooked, self._here.hooked = self._here.hooked, False
        return hooked

    def _listen(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Be told which branch a pipeline runs."""
        return self._telling(method(*args, **kwargs), Said(*args, **kwargs))

    @contextlib.contextmanager
    def _telling(self, opened: contextlib.AbstractContextManager[None], context: Said) -> Iterator[None]:
        before, self._here.context = self._here.context, context
        try:
            with opened:
                yield
        finally:
            # Contexts may be nested: the outer one goes on.
            self._here.context = before

    # One call of the model ---------------------------------------------------------------------------------------

    def _enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # torch calls no hook when a KeyboardInterrupt leaves the model: such a call is found by the next one.
        ended = self._threads.end() if self._here.call is not None else None
        if ended is not None and ended.session is self.session:  # and no other thread's run has begun since
            # Spent before the reset forgets which schedule it was: the scheduler may hold the next run's by now.
            self.clock.spend(self.clock.latest)  # an interrupt ended the call before, and the run
            self.reset()
        caller = caller_of(self.clock.pipeline, self.model)
        named = dict(zip(self._parameters, args, strict=False)) | kwargs
        if caller.pipeline is not self.clock.pipeline and not caller.is_by_hand:
            self._listener.leave_alone(caller, named.get(self.target.timestep))
            return
        if self.target.is_aside(named):
            return
        asks_gradient = torch.is_grad_enabled() and self._asks_gradient(named)
        if asks_gradient and self.model.training and self._tracks.latest.is_over:
            return  # training, and no step of a run
        if self.is_busy():
            self._tracks.latest.conflict = True  # the other run is spoilt too, and hears of it at the end of its call
            raise collision()
        context, timestep = self._here.context, named.get(self.target.timestep)
        arrival = Arrival(
            named,
            named.get(self._parameters[0]),
            self.clock.nearest(timestep) if self.target.levels else timestep,
            context,
            self._here.guided if context is None else str(context.name),
            conditions_of(named, (self._parameters[0], self.target.timestep)),
            caller,
            asks_gradient,
            self.target.is_filling(named),
        )
        if self._threads.overtaken:
            self._check_overtaken(arrival)
        track, tick = self._locate(arrival)
        if tick.foreign:
            # A thread that steps our scheduler makes our own calls look foreign: an error is better than a wrong image.
            if not caller.is_by_hand:
                self._check_thread(track, caller)
            self._leave_alone(caller)
            return
        try:
            if not self._is_ours(track, tick, arrival):
                return
            session = self._session_at(track, tick, caller)
            if session is None or tick.position is None:
                return
            index, terms = tick.position.index, (arrival.name, arrival.conditions, arrival.latents)
            branch = track.branches.find(*terms, index, arrival.fills)
            if branch is None:
                session.insist("unclear", [arrival.name or ""])
                return
            call = self._begin_call(session, branch.name, arrival)
        except BaseException:
            # The run is lost, whatever went wrong (a plan of another length, Ctrl-C), and its schedule is spent for all
            # models of the pipeline: a call by hand on it must not pass for the start of a run.
            grid = self.clock.latest
            self.reset()
            self.clock.spend(grid)
            self._listener.fail(grid)
            raise
        # Noted last of all: a call that could not be begun must not be ended.
        self._threads.begin(call)

    def _locate(self, arrival: Arrival) -> tuple[Track, Tick]:
        timestep, context, latents = arrival.timestep, arrival.context, arrival.latents
        if self.clock.pipeline is None or not self.clock.has_grid:
            return self._tracks.locate(timestep, context, arrival.conditions, latents)
        by_hand = arrival.caller.is_by_hand
        tick = self.clock.locate(timestep, context, by_hand, arrival.caller.site, size_of(latents))
        return self._tracks.latest, tick

    def _is_ours(self, track: Track, tick: Tick, arrival: Arrival) -> bool:
        """Whether a call that fits the schedule belongs to its run, also where it is made by hand."""
        session, at = track.session, tick.position
        if self.clock.pipeline is None or tick.begins or session is None or at is None:
            return True
        if not (arrival.caller.is_by_hand and self.clock.has_grid):
            return True
        # At the first step every conditioning is new.
        if not session.records or session.records[0].at.index == at.index:
            return True
        ours = track.takes(arrival.name, arrival.conditions, at.index)
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

    def _asks_gradient(self, named: dict[str, Any]) -> bool:
        """Whether the call's output is to have a gradient, which a forecast would not have."""
        tensors = (x for x in named.values() if isinstance(x, torch.Tensor))
        return any(x.requires_grad for x in tensors) or any(x.requires_grad for x in self.model.parameters())

    def _begin_call(self, session: Session, branch: str, arrival: Arrival) -> Call:
        """Begin a call at a step of the run."""
        if self._kind == "latents":
            session.observe(features_of(arrival.latents))
        elif self._kind == "spectrum":
            session.observe(on_grid(features_of(arrival.latents), arrival.named))
        stop = stopwatch(arrival.device)
        # The oracle computes and hands on something else, and a probe is not asked before the first part is reached.
        certain = bool(arrival.insists) or session.records[-1].computed
        computes = certain and not session.replays and self._probe is None
        if len(self._stacks) == 1:
            passes = [Pass(branch, branch)]
        else:
            passes = [Pass(f"{branch}, part {number}", branch) for number in range(len(self._stacks))]
        # A graph cannot stop to decide: the forecast is made ready now, and is an input of the graph.
        if self._is_traced and not computes and self._probe is None and len(passes) == 1:
            passes[0].ready = session.branch(branch).ready()
        if arrival.insists:
            session.insist(arrival.insists, [way.key for way in passes])
        shape = tuple(getattr(arrival.latents, "shape", ()))
        return Call(session, stop, passes, computes, shape, bool(arrival.insists))

    # The run that a call belongs to ------------------------------------------------------------------------------

    def _session_at(self, track: Track, tick: Tick, caller: Caller) -> Session | None:
        """Return the session of the call's run with its step begun; ``None`` without a schedule."""
        if not tick.begins and (track.conflict or track.thread != threading.get_ident()):
            self._check_thread(track, caller)
        if self._refusal is not None and not tick.begins and tick.position is not None:
            error, first = self._refusal
            # Another branch of the first step, which tells no more than the first.
            if tick.position.index == first:
                return None
            raise error  # it was a run of ours after all
        if tick.total is not None and (tick.begins or track.session is None or tick.total != track.session.total):
            self._begin_run(track, tick, caller)
        session = track.session
        if session is None:
            return None
        if tick.position is None:
            session.unplaced += 1
            return session
        # The second step has come, and fits: the run is ours.
        if session.records and tick.position.index != session.records[0].at.index:
            self._replaced = None
        session.begin(tick.position)
        return session

    def _begin_run(self, track: Track, tick: Tick, caller: Caller) -> None:
        assert tick.total is not None
        check_alone(self.model)
        before = track.session
        # Closed first: the next session takes over its slots, and needs none beside them.
        if before is not None:
            self._threads.overtake(track, caller, self.clock)
            before.close()
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

    def _check_overtaken(self, arrival: Arrival) -> None:
        """Raise if a run goes on that lost its place to one in another thread."""
        latest = self._tracks.latest
        if self._threads.resumes(arrival.caller, arrival.timestep, self.clock, latest.counter.rising):
            if latest.thread == threading.get_ident():
                self.reset()
            # The run that took its place is lost with it, and hears so at its next call.
            latest = self._tracks.latest
            latest.conflict = not latest.is_over and latest.thread is not None
            raise collision()

    def _check_thread(self, track: Track, caller: Caller) -> None:
        """Raise if the call goes on with a run that belongs to another thread, or that another thread has spoilt."""
        is_owner = self._threads.owns(track, caller)
        if is_owner and not track.conflict:
            return
        if is_owner:
            self.reset()
        else:
            # The run of the other thread is lost too, and hears so when it goes on, unless one of them is by hand.
            self._threads.overtake(track, caller, self.clock)
        raise collision()

    # The end of a call -------------------------------------------------------------------------------------------

    def _leave(self, output: Any) -> None:
        call = self._threads.end()
        if call is None:
            return
        # torch hands its hooks None where the model raised.
        if output is None:
            self.reset()
        elif self._tracks.latest.conflict:
            self.reset()
            raise collision()
        else:
            self._finish(call)

    def _finish(self, call: Call) -> None:
        session = call.session
        for number, way in enumerate(call.passes):
            if way.ready is not None and way.forecast is not None:
                session.branch(way.key).serve()
            elif way.ready is not None:
                session.branch(way.key).decline("changed")
            if way.learnt is not None:
                # A part whose output is noted cuts the graph, so that nothing can be decided ahead for all of it.
                self._is_traced = not self._stacks[number].wants_outputs
                rows = self._stacks[number].match_rows(way.stream_rows or call.stream_rows, way.learnt[1])
                session.branch(way.key).learn(*way.learnt, rows)
            elif way.reached_end and way.forecast is None:
                self._is_traced = False  # it was computed outside of a graph
        session.records[-1].seconds.append(call.stop())
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
            session.branch(way.key).lose("bypassed" if self._is_displaced(number) else "left out")
        if self._listener.hears_calls:
            self._listener.note(session)
        if session.complete:
            session.close()
            # Whoever samples next, in whatever thread, overtakes nobody.
            self._tracks.latest.thread = None
            self._listener.finish()

    def _is_displaced(self, number: int) -> bool:
        """Whether another library took our forwards off a stack, so that its parts ran without us."""
        return not all(is_in_place(innermost(part)) for part in self._stacks[number].parts)
