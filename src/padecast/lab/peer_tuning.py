"""Turns the numbers of another library's cache until it computes as many steps as wanted."""

from __future__ import annotations

import dataclasses
from statistics import fmean
from typing import Any

from padecast._errors import MissingPackage, UnsupportedModel
from padecast._registry import parse
from padecast.lab.peers import Peer, first_line
from padecast.lab.runner import UNCACHED, Entry, Task, draw
from padecast.lab.search import free, search
from padecast.lab.timing import time_call

REFUSALS = (UnsupportedModel, MissingPackage)
"""What a peer that cannot be put on a pipeline raises."""


def tune_peer(task: Task, entry: Entry, computed: int) -> Entry:
    """Set the free numbers of a peer so that a run computes so many steps.

    Args:
        task: What to sample, on seeds kept for this.
        entry: The peer.
        computed: Computed steps wanted.

    Returns:
        The entry with the peer that comes closest; of those that come as close, the first that was tried.
    """
    entry = prepare_peer(task, entry)
    peer, fixed = entry.method, parse(entry.written)[1]
    if entry.refusal or not isinstance(peer, Peer):
        return entry

    def count(options: dict[str, Any]) -> float:
        return count_by_running(task, _set(entry, options))

    rooms = [room for room in peer.rooms(task.steps, computed) if not set(room) & set(fixed)] or [{}]
    try:
        return _set(entry, search(count, rooms, free(peer.knob, fixed), computed)[1])
    except REFUSALS as error:
        return refuse(entry, error)


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


def count_by_running(task: Task, entry: Entry) -> float:
    """Return how many steps are computed on average over a task's batches; what was run before is not run again."""
    return task.once(
        ("computed", entry.written, task.seeds), lambda: fmean(draw(task, entry, seeds).nfe for seeds in task.batches())
    )


def _set(entry: Entry, options: dict[str, Any]) -> Entry:
    """Set options of a peer, and write down all that differ from the library's own."""
    assert isinstance(entry.method, Peer)
    peer = dataclasses.replace(entry.method, **options)
    name, settings = parse(entry.written)[0], peer.settings()
    return dataclasses.replace(entry, method=peer, written=f"{name}:{settings}" if settings else name)
