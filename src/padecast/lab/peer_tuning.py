"""Turns the numbers of another library's cache until it computes as many steps as wanted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from padecast._errors import MissingPackage, UnsupportedModel
from padecast._registry import parse
from padecast.lab.peers import Peer, first_line
from padecast.lab.runner import UNCACHED, Entry, Task, draw
from padecast.lab.timing import time_call
from padecast.policies.knob import Knob, halve

REFUSALS = (UnsupportedModel, MissingPackage)
"""What a peer that cannot be put on a pipeline raises."""


def tune_peer(task: Task, entry: Entry, nfe: int) -> Entry:
    """Set the free numbers of a peer so that a run computes ``nfe`` steps.

    Args:
        task: What to sample, on seeds kept for this.
        entry: The peer.
        nfe: Computed steps wanted.

    Returns:
        The entry with the peer that comes closest; of those that come as close, the first that was tried.
    """
    entry = prepare_peer(task, entry)
    best: tuple[float, Entry] = (math.inf, entry)
    try:
        for tried, gap in _trials(task, entry, nfe):
            best = min(best, (gap, tried), key=lambda pair: pair[0])
            if gap < 0.5:
                break
    except REFUSALS as error:
        return refuse(entry, error)
    return best[1]


def prepare_peer(task: Task, entry: Entry) -> Entry:
    """Let a peer learn what it has to from runs of its own; anything else is returned as it is.

    Args:
        task: What to sample, on seeds kept for this.
        entry: What is entered.
    """
    peer = entry.method
    if not isinstance(peer, Peer):
        return entry
    steps = entry.steps or task.steps

    def run() -> int:
        with time_call(task.pipe) as watch:
            drawn = draw(task, UNCACHED, task.batches()[0])
        return round(watch.calls / max(drawn.nfe, 1))

    try:
        key = ("prepared", entry.written, steps, task.seeds)
        return dataclasses.replace(entry, method=task.once(key, lambda: peer.prepared(task.pipe, steps, run)))
    except REFUSALS as error:
        return refuse(entry, error)


def refuse(entry: Entry, error: Exception) -> Entry:
    """Return the entry as a row that says why there are no figures."""
    return dataclasses.replace(entry, refusal=first_line(error))


def _trials(task: Task, entry: Entry, nfe: int) -> Iterator[tuple[Entry, float]]:
    """Yield settings and how many computed steps each is off."""
    peer, fixed = entry.method, parse(entry.written)[1]
    if entry.refusal or not isinstance(peer, Peer):
        return
    rooms = [room for room in peer.rooms(task.steps, nfe) if not set(room) & set(fixed)] or [{}]
    for room in rooms:
        placed = dataclasses.replace(entry, method=dataclasses.replace(peer, **room))
        if peer.knob is None or peer.knob.option in fixed:
            tried = _set(placed, {})
            yield tried, abs(_count_computed(task, tried) - nfe)
        else:
            yield _halve(task, placed, peer.knob, nfe)


def _halve(task: Task, entry: Entry, knob: Knob, nfe: int) -> tuple[Entry, float]:
    gap, value = halve(lambda value: _count_computed(task, _set(entry, {knob.option: value})), knob, nfe)
    return _set(entry, {knob.option: value}), gap


def _count_computed(task: Task, entry: Entry) -> float:
    return task.once(
        ("computed", entry.written, task.seeds), lambda: fmean(draw(task, entry, seeds).nfe for seeds in task.batches())
    )


def _set(entry: Entry, options: dict[str, Any]) -> Entry:
    """Set options of a peer, and write down all that differ from the library's own."""
    assert isinstance(entry.method, Peer)
    peer = dataclasses.replace(entry.method, **options)
    name, settings = parse(entry.written)[0], peer.settings()
    return dataclasses.replace(entry, method=peer, written=f"{name}:{settings}" if settings else name)
