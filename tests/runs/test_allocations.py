"""Memory that cannot be had, anywhere in our own arithmetic, spoils the run in which it happens and no other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.interrupts import OURS
from tests.representative import representative
from tests.toy import METHODS, Pipe, Toy, described
from torch.utils._python_dispatch import TorchDispatchMode

from padecast import accelerate

pytestmark = [pytest.mark.fault("allocations"), pytest.mark.usefixtures("toy")]
ERRORS = (torch.OutOfMemoryError, MemoryError, KeyboardInterrupt)


@pytest.fixture(scope="module")
def toy() -> Iterator[None]:
    with described():
        yield


class Scarce(TorchDispatchMode):
    """Counts what is calculated in our code and not in the model's, and fails once.

    Args:
        at: Which one fails. Default none.
        error: With what.
    """

    def __init__(self, at: int | None = None, error: type[BaseException] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.at, self.error, self.places = at, error, list[tuple[str, int]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        place = calculating(sys._getframe(1))
        if place is not None:
            self.places.append(place)
            if len(self.places) - 1 == self.at:
                raise self.error("out of memory")
        return func(*args, **(kwargs or {}))


def calculating(frame: Any) -> tuple[str, int] | None:
    """Return the line of our code that calculates, unless it is a test's or the model's."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OURS):
            return name, frame.f_lineno
        if "/tests/" in name:
            return None
        frame = frame.f_back
    return None


def every_place(run: Callable[[], Any]) -> list[int]:
    """Return when every fourth line of ours calculates in a run: every other the first time, the rest the last time."""
    with Scarce() as seen:
        run()
    assert seen.places, "nothing of ours is calculated: this tests nothing"
    first, last = dict[Any, int](), dict[Any, int]()
    for at, place in enumerate(seen.places):
        first.setdefault(place, at)
        last[place] = at
    return sorted((first if number % 2 else last)[place] for number, place in enumerate(sorted(first)))[::4]


OPTIONS: dict[str, dict[str, Any]] = {
    **{kind: {"method": method} for kind, method in METHODS.items()},
    "bfloat16": {"method": "linear:every=2", "dtype": torch.bfloat16},
    "float8": {"method": "linear:every=2", "dtype": torch.float8_e4m3fn},
    "moments in float8": {"method": METHODS["moments"], "dtype": torch.float8_e4m3fn},
    "unmeasured": {"method": "linear:every=2", "measure": False},
    "published": {"method": "tc-pade-published"},
}


SLOW = {"tokens", "modules", "moments in float8", "published", "probe of latents", "halves"}


@pytest.mark.parametrize("kind", representative(OPTIONS, OPTIONS.keys() - SLOW))
def test_the_runs_after_one_without_memory_are_those_of_a_fresh_process(kind: str) -> None:
    pipe = Pipe(Toy())
    with accelerate(pipe, **OPTIONS[kind]) as handle:
        expected, plan = pipe(), handle.report.plan
    spoilt = []
    with accelerate(pipe, **OPTIONS[kind]):
        places = every_place(pipe)
    for number, at in enumerate(places):
        with accelerate(pipe, **OPTIONS[kind]) as handle:
            with pytest.raises(ERRORS), Scarce(at, ERRORS[number % len(ERRORS)]):
                pipe()
            if any(not torch.equal(pipe(), expected) or handle.report.plan != plan for _ in range(2)):
                spoilt.append(at)
    assert spoilt == []


@pytest.mark.parametrize("kind", ["blocks", "moments", "probe of a block", "modules", "whole model", "float8"])
def test_a_run_without_memory_after_one_that_had_it(kind: str) -> None:
    """The slots of the run before are used again: those that are half written are not taken for whole."""
    pipe, spoilt = Pipe(Toy()), []
    with accelerate(pipe, **OPTIONS[kind]) as handle:
        expected = pipe()
        for number, at in enumerate(every_place(pipe)):
            with pytest.raises(ERRORS), Scarce(at, ERRORS[number % len(ERRORS)]):
                pipe()
            if not torch.equal(pipe(), expected):
                spoilt.append(at)
                handle.disable()
                handle.enable()
    assert spoilt == []
