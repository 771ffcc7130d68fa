"""Switching on and off beside runs in other threads, and hundreds of times."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
import torch
from diffusers import DDIMScheduler
from tests.representative import representative
from tests.tiny import Loop, dit, footprint
from tests.toy import METHODS, Pipe, Toy, described, held

from padecast import AlreadyAccelerated, ConcurrentRun, Handle, accelerate, disable
from padecast.handles.handle import ENABLED

PATIENCE = 240  # seconds after which a thread that waits is taken for stuck: ten times what a busy machine took
KINDS = ("blocks", "moments", "probe of a module", "probe of a block", "modules", "whole model")


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    with described():
        yield


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that take turns often, so that many places are met, and none holds the interpreter for long."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    with ThreadPoolExecutor(3) as pool:
        yield pool
    sys.setswitchinterval(before)


class TestBesideRuns:
    pytestmark: ClassVar = [
        pytest.mark.fault("switching beside runs"),
        pytest.mark.filterwarnings("ignore:.*were left alone.*:padecast.PadecastWarning"),  # as they are meant to be
    ]

    @pytest.mark.parametrize(
        "switch", [Handle.disable, Handle.enable, lambda handle: handle.disable() or handle.enable()]
    )
    @pytest.mark.parametrize("where", ["a hook", "a block", "a scheduler step"])
    @pytest.mark.parametrize("accelerated", [False, True])
    def test_the_run_of_another_pipeline_goes_on(
        self, pool: ThreadPoolExecutor, switch: Callable[[Handle], Any], where: str, accelerated: bool
    ) -> None:
        """At the place in time that a race finds by chance: while torch is busy with a hook before ours."""
        model = dit()
        one, two = Loop(model, DDIMScheduler()), Loop(model, DDIMScheduler())
        handle = accelerate(two, "linear:every=2")
        if switch is not Handle.enable:
            handle.enable()
        with accelerate(one, "linear:every=2") if accelerated else Nothing():
            expected = one()

            def toggle(*_: Any) -> None:
                pool.submit(switch, handle).result(PATIENCE)

            if where == "a hook":
                model.register_forward_pre_hook(toggle, prepend=True)
            elif where == "a block":
                model.transformer_blocks[1].register_forward_pre_hook(toggle)
            image = one(between=toggle if where == "a scheduler step" else lambda i: None)
            assert torch.equal(image, expected)
        handle.disable()
        disable(one)

    def test_a_hook_that_switches_off_before_ours_is_asked(self, pool: ThreadPoolExecutor) -> None:
        model = dit()
        one, two = Loop(model, DDIMScheduler()), Loop(model, DDIMScheduler())
        untouched = one()
        handle = accelerate(two, "fora")
        model.register_forward_pre_hook(lambda *_: pool.submit(handle.disable).result(PATIENCE))
        handle.enable()
        assert torch.equal(one(), untouched)
        assert not handle.enabled

    @pytest.mark.parametrize("kind", ["blocks", "probe of a module", "probe of a block", "whole model"])
    def test_toggled_while_others_sample(self, pool: ThreadPoolExecutor, kind: str) -> None:
        """Three pipelines share a model: one is switched on and off all the time, the others sample."""
        model = Toy()
        one, two, three = (Pipe(model) for _ in range(3))
        untouched, before = one(), held(model)
        with accelerate(two, METHODS[kind]):
            forecast = two()
            done = threading.Event()

            def toggle() -> int:
                count = 0
                while not done.is_set():
                    with accelerate(three, METHODS[kind]):
                        count += 1
                return count

            toggling = pool.submit(toggle)
            plain = pool.submit(lambda: [one() for _ in range(25)])
            try:
                images = [two() for _ in range(10)]
                assert all(torch.equal(image, untouched) for image in plain.result(PATIENCE))
            finally:
                done.set()
            assert toggling.result(PATIENCE)
            assert all(torch.equal(image, forecast) for image in images)
        assert held(model) == before

    def test_switched_while_the_exception_that_ends_a_look_passes_a_module(self) -> None:
        """Torch goes through the module's hooks then, one of which is somebody's."""
        model = Toy()
        two, three = Pipe(model), Pipe(model)
        calls = [0]

        def switch(*_: Any) -> None:
            calls[0] += 1
            with accelerate(three, METHODS["probe of a module"]):
                pass

        with accelerate(two, METHODS["probe of a module"]):
            expected = two()
            model.blocks[0].norm1.register_forward_hook(switch, always_call=True)
            model.blocks[0].norm1.register_forward_hook(lambda *_: None)  # torch comes to this one after it
            assert torch.equal(two(), expected)
        assert calls[0]

    def test_two_threads_that_switch_one_pipeline_on(self, pool: ThreadPoolExecutor) -> None:
        model = Toy()
        pipe, before = Pipe(model), held(model)
        for _ in range(20):
            barrier = threading.Barrier(2)

            def attempt(barrier: threading.Barrier = barrier) -> Any:
                barrier.wait(PATIENCE)
                try:
                    return accelerate(pipe, "linear:every=2").enable()
                except AlreadyAccelerated:
                    return None

            handles = [future.result(PATIENCE) for future in [pool.submit(attempt) for _ in range(2)]]
            on = [handle for handle in handles if handle is not None]
            assert len(on) == 1
            on[0].disable()
            assert held(model) == before

    @pytest.mark.parametrize("place", ["blocks.0", "blocks.1", "blocks.1.ff"])
    def test_switching_off_while_a_call_begins_is_refused(self, pool: ThreadPoolExecutor, place: str) -> None:
        """From when a call has begun until it has ended, and at no moment in between is it half off."""
        model = Toy()
        pipe = Pipe(model)
        refused = list[bool]()

        def attempt() -> None:
            try:
                handle.disable()
            except ConcurrentRun:
                refused.append(True)

        with accelerate(pipe, "linear:every=2") as handle:
            expected = pipe()
            hook = model.get_submodule(place).register_forward_pre_hook(
                lambda *_: pool.submit(attempt).result(PATIENCE)
            )
            assert torch.equal(pipe(), expected)
            hook.remove()
        assert refused

    @pytest.mark.parametrize("place", ["blocks.0", "blocks.1", "blocks.1.ff"])
    def test_a_hook_in_the_middle_of_a_call_cannot_switch_it_off(self, place: str) -> None:
        model = Toy()
        pipe, said = Pipe(model), list[str]()

        def attempt(*_: Any) -> None:
            try:
                handle.disable()
            except ConcurrentRun as error:
                said.append(str(error))

        with accelerate(pipe, "linear:every=2") as handle:
            expected = pipe()
            hook = model.get_submodule(place).register_forward_pre_hook(attempt)
            assert torch.equal(pipe(), expected)
            hook.remove()
        assert said and all("in the middle of a call" in message for message in said)


class Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class TestHundredsOfTimes:
    pytestmark = pytest.mark.fault("growth")

    @pytest.mark.parametrize("kind", representative(["blocks", "probe of a block", "tokens"], ["tokens"]))
    def test_no_object_more(self, kind: str) -> None:
        model = Toy()
        pipe, counts = Pipe(model), list[int]()
        for number in range(20):
            with accelerate(pipe, METHODS[kind]):
                if number % 5 == 0:
                    pipe()
            if number % 5 == 4:
                gc.collect()
                counts.append(len(gc.get_objects()))
        assert counts[-1] - counts[1] <= 3, counts  # the first runs fill caches

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_was_switched_off_needs_no_collector(self, kind: str) -> None:
        model = Toy()
        with accelerate(Pipe(model), METHODS[kind]) as handle:
            handle.pipe()
        freed = [weakref.ref(thing) for thing in (model, handle)]
        gc.collect()
        gc.disable()
        try:
            del model, handle
            assert [thing() is None for thing in freed] == [True, True]
        finally:
            gc.enable()

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_was_never_switched_off_goes_with_its_model(self, kind: str) -> None:
        model = Toy()
        handle = accelerate(Pipe(model), METHODS[kind]).enable()
        handle.pipe()
        freed = [weakref.ref(thing) for thing in (model, handle)]
        del model, handle
        gc.collect()
        assert [thing() is None for thing in freed] == [True, True]

    def test_as_much_is_on_as_before(self) -> None:
        pipe = Pipe(Toy())
        gc.collect()
        before = len(ENABLED)
        for _ in range(50):
            accelerate(pipe, "linear:every=2").enable().disable()
        gc.collect()
        assert len(ENABLED) == before
        model = dit()
        clean = footprint(model)
        for _ in range(20):
            with accelerate(model, "teacache", steps=4):
                copy.deepcopy(model)
        assert footprint(model) == clean


def test_a_call_beside_who_switches_copies_the_set_until_it_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    from padecast.handles import handle

    class Changing(list[Any]):
        left = 2

        def __iter__(self) -> Any:
            Changing.left -= 1
            if Changing.left >= 0:
                raise RuntimeError("Set changed size during iteration")
            return super().__iter__()

    monkeypatch.setattr(handle, "ENABLED", Changing(["on"]))
    assert handle._look_at_enabled() == ["on"] and Changing.left == -1
