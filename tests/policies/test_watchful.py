"""A plan that is followed until a run surprises."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
import torch
from tests.policies.test_contract import done

from padecast import Geometry, Position, Session
from padecast.forecasters import Lagrange, Reuse
from padecast.policies.watchful import LEAST, LIMIT, Surprises, Watchful, measure_surprise

PLAN = "CC..C...C..."


def usual(decibels: float, steps: Iterable[int] = range(12), runs: int = LEAST) -> Surprises:
    surprises = Surprises()
    for index in steps:
        for _ in range(runs):
            surprises.add(index, decibels)
    return surprises


def run(policy: Watchful, jump: int | None = None) -> str:
    """The plan of a run whose residuals change little, but for a jump at a step."""
    walk = 1 + 1e-3 * torch.randn(12, 2, 5, generator=torch.Generator().manual_seed(0)).cumsum(0)
    if jump is not None:
        walk[jump:] += 3
    session = Session(policy, Reuse(), len(PLAN))
    for index in range(len(PLAN)):
        session.step(torch.zeros(2, 5), index=index, compute=lambda index=index: walk[index])
    return session.plan


def test_nothing_is_added_before_it_is_known_what_is_usual() -> None:
    surprises = Surprises()
    for seed in range(LEAST):
        assert run(Watchful(PLAN, surprises=surprises)) == run(Watchful(PLAN), jump=4) == PLAN
        assert surprises.runs == seed + 1
    assert run(Watchful(PLAN, surprises=surprises)) == PLAN, "one like the others is no surprise"


def test_a_step_more_is_computed_behind_one_that_surprises_and_nowhere_else() -> None:
    surprises = Surprises()
    for _ in range(LEAST):
        run(Watchful(PLAN, surprises=surprises))
    assert run(Watchful(PLAN, surprises=surprises), jump=8) == "CC..C...CC.."
    assert run(Watchful(PLAN, surprises=surprises), jump=3) == "CC..CC..C..."


def test_no_more_than_a_quarter_is_added() -> None:
    assert run(Watchful(PLAN, surprises=usual(-1e3))).count("C") == PLAN.count("C") + 1
    longer = Watchful("C." * 8 + "....", surprises=usual(-1e3, range(20)))
    session = Session(longer, Reuse(), 20)
    for index in range(20):
        session.step(torch.zeros(1, 5), index=index, compute=lambda index=index: torch.full((1, 5), 1.0 + index))
    assert longer.most() == 2 and session.plan == "C.CCCCC." + "C." * 4 + "...."


def test_the_limit_is_two_decibels_above_what_is_usual() -> None:
    geometry = Geometry.of(torch.tensor([[1.0, 0.0], [1.0, 0.1]]), [0, 1])
    trace, at = done("CC"), Position.at(2, 12)
    for decibels, expected in ((-20 - LIMIT - 0.1, True), (-20 - LIMIT + 0.1, False)):
        assert Watchful(PLAN, surprises=usual(decibels)).computes(at, trace, geometry) is expected


def test_a_surprise_is_what_the_forecaster_would_have_missed() -> None:
    line = Geometry.of(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), [0, 2, 4])
    at = Position.at(5, 12)
    assert measure_surprise(line, at, Lagrange(degree=1)) == -120.0
    assert measure_surprise(line, at, Reuse()) == pytest.approx(20 * math.log10(1 / 3))


def test_what_is_not_finite_neither_decides_nor_is_remembered() -> None:
    geometry = Geometry.of(torch.tensor([[1.0, 0.0], [math.inf, 0.1]]), [0, 1])
    surprises = usual(-100.0)
    policy = Watchful(PLAN, surprises=surprises)
    assert policy.computes(Position.at(2, 12), done("CC"), geometry) is False and surprises.usual(1) == -100.0


def test_a_run_that_begins_in_the_middle_has_no_credit_for_what_it_did_not_visit() -> None:
    policy = Watchful("C" * 10 + "C..C..C..C", surprises=usual(-1e3, range(20)))
    session = Session(policy, Reuse(), 20)
    for index in range(10, 20):
        session.step(torch.zeros(1, 5), index=index, compute=lambda index=index: torch.full((1, 5), 1.0 + index))
    assert policy.most(10) == 1 and session.plan.count("C") == 4 + 1
