"""Turns the one free number of a method until it computes as many steps as wanted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from padecast._registry import parse
from padecast.lab.knob import Knob, halve
from padecast.lab.peer_tuning import tune_peer
from padecast.lab.peers import Peer
from padecast.lab.runner import Entry, Task, draw
from padecast.methods import Method
from padecast.policies import Growing, Interval, Policy, Stability, Tolerance, plan_of

INTERVALS = 3
"""Intervals that are tried at most where the threshold alone does not reach it."""


KNOBS: dict[type[Policy], Knob] = {
    Stability: Knob("threshold", 0.0, 2.0, rising=True),
    Tolerance: Knob("tolerance", 1e-5, 10.0, rising=False, logarithmic=True),
}


def tune(task: Task, entry: Entry, nfe: int) -> Entry:
    """Set the free number of a method so that a run computes ``nfe`` steps.

    Rules that follow from the step index alone (interval, growing) are searched without a run: first the interval or
    the growth, then also the warm-up and the last step, whatever comes closest with the least change. Rules that read
    the features (stability, tolerance) are halved on the task's seeds, in the batches that will be measured: their
    decisions are shared within a batch. A method whose free number was written down, or that has none, is left alone.
    A peer is turned by its own numbers, on the same seeds; one that cannot be put on the pipeline says why.

    Args:
        task: What to sample, on seeds kept for this.
        entry: The method.
        nfe: Computed steps wanted.

    Returns:
        The entry with the method that comes closest, written with the options that were set.
    """
    if entry.method is None:
        return entry
    if isinstance(entry.method, Peer):
        return tune_peer(task, entry, nfe)
    fixed = parse(entry.written)[1]
    policy = entry.method.policy
    if policy.needs_gram:
        return _halved(task, entry, nfe, fixed)
    best: tuple[int, dict[str, Any]] = (abs(_planned(policy, task.steps) - nfe), {})
    for options in _proposals(policy, task.steps, fixed):
        gap = abs(_planned(dataclasses.replace(policy, **options), task.steps) - nfe)
        best = min(best, (gap, options), key=lambda pair: pair[0])
        if gap == 0:
            break
    return _with(entry, best[1])


def _planned(policy: Policy, steps: int) -> int:
    return plan_of(policy, steps).count("C")


def _proposals(policy: Policy, steps: int, fixed: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Options of a rule that needs no run, the least change of character first."""
    if isinstance(policy, Interval):
        main, values = "every", [float(n) for n in range(1, steps + 1)]
    elif isinstance(policy, Growing):
        main, values = "growth", [n / 20 for n in range(20 * steps + 1)]
    else:
        return
    if main in fixed:
        return
    values.sort(key=lambda value: abs(value - getattr(policy, main)))
    warmups = sorted(range(isinstance(policy, Growing), steps + 1), key=lambda warmup: abs(warmup - policy.warmup))
    for warmup in [policy.warmup] if "warmup" in fixed else warmups:
        for last in [policy.last] if "last" in fixed else [policy.last, not policy.last]:
            for value in values:
                number = int(value) if main == "every" else value
                yield _changed(policy, {main: number, "warmup": warmup, "last": last})


def _changed(policy: Policy, options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value != getattr(policy, name)}


def _halved(task: Task, entry: Entry, nfe: int, fixed: Iterable[str]) -> Entry:
    assert isinstance(entry.method, Method)
    policy = entry.method.policy
    knob = KNOBS.get(type(policy))
    if knob is None or knob.option in fixed:
        return entry
    best: tuple[float, dict[str, Any]] = (math.inf, {})
    for room in [{}] if "every" in fixed else _rooms(policy, task.steps, nfe):

        def computed(value: float, room: dict[str, Any] = room) -> float:
            tried = _with(entry, {**room, knob.option: value})
            return fmean(draw(task, tried, seeds).nfe for seeds in task.batches())

        gap, value = halve(computed, knob, nfe)
        best = min(best, (gap, {**room, knob.option: value}), key=lambda pair: pair[0])
        if best[0] < 0.5:
            break
    return _with(entry, best[1])


def _rooms(policy: Policy, steps: int, nfe: int) -> list[dict[str, int]]:
    """Intervals in which so few steps can be computed, the nearest to the policy's own first; a few at most."""
    if not isinstance(policy, Stability):
        return [{}]
    least = {every: len({*range(min(3, steps)), *range(0, steps, every)}) for every in range(1, steps + 1)}
    fitting = [every for every in least if least[every] <= nfe] or [steps]
    nearest = sorted(fitting, key=lambda every: abs(every - policy.every))[:INTERVALS]
    return [{} if every == policy.every else {"every": every} for every in nearest]


def _with(entry: Entry, options: dict[str, Any]) -> Entry:
    """Set options of the policy, and write them into the method's text."""
    method = entry.method
    if not isinstance(method, Method) or not options:
        return entry
    name, given = parse(entry.written)
    written = {**given, **{option: str(value).lower() for option, value in options.items()}}
    policy = dataclasses.replace(method.policy, **options)
    return dataclasses.replace(
        entry,
        method=dataclasses.replace(method, policy=policy),
        written=f"{name}:{','.join(f'{option}={value}' for option, value in written.items())}",
    )
