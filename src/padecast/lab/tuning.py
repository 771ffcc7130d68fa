"""Turns the one free number of a method until it computes as many steps as wanted."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from padecast._registry import parse
from padecast.lab.magnitudes import magnitudes
from padecast.lab.peer_tuning import count_by_running, prepare_peer, tune_peer
from padecast.lab.peers import Peer
from padecast.lab.runner import Entry, Task
from padecast.lab.search import free, search
from padecast.methods import Method
from padecast.policies import plan_of
from padecast.policies.base import SupportsRatios


def tune(task: Task, entry: Entry, nfe: int) -> Entry:
    """Set the free number of a method so that a run computes ``nfe`` steps.

    A policy says what can be turned: its ``rooms`` and its ``knob``. Where its plan is known without a run (interval,
    spaced, growing, delta, and magnitudes once their ratios are known), settings are tried on paper, those first that
    change least. Where it reads the features (stability, tolerance) or looks at them before it decides (accumulated,
    first-block, rate, sea), its knob is halved on the task's seeds, in the batches that will be measured: decisions are
    shared within a batch. A method whose free number was written down, or that has none, is left alone. A peer is
    turned by its own numbers, on the same seeds; one that cannot be put on the pipeline says why.

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
    policy, fixed = entry.method.policy, parse(entry.written)[1]
    knob, is_planned = free(policy.knob, fixed), not (policy.needs_gram or policy.probe)
    if knob is None and not is_planned:
        return entry

    def count(options: dict[str, Any]) -> float:
        if is_planned:
            return plan_of(dataclasses.replace(policy, **options), task.steps).count("C")
        return count_by_running(task, _with(entry, options))

    best: tuple[float, dict[str, Any]] = (abs(count({}) - nfe) if is_planned else math.inf, {})
    return _with(entry, search(count, policy.rooms(task.steps, nfe, fixed), knob, nfe, best)[1])


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
    policy = method.policy
    if not isinstance(policy, SupportsRatios) or not policy.needs_ratios or "ratios" in parse(entry.written)[1]:
        return entry
    seeds, steps = task.batches()[0], entry.steps or task.steps
    ratios = task.once(
        ("magnitudes", method.span, seeds, steps),
        lambda: magnitudes(task.pipe, task.call, seeds, method.span, num_inference_steps=steps),
    )
    return _with(entry, {"ratios": tuple(float(f"{ratio:.5g}") for ratio in ratios)})


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
