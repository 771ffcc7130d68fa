"""Something happens at the n-th time that a run comes by some place, or at the n-th line of padecast."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from tests.interrupts import release_locks
from torch import nn

import padecast

SOURCE = str(Path(padecast.__file__).parent)
PLACES = ("entering", "inside", "leaving", "between")
PATIENCE = 60  # seconds after which a thread that waits is taken for stuck
Happening = Callable[[], None]


class Stop(Exception):
    """Ends a run."""


class Nth:
    """Lets something happen at the n-th time it comes by, once.

    Args:
        number: From 1.
        happen: What happens.
    """

    def __init__(self, number: int, happen: Happening) -> None:
        self._left, self._happen, self.happened = number, happen, False

    def __call__(self, *_: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self.happened = True
            self._happen()


@contextlib.contextmanager
def at(place: str, models: dict[str, nn.Module], event: Nth) -> Iterator[Callable[[int], None]]:
    """Have a model's parts tell an event; yields what is to be called between two steps."""
    hooks = []
    for model in models.values():
        module = {"entering": entrance, "inside": inner, "leaving": exit_of, "between": lambda _: None}[place](model)
        if module is not None:
            hooks.append(module.register_forward_pre_hook(lambda *_: event()))
    try:
        yield event if place == "between" else lambda _: None
    finally:
        for hook in hooks:
            hook.remove()


def entrance(model: nn.Module) -> nn.Module:
    return next(model.children())


def inner(model: nn.Module) -> nn.Module:
    """Return a part of the last block."""
    names = ("mid_block", "single_transformer_blocks", "transformer_blocks", "blocks")
    block = next(found for name in names if (found := getattr(model, name, None)) is not None)
    return next(list(block)[-1].children()) if isinstance(block, nn.ModuleList) else block


def exit_of(model: nn.Module) -> nn.Module:
    return list(model.children())[-1]


@contextlib.contextmanager
def interrupted_at_line(number: int, spared: Collection[str] = ()) -> Iterator[list[str]]:
    """Raise KeyboardInterrupt at the n-th line of padecast that this thread runs; yields which that was.

    Functions that are spared, by name, count no lines; nor does what Python calls when it frees something, where it
    drops an interrupt.
    """
    left, where = [number], list[str]()

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and not where:
            left[0] -= 1
            if left[0] == 0:
                where.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
                raise KeyboardInterrupt
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if where or code.co_name in spared or not code.co_filename.startswith(SOURCE) or is_freeing(frame):
            return None
        return line

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield where
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
        release_locks()


def is_freeing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


class Meeting:
    """Holds a thread up until it is let go."""

    def __init__(self) -> None:
        self.arrived, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.arrived.set()
        assert self.go_on.wait(PATIENCE)
