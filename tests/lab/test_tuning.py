"""Free numbers are turned until a method computes as many steps as wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

import padecast
from padecast import Geometry, Position, Trace
from padecast.lab import Entry, Task, draw, tune
from padecast.lab.preparation import prepare
from padecast.lab.search import halve
from padecast.policies import Interval, Magnitude, Plan, Policy, plan_of
from padecast.policies.knob import Knob

RULES = ["tc-pade", "fora", "linear", "taylorseer", "spectrum", "delta-dit"]


@pytest.mark.parametrize("steps", [20, 50])
@pytest.mark.parametrize("nfe", [6, 8, 10])
@pytest.mark.parametrize("name", RULES)
def test_rules_of_the_step_index_reach_every_budget_without_a_run(name: str, nfe: int, steps: int) -> None:
    entry = tune(Task(None, print, steps=steps), Entry.of(name), nfe)
    assert entry.method is not None and entry.name == name
    assert plan_of(entry.method.policy, steps).count("C") == nfe


def test_what_needs_no_change_is_not_changed() -> None:
    assert tune(Task(None, print), Entry.of("fora"), 6).written == "fora"
    assert tune(Task(None, print), Entry.of("taylorseer"), 8).written == "taylorseer"


def test_the_interval_is_turned_before_the_warm_up() -> None:
    assert tune(Task(None, print), Entry.of("linear"), 8).written == "linear:every=3"
    assert tune(Task(None, print), Entry.of("linear"), 10).written == "linear:every=2,last=false"
    assert tune(Task(None, print), Entry.of("fora:warmup=2"), 10).written == "fora:warmup=2,every=3"


def test_spaced_steps_reach_every_number() -> None:
    assert tune(Task(None, print), Entry.of("tc-pade"), 8).written == "tc-pade:every=3.0"
    for nfe in range(2, 21):
        entry = tune(Task(None, print), Entry.of("tc-pade"), nfe)
        assert entry.method is not None and plan_of(entry.method.policy, 20).count("C") == nfe


def test_a_number_that_was_written_down_stays() -> None:
    assert tune(Task(None, print), Entry.of("fora:every=2"), 5).written == "fora:every=2"
    assert tune(Task(None, print), Entry.of("adaptive:tolerance=0.3"), 5).written == "adaptive:tolerance=0.3"


def test_the_closest_is_taken_where_nothing_fits() -> None:
    entry = tune(Task(None, print), Entry.of("spectrum:warmup=5,last=false"), 3)
    assert entry.method is not None
    assert plan_of(entry.method.policy, 20).count("C") == 6


@pytest.mark.parametrize(("name", "nfe"), [("adaptive", 4), ("adaptive", 6), ("tc-pade-slow", 6), ("tc-pade-slow", 8)])
def test_rules_that_read_the_features_are_tuned_by_running(task: Task, name: str, nfe: int) -> None:
    entry = tune(task.tuning(), Entry.of(name, wanted=nfe), nfe)
    assert draw(task, entry, task.tuning().seeds).nfe == nfe
    assert entry.method == padecast.method(entry.written)
    assert (entry.name, entry.wanted) == (name, nfe)


def test_an_interval_is_widened_where_stability_alone_cannot_do_it(task: Task) -> None:
    entry = tune(task.tuning(), Entry.of("tc-pade-fast:last=false"), 4)
    assert "every=5" in entry.written and draw(task, entry, task.tuning().seeds).nfe == 4


@pytest.mark.parametrize("rising", [True, False])
def test_halving_finds_the_step_of_a_staircase(rising: bool) -> None:
    knob = Knob("number", 0.001, 10.0, rising=rising, logarithmic=True)
    for wanted in (3, 5, 9):
        _, found = halve(lambda value: round((6 + value) if rising else (10 - value)), knob, wanted)
        steps = round((6 + found) if rising else (10 - found))
        assert steps == (max(wanted, 6) if rising else wanted)


@pytest.mark.parametrize(("name", "nfe"), [("teacache", 4), ("first-block", 4), ("easycache", 5), ("seacache", 4)])
def test_rules_that_look_before_they_decide_are_tuned_by_running(task: Task, name: str, nfe: int) -> None:
    entry = tune(task.tuning(), Entry.of(name, wanted=nfe), nfe)
    assert draw(task, entry, task.tuning().seeds).nfe == nfe
    assert entry.method == padecast.method(entry.written) and entry.written.startswith(f"{name}:threshold=")
    assert (entry.name, entry.wanted) == (name, nfe)


def test_the_nearest_is_taken_where_no_threshold_reaches_it(task: Task) -> None:
    entry = tune(task.tuning(), Entry.of("easycache"), 1)  # two steps for a rate, and the last
    assert draw(task, entry, task.tuning().seeds).nfe == 3
    assert tune(task.tuning(), Entry.of("teacache:threshold=0.2"), 5).written == "teacache:threshold=0.2"


@pytest.mark.parametrize("nfe", [4, 6])
def test_the_rule_of_magnitudes_is_calibrated_and_tuned(task: Task, nfe: int) -> None:
    entry = tune(task.tuning(), Entry.of("magcache", wanted=nfe), nfe)
    assert isinstance(entry.method, padecast.Method) and isinstance(entry.method.policy, Magnitude)
    assert len(entry.method.policy.ratios) == task.steps and entry.method.policy.ratios[0] == 1.0
    assert plan_of(entry.method.policy, task.steps).count("C") == nfe == draw(task, entry, (0, 1)).nfe
    assert entry.method == padecast.method(entry.written)


def test_ratios_are_of_the_seeds_that_are_tuned_on_and_none_where_they_were_written(task: Task) -> None:
    seen: list[tuple[int, ...]] = []

    def call(pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Tensor:
        seen.append(tuple(seeds))
        return task.call(pipe, seeds, **arguments)

    watched = dataclasses.replace(task, call=call, development=(7, 8, 9))
    prepare(watched.tuning(), Entry.of("magcache"))
    assert seen == [(7, 8)] and not set(seen[0]) & set(task.seeds)
    written = Entry.of("magcache:ratios=(1.0,0.9)")
    assert prepare(watched.tuning(), written) == written and len(seen) == 1


def test_the_room_of_magnitudes_is_widened_by_the_least_change() -> None:
    entry = tune(Task(None, print), Entry.of("magcache:ratios=(1.0,1.0)"), 6)
    assert isinstance(entry.method, padecast.Method)
    assert plan_of(entry.method.policy, 20).count("C") == 6
    assert tune(Task(None, print), Entry.of("magcache:ratios=(1.0,1.0),limit=2,retention=0.5"), 5).written.endswith(
        "limit=2,retention=0.5"
    )


@dataclasses.dataclass(frozen=True)
class Early(Policy):
    """A policy that lab knows nothing of, whose plan is known without a run."""

    share: float = 0.5
    knob = Knob("share", 0.0, 1.0, rising=True)

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        return at.index < self.share * at.total


@dataclasses.dataclass(frozen=True)
class Restless(Policy):
    """One that looks at the features before it decides."""

    limit: float = 0.5
    knob = Knob("limit", 1e-4, 10.0, rising=False, logarithmic=True)
    probe = "latents"

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        return at.seen is None or sum(p.seen.moved for p in (*trace.since_computed, at) if p.seen) >= self.limit


@pytest.mark.parametrize("policy", [Early(), Restless()])
def test_a_policy_of_ones_own_says_what_is_turned(task: Task, policy: Policy) -> None:
    method = padecast.methods.register(padecast.Method("mine", policy, padecast.forecasters.Reuse(), "for this test"))
    try:
        entry = tune(task.tuning(), Entry.of("mine", wanted=4), 4)
        assert entry.method is not method and draw(task, entry, task.tuning().seeds).nfe == 4
    finally:
        del padecast.methods.REGISTRY["mine"]


def test_what_was_tried_before_is_not_drawn_again(task: Task) -> None:
    drawn: list[int] = []

    def call(pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Tensor:
        drawn.append(len(seeds))
        return task.call(pipe, seeds, **arguments)

    remembers = dataclasses.replace(task, call=call, memory={}).tuning()
    first = tune(remembers, Entry.of("teacache"), 4)
    count = len(drawn)
    assert count > 1 and tune(remembers, Entry.of("teacache"), 4) == first and len(drawn) == count


def test_a_method_without_a_free_number_is_left_alone(task: Task) -> None:
    plan = padecast.Method("mine", Plan("CC..C....C"), padecast.forecasters.Reuse(), "for this test")
    assert tune(task, Entry.of(plan), 6).method is plan
    assert tune(task, Entry.fewer(4), 4) == Entry.fewer(4)
    wrapped = padecast.Method(
        "capped", padecast.policies.Cap(Interval(4)), padecast.forecasters.Reuse(), "for this test"
    )
    assert tune(task, Entry.of(wrapped), 6).method is wrapped
