"""Turns the one free number of a method until it computes as many steps as wanted."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from padecast._registry import parse
from padecast.lab.peer_tuning import count_by_running, tune_peer
from padecast.lab.peers import Peer
from padecast.lab.preparation import prepare, set_options
from padecast.lab.runner import Entry, Task
from padecast.lab.search import free, search
from padecast.methods import Method
from padecast.policies import plan_of


def tune(task: Task, entry: Entry, nfe: int) -> Entry:
    """Set the free number of a method so that a run computes ``nfe`` steps.

    A policy says what can be turned: its ``rooms`` and its ``knob``. Where its plan is known without a run (interval,
    spaced, growing, delta, and magnitudes once their ratios are known), settings are tried on paper, those first that
    change least. Where it reads the features (stability, tolerance) or looks at them before it decides (accumulated,
    first-block, rate, sea), its knob is halved on the task's seeds, in the batches that will be measured: decisions are
    shared within a batch. A method that learns is taught first, and then asked for that number. A method whose free
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
    policy, fixed = entry.method.policy, parse(entry.written)[1]
    knob, rooms = free(policy.knob, fixed), [*policy.rooms(task.steps, nfe, fixed)]
    reads = bool(policy.needs_gram or policy.probe)
    is_planned = not reads and not policy.computes_all
    if entry.refusal or (knob is None and not is_planned and (reads or not any(rooms))):
        return entry

    def count(options: dict[str, Any]) -> float:
        if is_planned:
            return plan_of(dataclasses.replace(policy, **options), task.steps).count("C")
        return count_by_running(task, set_options(entry, options))

    best: tuple[float, dict[str, Any]] = (abs(count({}) - nfe) if is_planned else math.inf, {})
    return set_options(entry, search(count, rooms, knob, nfe, best)[1])
