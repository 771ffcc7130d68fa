"""How a call of a model goes through one stack: forecast, or computed part by part."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

from padecast.hooks.blocks.sublayers import Module
from padecast.hooks.call import Call, Pass
from padecast.hooks.hook import outside_of_graphs
from padecast.hooks.intercept import Around
from padecast.hooks.probes import Probe
from padecast.hooks.rows import matching
from padecast.hooks.stack import Stack
from padecast.memory.arithmetic import Streams

Forward = Callable[..., Any]


class Passage:
    """Lets calls through the parts of a stack.

    Args:
        stack: The parts.
        number: Which stack of the model.
        several: Whether the model has more than one.
        here: This thread's ``call``.
        probe: What the policy wants to see before the stack is run. Default nothing.
    """

    def __init__(self, stack: Stack, number: int, several: bool, here: threading.local, probe: Probe | None) -> None:
        self._stack, self._number, self._here = stack, number, here
        self._part = number if several else None
        self._probe = probe if number == 0 else None

    def around(self, place: int) -> Around:
        """Return what is called in place of a part's forward."""
        stack, number, here = self._stack, self._number, self._here
        is_first, is_last = place == 0, place == len(stack.parts) - 1

        def around(forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call: Call | None = getattr(here, "call", None)
            if call is None:
                return forward(*args, **kwargs)
            one = call.passes[number]
            if is_first and (call.computes or one.ready is not None) and torch.compiler.is_compiling():
                _begin_in_graph(stack, one, args, kwargs)
            elif is_first:
                begin(passage, call, one, forward, args, kwargs)
            one.reached_end = is_last and one.begun
            if one.forecast is not None:
                return stack.skipped(place, args, kwargs, one.forecast if is_last else None)
            if module is None or torch.compiler.is_compiling():
                output = forward(*args, **kwargs)
            else:
                output = module.watched(call, one, forward, args, kwargs)
            if notes:
                ran(stack, place, output)
            if not one.reached_end:
                return output
            if torch.compiler.is_compiling() and not call.session.forecaster.replays and not one.patches:
                one.learnt = _kept(stack, one.entry, output)  # learnt when the model returns: no graph break here
                return output
            return learn(stack, call, one, output)

        notes, module = stack.notes, stack if isinstance(stack, Module) else None
        ran, learn = outside_of_graphs(_ran), outside_of_graphs(_learn)
        begin, passage = outside_of_graphs(Passage._begin), self
        return around

    def _begin(self, call: Call, one: Pass, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stack, session = self._stack, call.session
        one.ready = None
        entry = stack.entry(args, kwargs)
        if self._probe is not None and session.waits_to_see:
            looked = self._probe.look(call, forward, args, kwargs)
            session.observe(looked, matching(stack.known(args, kwargs), looked))
        one.begun = True
        if not call.asks_gradient:
            one.forecast = session.forecast(one.key, entry, self._part, lambda: stack.source(args, kwargs))
            one.patches = session.patches(one.key)
        if one.forecast is None and not stack.remembers_entry:
            one.entry, one.known = session.hold(one.key, entry), stack.known(args, kwargs)
        elif one.forecast is not None and session.renewal.share and isinstance(stack, Module):
            repeated = one.forecast
            one.forecast = stack.renewed(call, one, repeated, forward, args, kwargs)
            if one.forecast is not repeated:
                session.renew(one.key, entry, one.forecast)


def _begin_in_graph(stack: Stack, one: Pass, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Forecast with what was decided before the model was called, or compute: no graph break."""
    one.begun, one.entry = True, stack.entry(args, kwargs)
    if one.ready is not None and one.ready.fits(one.entry):
        one.forecast = one.ready.add(one.entry)
    else:
        one.known = stack.known(args, kwargs)


def _kept(stack: Stack, entry: Streams, output: Any) -> tuple[Streams, Streams]:
    """Return what there is to learn, safe from a model that goes on in place."""
    entry, streams = stack.learnt(entry, output)
    return tuple(x.clone() for x in entry), tuple(y.clone() for y in streams)


def _ran(stack: Stack, place: int, output: Any) -> None:
    stack.ran(place, output)


def _learn(stack: Stack, call: Call, one: Pass, output: Any) -> Any:
    entry, streams = stack.learnt(one.entry, output)
    learnt = call.session.learn(one.key, entry, streams, stack.counted(one.known or call.known, streams))
    return output if learnt is streams else stack.exchanged(output, learnt)
