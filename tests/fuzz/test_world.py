"""The fuzzer itself: a fresh world is as good as a fresh process, memory is flat, and faults are found."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.fuzz.fresh import ANSWERS, KIND, Question, answer, ask
from tests.fuzz.kinds import KINDS, Kind, Run
from tests.fuzz.test_sequences import Sequence
from tests.fuzz.trouble import Stop
from tests.fuzz.world import World
from tests.representative import representative

import padecast
from padecast.forecasters import Lagrange
from padecast.handles.handle import ENABLED


@pytest.fixture(autouse=True)
def _thawed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the answers of worlds in which a fault was planted."""
    ANSWERS.clear()
    yield
    monkeypatch.undo()
    ANSWERS.clear()
    for handle in list(ENABLED):
        handle.disable()
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.mark.slow
def test_a_fresh_world_is_as_good_as_a_fresh_process() -> None:
    run, plan = Run(4), "plan CC.C"
    questions = [
        Question(kind.name, role, changes, scheduler, run, plan)
        for kind in KINDS
        for role, scheduler in zip(kind.pipelines, kind.schedulers, strict=False)
        for changes in ((), (("adapt", 1),))
    ]
    assert ask(questions) == [answer(question).digest for question in reversed(questions)][::-1]


def live_through(world: World) -> None:
    """One of everything that may happen."""
    (member,), run = world.members, Run(world.kind.length or 3)
    scheduler = list(world.kind.schedulers)[-1]
    world.enable(member, "linear")
    world.run(member, run)
    world.run_into(member, run, "inside", 2, Stop)
    world.run_interrupted(member, run, 150)
    world.set_scheduler(member, scheduler)
    world.change("adapt", 1)
    world.run(member, run, in_a_thread=True)
    world.off_and_on(member)
    world.change("unload", None)
    world.disable(member, "function")
    world.copied(member, "deep", run)
    world.close(run)


@pytest.mark.parametrize("kind", representative(KINDS[:3], ["bare"]), ids=str)
def test_memory_is_flat(kind: Kind) -> None:
    # Objects are counted, not blocks of memory: of those, Python's own caches take some for many worlds.
    counts = []
    for _ in range(6):
        live_through(World(kind))
        gc.collect()
        counts.append(len(gc.get_objects()))
    worlds = len(counts) - 2
    assert counts[-1] - counts[1] < worlds, counts


def forget_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have linear forecasts depend on how many there were in all."""
    weights, asked = Lagrange.weights, [0]

    def drift(self: Lagrange, *given: Any) -> Any:
        asked[0] += 1
        return weights(self, *given) * (1 + 0.01 * asked[0])

    monkeypatch.setattr(Lagrange, "weights", drift)


def stay_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have switching off do nothing."""
    monkeypatch.setattr(padecast.Handle, "disable", lambda self: None)


def leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every handle leave a tensor somewhere."""
    enable, left = padecast.Handle.enable, list[Any]()

    def littering(self: padecast.Handle) -> padecast.Handle:
        left.append(torch.zeros(1))
        return enable(self)

    monkeypatch.setattr(padecast.Handle, "enable", littering)


@pytest.mark.parametrize(
    ("plant", "symptom"), [(forget_nothing, "off by"), (stay_on, "left on|switched on twice"), (leak, "still there")]
)
def test_a_planted_fault_is_found(plant: Any, symptom: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    machine = type("Planted", (Sequence,), {"kind": KIND["bare"], "count": 0})
    chosen = settings(max_examples=60, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    with pytest.raises(AssertionError, match=symptom):
        run_state_machine_as_test(
            seed(0)(machine), settings=settings(chosen, stateful_step_count=8, report_multiple_bugs=False)
        )
