"""The caches that are compared, from libraries.toml, and how each is switched on through its public calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import padecast
from benchmarks.others.pipelines import STEPS
from padecast import files
from padecast.lab import peers
from padecast.lab.peers.stacks import MagCache

Off = Callable[[], None]


@dataclass(frozen=True)
class Library:
    """A cache and how it is switched on.

    Args:
        name: As in the table.
        settings: How it is switched on, in words.
        use: A method of padecast, ``plan``, or a peer, as it is written.
        always: The same with every step computed.
        remedies: By scenario, what the library offers where the plain call fails: a sentence and changed fields.
        outer: Whether the caller opens a cache context around every run.
        tidy: Whether the caller calls ``maybe_free_model_hooks`` after an interrupted run.
        also: Another threshold, for the scenario in which one may by luck not be crossed: in words, and as written.
    """

    name: str
    settings: str
    use: str
    always: str
    remedies: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    outer: bool = False
    tidy: bool = False
    also: tuple[str, str] | None = None


def switch_on(pipe: Any, written: str, total: int) -> Off:
    """Switch a cache on for a grid of so many places; return what switches it off."""
    if written == "plan":
        plan = ("CC" + ".C" * total)[:total]
        return padecast.enable(pipe, policy=f"plan:steps={plan}", forecaster="lagrange").disable
    if not peers.is_foreign(written):
        return padecast.enable(pipe, written).disable
    peer = peers.REGISTRY.make(written)
    if isinstance(peer, MagCache):
        peer = dataclasses.replace(peer, ratios=(1.0,) * STEPS)
    peer.enable(pipe, 0 if written.startswith("cache-dit") else STEPS)  # cache-dit does not have to be told
    return lambda: peer.disable(pipe)


def read_libraries() -> tuple[Library, ...]:
    """Return the libraries of the file, each with its remedies by scenario."""
    document = files.read_toml(Path(__file__).with_name("libraries.toml"))
    by_name: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {}
    for name, remedy in document["remedies"].items():
        changes = {key: value for key, value in remedy.items() if key not in ("scenarios", "text")}
        by_name[name] = dict.fromkeys(remedy["scenarios"], (remedy["text"], changes))
    libraries = []
    for entry in document["libraries"]:
        remedies = {place: remedy for name in entry.pop("remedies", ()) for place, remedy in by_name[name].items()}
        libraries.append(Library(**entry, remedies=remedies))
    return tuple(libraries)


LIBRARIES = read_libraries()
