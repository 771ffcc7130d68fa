"""Ctrl-C at every line: acceleration is on or off as a whole, and whatever was interrupted leaves nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from tests.interrupts import OURS, PYTHON, THEIRS, interrupted, moments
from tests.representative import representative
from tests.toy import METHODS, Pipe, Toy, described, held

from padecast import Handle, accelerate, disable
from padecast.handles.handle import ENABLED

FILES = (OURS, *THEIRS, *PYTHON)
EVERY = 40  # at every so many moments whole runs are compared too, which takes longer than all else
pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture(scope="module")
def toy() -> Iterator[None]:
    with described():
        yield


class Scene:
    """A pipeline, a method, and what is right when it is on and when it is off."""

    def __init__(self, method: str, models: int = 1) -> None:
        self.models = [Toy(seed) for seed in range(models)]
        self.pipe, self.method = Pipe(*self.models), method
        self.untouched, self.off = self.pipe(), held(*self.models)
        with self.handle() as handle:
            self.forecast, self.on = self.pipe(), shape(held(*self.models))
            assert "." in handle.report.plan and not torch.equal(self.forecast, self.untouched)

    def handle(self) -> Handle:
        return accelerate(self.pipe, self.method)

    def is_whole(self, handle: Handle, runs: bool) -> bool:
        """Whether it is on or off as a whole, as the handle says."""
        if not handle.enabled:
            clean = held(*self.models) == self.off and handle not in ENABLED
            return clean and (not runs or torch.equal(self.pipe(), self.untouched))
        complete = shape(held(*self.models)) == self.on and handle in ENABLED
        return complete and (not runs or torch.equal(self.pipe(), self.forecast))

    def goes_on(self, handle: Handle, runs: bool) -> bool:
        """Whether it can be switched off, on and off again as if nothing had happened."""
        handle.disable()
        off = not handle.enabled and held(*self.models) == self.off and handle not in ENABLED
        handle.enable()
        on = shape(held(*self.models)) == self.on and (not runs or torch.equal(self.pipe(), self.forecast))
        handle.disable()
        clean = held(*self.models) == self.off and (not runs or torch.equal(self.pipe(), self.untouched))
        return off and on and clean


def shape(holdings: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: len(value) if isinstance(value, tuple) else 1 for key, value in values.items()}
        for name, values in holdings.items()
    }


def nothing(scene: Scene, handle: Handle) -> None:
    pass


def switched_on(scene: Scene, handle: Handle) -> None:
    handle.enable()


def after_a_run(scene: Scene, handle: Handle) -> None:
    handle.enable()
    scene.pipe()


def within(scene: Scene, handle: Handle) -> None:
    with handle:
        pass


ACTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "enable": (nothing, switched_on),
    "disable": (switched_on, lambda scene, handle: handle.disable()),
    "disable after a run": (after_a_run, lambda scene, handle: handle.disable()),
    "disable the pipeline": (switched_on, lambda scene, handle: disable(scene.pipe)),
    "with": (nothing, within),
    "reset": (after_a_run, lambda scene, handle: handle.reset()),
}


def faults(scene: Scene, action: str, every: int = 1, again: int | None = None) -> list[Any]:
    """Interrupt an action at its moments, or every so many of them; returns where that left something wrong."""
    before, act = ACTIONS[action]
    handle = scene.handle()
    before(scene, handle)
    chosen = list(moments(lambda: act(scene, handle), FILES))[::every]
    handle.disable()
    assert chosen
    found = []
    for number, at in enumerate(chosen):
        handle, runs = scene.handle(), number % EVERY == 0
        before(scene, handle)
        interrupted(partial(act, scene, handle), at, FILES, again)
        if not (again or scene.is_whole(handle, runs)) or not scene.goes_on(handle, runs):
            found.append(at)
            scene = Scene(scene.method, len(scene.models))  # the old one may be spoilt for ever
    return found


@pytest.mark.fault("interrupts")
@pytest.mark.parametrize("action", ACTIONS)
def test_switching_is_whole_at_every_line(action: str) -> None:
    assert faults(Scene("linear:every=2"), action, every=8 if action.startswith("disable ") else 1) == []


@pytest.mark.fault("interrupts")
@pytest.mark.parametrize("action", representative(["enable", "disable", "with"], ["enable", "disable"]))
@pytest.mark.parametrize("kind", ["probe of a module", "probe of a block", "modules", "whole model"])
def test_switching_is_whole_with_every_method(kind: str, action: str) -> None:
    assert faults(Scene(METHODS[kind]), action, every=16) == []


@pytest.mark.fault("interrupts")
@pytest.mark.parametrize("action", representative(ACTIONS, ["enable", "disable", "with"]))
def test_switching_two_models_is_whole(action: str) -> None:
    assert faults(Scene("linear:every=2", models=2), action, every=10) == []


@pytest.mark.slow
@pytest.mark.parametrize("action", ["enable", "disable", "with"])
@pytest.mark.parametrize("kind", METHODS)
def test_switching_is_whole_at_every_line_with_every_method(kind: str, action: str) -> None:
    assert faults(Scene(METHODS[kind]), action) == []


@pytest.mark.fault("interrupts")
@pytest.mark.parametrize("again", representative([1, 10, 40], ["1", "40"]))
@pytest.mark.parametrize("action", ["enable", "disable", "with"])
def test_a_second_interrupt_leaves_nothing_that_acts_or_stays(action: str, again: int) -> None:
    """What it leaves on the model does nothing, and goes when anything is switched again."""
    assert faults(Scene("linear:every=2"), action, every=20, again=again) == []


@pytest.mark.fault("interrupts")
@pytest.mark.parametrize("again", [3, 40])
def test_what_two_interrupts_left_is_taken_off_by_the_next_who_comes(again: int) -> None:
    scene, left = Scene("linear:every=2"), 0
    handle = scene.handle().enable()
    chosen = list(moments(handle.disable, FILES))
    for at in chosen[::11]:
        first = scene.handle().enable()
        interrupted(first.disable, at, FILES, again)
        if first.enabled:
            first.disable()
            continue
        left += held(*scene.models) != scene.off
        assert torch.equal(scene.pipe(), scene.untouched)
        with scene.handle():
            assert shape(held(*scene.models)) == scene.on
        assert held(*scene.models) == scene.off
    assert left, "no second interrupt left anything: this tests nothing"
    gc.collect()


def broken_runs(kind: str, every: int) -> list[int]:
    """Interrupt a run at its moments; returns after which of them the next run was not that of a fresh process."""
    scene, found = Scene(METHODS[kind]), []
    with scene.handle() as handle:
        scene.pipe()
        for at in list(moments(scene.pipe, (OURS,)))[::every]:
            if not interrupted(scene.pipe, at):
                continue  # the run before this one was interrupted where it left less to do
            if not torch.equal(scene.pipe(), scene.forecast) or handle.report.plan.count(".") == 0:
                found.append(at)
                handle.disable()
                handle.enable()
    assert held(*scene.models) == scene.off
    assert torch.equal(scene.pipe(), scene.untouched)
    return found


@pytest.mark.fault("interrupts")
@pytest.mark.parametrize("kind", representative(METHODS, METHODS.keys() - {"tokens", "modules", "halves"}))
def test_the_run_after_an_interrupted_one_is_a_fresh_one(kind: str) -> None:
    assert broken_runs(kind, every=128 if kind in ("modules", "tokens") else 64) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", METHODS)
def test_the_run_after_an_interrupted_one_is_a_fresh_one_at_every_line(kind: str) -> None:
    assert broken_runs(kind, every=4 if kind in ("modules", "tokens") else 1) == []


@pytest.mark.fault("interrupts")
@pytest.mark.parametrize("kind", ["blocks", "probe of a block", "whole model"])
def test_switching_off_after_an_interrupted_run(kind: str) -> None:
    scene = Scene(METHODS[kind])
    with scene.handle():
        chosen = list(moments(scene.pipe, (OURS,)))
    for at in chosen[::40]:
        with scene.handle():
            assert interrupted(scene.pipe, at)
        assert held(*scene.models) == scene.off
        assert torch.equal(scene.pipe(), scene.untouched)
