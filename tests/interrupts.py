"""Ctrl-C at every place in turn: raises where a signal may land, in our code and in what it calls to do its work."""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import padecast
from padecast._intercept import SWITCHING
from padecast.handles.handle import ENABLED

OURS = str(Path(padecast.__file__).parent)
THEIRS = tuple(str(Path(torch.__file__).parent / name) for name in ("nn/modules/module.py", "utils/hooks.py"))
PYTHON = (contextlib.__file__, str(Path(contextlib.__file__).with_name("_weakrefset.py")))
Place = tuple[str, int, str]


def release_locks() -> None:
    """Release what this thread holds of padecast's locks.

    A trace function also raises where Python heeds no signal, between the end of a ``with`` block and its exit: a lock
    would stay held that no interrupt leaves so.
    """
    for lock in (SWITCHING, *(handle._switch.lock for handle in list(ENABLED))):
        with contextlib.suppress(RuntimeError):  # it is not held, or no more
            while True:
                lock.release()


class Moments:
    """Counts the calls and lines of some files, and raises at one of them.

    Args:
        at: At which one. Default none.
        files: Beginnings of the names of files whose lines count.
        again: After how many further ones to raise once more, from the cleaning up. Default not.
    """

    def __init__(self, at: int | None = None, files: tuple[str, ...] = (OURS,), again: int | None = None) -> None:
        self.places: list[Place] = []
        self._at, self._files, self._again = at, files, again

    def __enter__(self) -> Moments:
        self._before = sys.gettrace()
        self._arm()
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        sys.settrace(self._before)
        release_locks()

    def _arm(self) -> None:
        sys.settrace(self._called)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:  # an exception from a trace function ends all tracing; frames that go on begin anew
            if frame.f_code.co_filename.startswith(self._files):
                frame.f_trace = self._traced
            frame = frame.f_back

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._traced(frame, event, argument) if frame.f_code.co_filename.startswith(self._files) else None

    def _traced(self, frame: FrameType, event: str, _argument: Any) -> Any:
        # A generator is also called to be closed, where nothing is heard of an exception.
        if event == "line" or (event == "call" and not frame.f_code.co_flags & inspect.CO_GENERATOR):
            self.places.append((frame.f_code.co_filename, frame.f_lineno, event))
            if len(self.places) - 1 == self._at:
                if self._again is not None:
                    self._at, self._again = self._at + self._again, None
                    sys.setprofile(self._resume)
                raise KeyboardInterrupt
        return self._traced

    def _resume(self, *_: Any) -> None:
        if sys.gettrace() is None:
            sys.setprofile(None)
            self._arm()


def moments(action: Callable[[], Any], files: tuple[str, ...] = (OURS,)) -> Iterator[int]:
    """Give the moments of an action at which to interrupt it: when each of its lines is reached the last time.

    Args:
        action: What is to be interrupted; it runs once.
        files: Beginnings of the names of files whose lines count.
    """
    with Moments(files=files) as seen:
        action()
    yield from sorted({place: at for at, place in enumerate(seen.places)}.values())


def interrupted(action: Callable[[], Any], at: int, files: tuple[str, ...] = (OURS,), again: int | None = None) -> bool:
    """Interrupt an action at a moment; returns whether the interrupt came out of it."""
    assert threading.current_thread() is threading.main_thread()
    try:
        with Moments(at, files, again):
            action()
    except KeyboardInterrupt:
        return True
    return False
