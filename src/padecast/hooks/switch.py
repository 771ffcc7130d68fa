"""What is put on models and taken off again: all of it acts, or none, whenever an interrupt or another thread comes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

SWITCHING = threading.RLock()
"""Held by whoever puts something on models or takes it off: two threads never do so at once."""


@dataclass
class Switch:
    """Whether what was put on models acts. It is turned on once, after the last layer, and off before the first.

    Args:
        on: Whether it is on. Default false.
        lock: Held while a call of a model begins and ends, so that it is not turned off in between.
    """

    on: bool = False
    lock: Any = field(default_factory=threading.RLock)


class Layer(Protocol):
    """One thing on one object. Where an interrupt ends one of its methods, removing it again finishes the work."""

    owner: Any
    """What it is on."""

    def install(self) -> Any:
        """Put it on its owner."""

    def remove(self) -> None:
        """Take it off; nothing happens if it is not on."""
