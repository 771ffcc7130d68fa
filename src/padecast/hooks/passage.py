"""How a call of a model goes through one stack: forecast, or computed part by part."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from padecast._intercept import Around
from padecast.hooks.call import Call, Here, Pass
from padecast.hooks.hook import outside_of_graphs
from padecast.hooks.rows import matching
from padecast.hooks.stack import Forward, Probe, Stack
from padecast.memory.arithmetic import Streams


class Passage:
    """Lets calls through the parts of a stack.

    Args:
        stack: The parts.
        number: Which stack of the model.
        is_split: Whether the model has more than one.
        local: This thread's ``call``.
        probe: What the policy wants to see before the stack is run. Default nothing.
    """

    def __init__(self, stack: Stack, number: int, is_split: bool, local: Here, probe: Probe | None) -> None:
        self._stack, self._number, self._here = stack, number, local
        self._which = number if is_split else None
        self._probe = probe if number == 0 else None

    def around(self, place: int) -> Around:
        """Return what is called in place of a part's forward."""
        stack, number, local = self._stack, self._number, self._here
        is_first, is_last = place == 0, place == len(stack.parts) - 1

        def around(forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call = local.call
            # A call that is left alone, such as another pipeline's.
            if call is None:
                return forward(*args, **kwargs)
            way = call.passes[number]
            # What is decided before the call goes into the graph; else it is cut, once, to decide here.
            if is_first and (call.computes or way.ready is not None) and torch.compiler.is_compiling():
                _begin_in_graph(stack, way, args, kwargs)
            elif is_first:
                begin(passage, call, way, forward, args, kwargs)
            # Skip-layer guidance may leave out the first part: what was not begun does not end here.
            way.reached_end = is_last and way.begun
            if way.forecast is not None:
                return stack.skip(place, args, kwargs, way.forecast if is_last else None)
            # In a graph nothing inside of a part is seen.
            if not watches or torch.compiler.is_compiling():
                output = forward(*args, **kwargs)
            else:
                output = stack.run(call, way, forward, args, kwargs)
            if wants_outputs:
                ran(stack, place, output)
            if not way.reached_end:
                return output
            if torch.compiler.is_compiling() and not call.session.replays and not way.patches:
                way.learnt = _keep(stack, way.inputs, output)  # learnt when the model returns: no graph break here
                return output
            return learn(stack, call, way, output)

        wants_outputs, watches = stack.wants_outputs, stack.watches
        ran, learn = outside_of_graphs(_ran), outside_of_graphs(_learn)
        # Not bound to this passage: what outside_of_graphs is asked for is cached, and would keep every passage alive.
        begin, passage = outside_of_graphs(Passage._begin), self
        return around

    def _begin(self, call: Call, way: Pass, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stack, session = self._stack, call.session
        # It was made ready for a graph, and there is none: else it would be taken for one that did not fit.
        way.ready = None
        inputs = stack.inputs(args, kwargs)
        # Before the forecast: by what is seen the policy decides whether there is one.
        if self._probe is not None and session.waits_to_see:
            looked = self._probe.look(call, forward, args, kwargs)
            session.observe(looked, matching(stack.read_rows(args, kwargs), looked))
        way.begun, branch = True, session.branch(way.key)
        if not call.insists:
            way.forecast = branch.forecast(inputs, self._which, partial(stack.source, args, kwargs))
            way.patches = branch.is_patched
        if way.forecast is None and not stack.remembers_inputs:
            way.inputs, way.stream_rows = branch.hold(inputs), stack.read_rows(args, kwargs)
        elif way.forecast is not None and stack.watches:
            repeated = way.forecast
            way.forecast = stack.renew(call, way, repeated, forward, args, kwargs)
            if way.forecast is not repeated:
                branch.renew(inputs, way.forecast)


def _begin_in_graph(stack: Stack, way: Pass, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Forecast with what was decided before the model was called, or compute: no graph break."""
    way.begun = True
    if way.ready is None and stack.remembers_inputs:
        # What it saw before is not read: a model would be compiled once more for the steps after a run's first.
        stack.meet(args, kwargs)
        way.stream_rows = stack.read_rows(args, kwargs)
        return
    way.inputs = stack.inputs(args, kwargs)
    if way.ready is not None and way.ready.fits(way.inputs):
        way.forecast = way.ready.add(way.inputs)
    else:
        way.stream_rows = stack.read_rows(args, kwargs)


def _keep(stack: Stack, inputs: Streams, output: Any) -> tuple[Streams, Streams]:
    """Return what there is to learn, safe from a model that goes on in place."""
    inputs, streams = stack.learnt(inputs, output)
    return tuple(x.clone() for x in inputs), tuple(y.clone() for y in streams)


def _ran(stack: Stack, place: int, output: Any) -> None:
    stack.ran(place, output)


def _learn(stack: Stack, call: Call, way: Pass, output: Any) -> Any:
    inputs, streams = stack.learnt(way.inputs, output)
    rows = stack.match_rows(way.stream_rows or call.stream_rows, streams)
    learnt = call.session.branch(way.key).learn(inputs, streams, rows)
    return output if learnt is streams else stack.exchange(output, learnt)
