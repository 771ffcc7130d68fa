"""Whatever is done to pipelines in whatever order: runs are those of a fresh process, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.fuzz import fresh
from tests.fuzz.changes import master
from tests.fuzz.kinds import KINDS, Kind, Run, vae
from tests.fuzz.leftovers import alive
from tests.fuzz.setups import BY_FEATURES, EXACT, FIXED, PLANS
from tests.fuzz.trouble import PLACES, Stop
from tests.fuzz.world import Member, World, is_deterministic

SEQUENCES = int(os.environ.get("PADECAST_FUZZ_SEQUENCES", "40"))
FIRST_SEED = int(os.environ.get("PADECAST_FUZZ_SEED", "0"))
A_TEST = 50  # sequences at most
LENGTH = 8 if SEQUENCES > 100 else 4
FAULTS: frozenset[str] = frozenset()
"""Rules that are left out, because they meet faults that are known."""

members, either = st.integers(0, 2), st.integers(0, 1)
places = st.sampled_from(PLACES)
numbers = st.integers(1, 9)
runs = st.builds(
    Run,
    steps=st.sampled_from((4, 3, 6, 9, 2)),
    batch=st.sampled_from((1, 2)),
    guided=st.booleans(),
    strength=st.sampled_from((0.6, 1.0)),
)
A_PLAN = "a plan"  # of as many steps as the run
RULES = sorted(name for name in FIXED if not name.startswith("plan "))
SETUPS = ([A_PLAN], RULES, RULES, sorted(BY_FEATURES), sorted(BY_FEATURES), sorted(EXACT))
setups = st.one_of(*map(st.sampled_from, SETUPS))


def without(fault: str) -> bool:
    return fault not in FAULTS


class Sequence(RuleBasedStateMachine):
    """One sequence of operations on pipelines that share their models."""

    kind: ClassVar[Kind]
    count: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).count += 1
        gc.collect()
        gc.freeze()
        self.world = World(self.kind)

    @initialize(
        settings=st.tuples(runs, runs), setups=st.tuples(setups, setups), on=st.sampled_from((True, True, False))
    )
    def choose(self, settings: tuple[Run, Run], setups: tuple[str, str], on: bool) -> None:
        """Choose what is told and switched on again and again, so that few fresh runs are needed."""
        self.runs = settings
        self.setups = [
            f"plan {PLANS[self.kind.length or run.steps]}" if setup == A_PLAN else setup
            for setup, run in zip(setups, settings, strict=True)
        ]
        if on:
            self.switch_on(0, 0)

    def member(self, number: int) -> Member:
        return self.world.members[number % len(self.world.members)]

    def active(self, number: int) -> Member:
        """Return a member that is on, after switching one on if none is."""
        if not self.world.on:
            self.world.enable(self.member(number), self.setups[0])
        among = self.world.on or self.world.members
        return among[number % len(among)]

    def pair(self, number: int) -> tuple[Member, Member] | None:
        """Return two members that may run at once, after making one if there are none; not all kinds have any."""
        if not self.world.pairs and self.world.has_room:
            self.world.join(next(iter(self.kind.pipelines)), next(iter(self.kind.schedulers)))
        pairs = self.world.pairs
        return pairs[number % len(pairs)] if pairs else None

    def scheduler(self, number: int) -> str:
        names = list(self.kind.schedulers)
        return names[number % len(names)]

    # Switching

    @rule(who=members, which=either)
    def switch_on(self, who: int, which: int) -> None:
        self.world.enable(self.member(who), self.setups[which])

    @rule(who=members, how=st.sampled_from(("handle", "function", "block")))
    def switch_off(self, who: int, how: str) -> None:
        member = self.active(who)
        if member.handle is not None:
            self.world.disable(member, how)

    @rule(who=members)
    def switch_off_and_on(self, who: int) -> None:
        self.world.off_and_on(self.active(who))

    @precondition(lambda self: without("switching is interrupted"))
    @rule(who=members, which=either, line=st.integers(1, 400))
    def interrupt_switching(self, who: int, which: int, line: int) -> None:
        self.world.switch_interrupted(self.member(who), self.setups[which], line)

    # Running

    @rule(who=members, which=either, in_a_thread=st.booleans())
    def run(self, who: int, which: int, in_a_thread: bool) -> None:
        self.world.run(self.member(who), self.runs[which], in_a_thread)

    @rule(who=members, which=either, in_a_thread=st.booleans())
    def run_what_is_on(self, who: int, which: int, in_a_thread: bool) -> None:
        self.world.run(self.active(who), self.runs[which], in_a_thread)

    @rule(who=members, which=either, place=places, number=numbers, error=st.sampled_from((Stop, KeyboardInterrupt)))
    def run_into_an_error(self, who: int, which: int, place: str, number: int, error: type[BaseException]) -> None:
        self.world.run_into(self.active(who), self.runs[which], place, number, error)

    @rule(who=members, which=either, line=st.integers(1, 2000))
    def run_until_interrupted(self, who: int, which: int, line: int) -> None:
        spared = () if without("allocation is interrupted") else ("_allocate",)
        self.world.run_interrupted(self.active(who), self.runs[which], line, spared)

    @rule(who=members, which=either, number=numbers, what=st.sampled_from(("reset", "off", "off and on")))
    def run_and_switch(self, who: int, which: int, number: int, what: str) -> None:
        self.world.run_through(self.active(who), self.runs[which], number, what)

    @rule(who=members, which=either, number=numbers)
    def run_inside_a_run(self, who: int, which: int, number: int) -> None:
        if pair := self.pair(who):
            self.world.run_nested(pair[0], self.runs[which], number, pair[1], self.runs[1 - which])

    @rule(who=members, which=either, place=places, number=numbers)
    def run_beside_a_run(self, who: int, which: int, place: str, number: int) -> None:
        if pair := self.pair(who):
            self.world.run_beside(pair[0], self.runs[which], place, number, pair[1], self.runs[1 - which])

    @rule(who=members, which=either, place=places, number=numbers)
    def run_beside_itself(self, who: int, which: int, place: str, number: int) -> None:
        member = self.active(who)
        spared = place == "between" and not without("a run that another overtook")
        if member.handle is not None and is_deterministic(member) and not spared:
            self.world.run_beside(member, self.runs[which], place, number, member, self.runs[1 - which])

    # What becomes of pipelines and weights

    @rule(role=st.integers(0, 1), scheduler=st.integers(0, 9), alone=st.booleans())
    def make_a_pipeline_of_the_same_parts(self, role: int, scheduler: int, alone: bool) -> None:
        roles = list(self.kind.pipelines)
        if self.world.has_room:
            self.world.join(roles[role % len(roles)], self.scheduler(scheduler) if alone else "")

    @rule(who=members, scheduler=st.integers(0, 9))
    def set_a_scheduler(self, who: int, scheduler: int) -> None:
        self.world.set_scheduler(self.member(who), self.scheduler(scheduler))

    @rule(what=st.sampled_from(("LoRA", "half", "unload", "bfloat16", "float32", "replace")))
    def change_the_models(self, what: str) -> None:
        world, adapted = self.world, self.world.is_adapted
        if what in ("bfloat16", "float32"):
            world.change("cast", what)
        elif what == "LoRA" and not adapted:
            world.change("adapt", 1)
        elif what == "half" and adapted:
            world.change("scale", 0.5)
        elif what == "unload" and adapted:
            world.change("unload", None)
        elif what == "replace" and (not world.on or without("replaced while on")):
            world.replace_models(self.runs[0])

    @rule(who=members, which=either, how=st.sampled_from(("deep", "pickled", "shallow")))
    def copy(self, who: int, which: int, how: str) -> None:
        if how == "shallow":
            self.world.copied_for_a_request(self.member(who), self.runs[which], loud=without("copies are silent"))
        elif not self.world.on or without("copies while on" if how == "deep" else "pickled while on"):
            self.world.copied(self.member(who), how, self.runs[which])

    # What others do with the models

    @precondition(lambda self: without("calls by hand") and self.kind.length is None)
    @rule(how=st.sampled_from(("repeat", "train")))
    def call_by_hand(self, how: str) -> None:
        self.world.call(how)

    @precondition(lambda self: without("calls by hand") and self.kind.length is None)
    @rule(who=members, which=either, number=numbers, how=st.sampled_from(("repeat", "train")))
    def call_by_hand_in_a_run(self, who: int, which: int, number: int, how: str) -> None:
        self.world.run_and_call(self.active(who), self.runs[which], number, how)

    @precondition(lambda self: without("gradients") and self.kind.length is not None)
    @rule(which=either)
    def run_with_gradients(self, which: int) -> None:
        self.world.run(self.active(0), replace(self.runs[which], trained=True))

    def teardown(self) -> None:
        """Switch all off, run once more, and look at what is left of the world that was."""
        failed = sys.exc_info()[0] is not None
        world, self.world = self.world, None  # type: ignore[assignment]
        if failed:
            world.give_up()
            return
        world.close(self.runs[0])
        del world
        if sys.gettrace() is not None:
            return  # under a debugger, or where coverage is measured, frames keep their variables on purpose
        left = alive(besides=fresh.tensors())
        assert not left, f"still there: {left[:20]}"


def portions() -> list[Any]:
    """Split sequences over kinds and tests, as many as there are."""
    split = []
    for kind in KINDS:
        count = -(-SEQUENCES * kind.share // sum(kind.share for kind in KINDS))
        for number, first in enumerate(range(0, count, A_TEST)):
            split.append(pytest.param(kind, number, min(A_TEST, count - first), id=f"{kind}-{number}"))
    return split


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    for kind in KINDS:
        master(kind, 0), master(kind, 1)
    vae(1), vae(4)
    yield
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.filterwarnings("ignore::padecast.PadecastWarning")  # what a run said is looked at, but not what others say
@pytest.mark.parametrize(("kind", "number", "count"), portions())
def test_every_run_of_a_sequence_is_that_of_a_fresh_world(kind: Kind, number: int, count: int) -> None:
    machine = type(f"Sequence of {kind}", (Sequence,), {"kind": kind, "count": 0})
    chosen = settings(
        max_examples=count,
        stateful_step_count=LENGTH,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(FIRST_SEED + number)(machine), settings=chosen)
    assert machine.count >= count
