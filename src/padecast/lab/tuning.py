"""Turns the one free number of a method until it computes as many steps as wanted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from itertools import product
from statistics import fmean
from typing import Any

from padecast._registry import parse
from padecast.lab.knob import Knob, halve
from padecast.lab.magnitudes import magnitudes
from padecast.lab.peer_tuning import prepare_peer, tune_peer
from padecast.lab.peers import Peer
from padecast.lab.runner import Entry, Task, draw
from padecast.methods import Method
from padecast.policies import (
    Accumulated,
    Delta,
    FirstBlock,
    Growing,
    Interval,
    Magnitude,
    Policy,
    Rate,
    Sea,
    Spaced,
    Stability,
    Tolerance,
    plan_of,
)

INTERVALS = 3
"""Intervals that are tried at most where the threshold alone does not reach it."""
THRESHOLDS = [10 ** (power / 40) for power in range(-160, 81)]
"""Tried where a rule's plan is known without a run: 1e-4 to 100."""

TINY = 1e-9
"""Stands for 0 where numbers are compared by their ratio."""

KNOBS: dict[type[Policy], Knob] = {
    Stability: Knob("threshold", 0.0, 2.0, rising=True),
    Tolerance: Knob("tolerance", 1e-5, 10.0, rising=False, logarithmic=True),
    Accumulated: Knob("threshold", 1e-3, 100.0, rising=False, logarithmic=True),
    FirstBlock: Knob("threshold", 1e-4, 10.0, rising=False, logarithmic=True),
    Rate: Knob("threshold", 1e-3, 100.0, rising=False, logarithmic=True),
    Sea: Knob("threshold", 1e-3, 100.0, rising=False, logarithmic=True),
}
"""What is turned where only a run shows the number of computed steps."""


def tune(task: Task, entry: Entry, nfe: int) -> Entry:
    """Set the free number of a method so that a run computes ``nfe`` steps.

    Rules whose number of steps is known before a run (interval, spaced, growing, delta) are searched without one:
    first the interval or the growth, then also the warm-up and the last step, whatever comes closest with the least
    change. So is
    the rule of magnitudes, once their ratios are known from a run of the task's seeds: first its threshold, then also
    how many forecasts may be in a row, and the share of steps that is computed first. Rules that read the features
    (stability, tolerance) or look at them before they decide (accumulated, first-block, rate, sea) are halved on the
    task's seeds, in the batches that will be measured: their decisions are shared within a batch. A method whose free
    number was written down, or that has none, is left alone. A peer is turned by its own numbers, on the same seeds;
    one that cannot be put on the pipeline says why.

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
    entry = prepare(task, entry)
    assert isinstance(entry.method, Method)
    fixed = parse(entry.written)[1]
    policy = entry.method.policy
    if policy.needs_gram or policy.probe:
        return _halve(task, entry, nfe, fixed)
    best: tuple[int, dict[str, Any]] = (abs(_count_steps(policy, task.steps) - nfe), {})
    for options in _proposals(policy, task.steps, fixed):
        gap = abs(_count_steps(dataclasses.replace(policy, **options), task.steps) - nfe)
        best = min(best, (gap, options), key=lambda pair: pair[0])
        if gap == 0:
            break
    return _with(entry, best[1])


def prepare(task: Task, entry: Entry) -> Entry:
    """Let a method or a peer learn what it has to from runs before it can be used; the others are left as they are.

    The rule of magnitudes is given the ratios of the task's first batch, unless ratios were written down.

    Args:
        task: What to sample, on seeds kept for this.
        entry: What is entered.
    """
    method = entry.method
    if not isinstance(method, Method):
        return prepare_peer(task, entry)
    unknown = isinstance(method.policy, Magnitude) and method.policy.ratios == Magnitude().ratios
    if not unknown or "ratios" in parse(entry.written)[1]:
        return entry
    seeds, steps = task.batches()[0], entry.steps or task.steps
    ratios = task.once(
        ("magnitudes", method.span, seeds, steps),
        lambda: magnitudes(task.pipe, task.call, seeds, method.span, num_inference_steps=steps),
    )
    return _with(entry, {"ratios": tuple(float(f"{ratio:.5g}") for ratio in ratios)})


def _count_steps(policy: Policy, steps: int) -> int:
    return plan_of(policy, steps).count("C")


def _proposals(policy: Policy, steps: int, fixed: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Options of a rule that needs no run, the least change of character first."""
    if isinstance(policy, Magnitude):
        yield from _of_magnitudes(policy, steps, fixed)
        return
    values: list[Any]
    if isinstance(policy, Spaced):
        if "every" not in fixed:
            exact = [math.ceil(1000 * (steps - 1) / gaps) / 1000 for gaps in range(1, steps)]
            yield from ({"every": value} for value in [*map(float, range(1, steps)), *exact])
        return
    if isinstance(policy, (Interval, Delta)):
        main, values = "every", list(range(1, steps + 1))
    elif isinstance(policy, Growing):
        main, values = "growth", [n / 20 for n in range(20 * steps + 1)]
    else:
        return
    if main in fixed:
        return
    values.sort(key=lambda value: abs(value - getattr(policy, main)))
    for warmup in _warmups(policy, steps, fixed):
        for last in [policy.last] if "last" in fixed else [policy.last, not policy.last]:
            for value in values:
                yield _select_changes(policy, {main: value, "last": last, **warmup})


def _warmups(policy: Interval | Growing | Delta, steps: int, fixed: Iterable[str]) -> list[dict[str, int]]:
    """Warm-ups, the policy's own first; one that has none keeps it so."""
    if isinstance(policy, Delta):
        return [{}]
    default = policy.warmup
    every = range(isinstance(policy, Growing), steps + 1)
    warmups = [default] if "warmup" in fixed else sorted(every, key=lambda warmup: abs(warmup - default))
    return [{"warmup": warmup} for warmup in warmups]


def _of_magnitudes(policy: Magnitude, steps: int, fixed: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Thresholds, and the rooms in which they work: by how many octaves limit and retention change."""
    if "threshold" in fixed:
        return
    defaults = policy.limit, policy.retention
    limits = [defaults[0]] if "limit" in fixed else list(range(defaults[0], steps + 1))
    shares = [defaults[1]] if "retention" in fixed else [defaults[1], defaults[1] / 2, 1 / (2 * steps)]
    rooms = sorted(product(limits, shares), key=lambda room: sum(map(_octaves, room, defaults)))
    for limit, retention in rooms:
        for threshold in sorted(THRESHOLDS, key=lambda value: _octaves(value, policy.threshold)):
            options = {"limit": limit, "retention": retention, "threshold": float(f"{threshold:.4g}")}
            yield _select_changes(policy, options)


def _octaves(value: float, base: float) -> float:
    return abs(math.log2(max(value, TINY) / max(base, TINY)))


def _select_changes(policy: Policy, options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value != getattr(policy, name)}


def _halve(task: Task, entry: Entry, nfe: int, fixed: Iterable[str]) -> Entry:
    assert isinstance(entry.method, Method)
    policy = entry.method.policy
    knob = KNOBS.get(type(policy))
    if knob is None or knob.option in fixed:
        return entry
    best: tuple[float, dict[str, Any]] = (math.inf, {})
    for room in [{}] if "every" in fixed else _rooms(policy, task.steps, nfe):

        def count(value: float, room: dict[str, Any] = room) -> float:
            tried = _with(entry, {**room, knob.option: value})
            return task.once(
                ("computed", tried.written, task.seeds),
                lambda: fmean(draw(task, tried, seeds).nfe for seeds in task.batches()),
            )

        gap, value = halve(count, knob, nfe)
        best = min(best, (gap, {**room, knob.option: value}), key=lambda pair: pair[0])
        if best[0] < 0.5:
            break
    return _with(entry, best[1])


def _rooms(policy: Policy, steps: int, nfe: int) -> list[dict[str, int]]:
    """Intervals in which so few steps can be computed, the nearest to the policy's own first; a few at most."""
    if not isinstance(policy, Stability):
        return [{}]
    always = {*range(min(3, steps)), *([steps - 1] if policy.last else [])}
    least = {every: len({*always, *range(0, steps, every)}) for every in range(1, steps + 1)}
    fitting = [every for every in least if least[every] <= nfe] or [steps]
    nearest = sorted(fitting, key=lambda every: abs(every - policy.every))[:INTERVALS]
    return [{} if every == policy.every else {"every": every} for every in nearest]


def _with(entry: Entry, options: dict[str, Any]) -> Entry:
    """Set options of the policy, and write them into the method's text."""
    method = entry.method
    if not isinstance(method, Method) or not options:
        return entry
    name, arguments = parse(entry.written)
    written = {**arguments, **{option: str(value).lower() for option, value in options.items()}}
    policy = dataclasses.replace(method.policy, **options)
    return dataclasses.replace(
        entry,
        method=dataclasses.replace(method, policy=policy),
        written=f"{name}:{','.join(f'{option}={value}' for option, value in written.items())}",
    )
