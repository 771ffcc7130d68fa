"""Weights that do not sum to one make forecasts shrink or grow: that is said once, and of no method that ships."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import PLAN, STEPS, loop
from torch import Tensor

from padecast import Geometry, PadecastWarning, Position, Report, Session, accelerate, enable, method, methods
from padecast.forecasters import REGISTRY, Forecaster
from padecast.policies import Plan
from padecast.session.balance import OFF, describe_imbalance
from padecast.session.record import Record

FACT = "the weights of Scaled sum to {0} at step {1}: what stands still is forecast {0} times as large"


@dataclass(frozen=True)
class Scaled(Forecaster):
    """Repetition, times a number that its author forgot."""

    total: float = 0.5
    window = 2

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        return torch.full((len(geometry),), self.total / len(geometry), dtype=torch.float64)


@dataclass(frozen=True)
class Ridge(Scaled):
    """One that says so."""

    sums_to_one = False


@dataclass(frozen=True)
class Late(Scaled):
    """Right while one residual is remembered, as the first forecasts of a run are."""

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        weights = super().weights(geometry, at)
        return weights if len(geometry) > 1 else torch.ones(1, dtype=torch.float64)


def step_through(session: Session, branches: tuple[str, ...] = ("",)) -> None:
    for index in range(session.total):
        for branch in branches:
            session.step(torch.zeros(1, 2), index=index, branch=branch, compute=lambda: torch.ones(1, 2))


def test_a_handle_warns_once_whatever_the_number_of_runs() -> None:
    pipe = loop()
    handle = enable(pipe, policy=Plan(PLAN), forecaster=Scaled())
    with pytest.warns(PadecastWarning, match=r"the weights of Scaled sum to 0\.5 at step 2") as caught:
        pipe()
    assert len(caught) == 1 and Path(caught[0].filename) == Path(__file__)
    assert "divided by their sum" in str(caught[0].message) and "sums_to_one = False" in str(caught[0].message)
    pipe()  # warnings are errors here
    assert handle.report.remarks[0] == FACT.format(0.5, 2)
    handle.disable()


def test_a_run_that_is_broken_off_is_warned_of_when_the_block_ends() -> None:
    def leave(step: int) -> None:
        if step == STEPS - 2:
            raise KeyError

    pipe = loop()
    with (
        pytest.warns(PadecastWarning, match="the weights of Scaled sum to 2 at"),
        pytest.raises(KeyError),
        accelerate(pipe, policy=Plan(PLAN), forecaster=Scaled(2.0)),
    ):
        pipe(between=leave)


def test_a_session_by_hand_warns_once_whatever_the_number_of_branches_and_runs() -> None:
    session = Session(Plan("CC." * 4), Scaled(1.5), 12)
    with pytest.warns(PadecastWarning, match=r"the weights of Scaled sum to 1\.5 at step 2") as caught:
        step_through(session, ("cond", "uncond"))
    assert len(caught) == 1 and Path(caught[0].filename) == Path(__file__)
    step_through(session, ("cond", "uncond"))
    assert Report.of(session).remarks == (FACT.format(1.5, 2),)


def test_a_sum_that_is_wrong_late_in_a_run_is_seen() -> None:
    session = Session(Plan("C.CC.CCCCCCC"), Late(0.25), 12)
    with pytest.warns(PadecastWarning, match=r"the weights of Late sum to 0\.25 at step 4"):
        step_through(session)


@pytest.mark.parametrize(
    "forecaster", [Scaled(1.0), Scaled(1 + OFF), Scaled(1 - OFF / 2), Ridge(0.1), Ridge(3.0)], ids=repr
)
def test_what_is_near_to_one_or_says_that_it_is_not_is_let_be(forecaster: Forecaster) -> None:
    session = Session(Plan("CC." * 4), forecaster, 12)
    step_through(session)
    assert not Report.of(session).remarks


@pytest.mark.parametrize(
    ("rows", "fact"),
    [
        ([[0.5, 0.5], [0.5, 0.0]], FACT.format(0.5, 3)),
        ([[0.9, 0.0], [4.0, -1.0]], FACT.format(3, 3)),
        ([[float("nan"), 0.0], [1.0, 0.0]], ""),
        ([[float("inf"), 0.0], [-1.0, 0.0]], FACT.format(-1, 3)),
    ],
)
def test_the_worst_sample_that_is_finite_counts(rows: list[list[float]], fact: str) -> None:
    record = Record(Position.at(3, 20), False, weights={"": torch.tensor(rows)})
    assert describe_imbalance(Scaled(), [record]) == fact


def test_no_device_is_waited_for_while_a_run_is_under_way() -> None:
    away = torch.empty(2, device="meta")  # whose values cannot be read
    record = Record(Position.at(3, 20), False, weights={"": away})
    assert describe_imbalance(Scaled(), [record], on_host=True) == ""
    with pytest.raises((NotImplementedError, RuntimeError)):
        describe_imbalance(Scaled(), [record])


# What ships ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_no_forecaster_that_ships_is_warned_of(name: str) -> None:
    """In a run whose residuals turn and stand still, with every number of them remembered."""
    session = Session(Plan("C.CC.CCC..CCCC...C..C..C"), REGISTRY.make(name), 24)
    draws = torch.randn(24, 2, 6, generator=torch.Generator().manual_seed(0)).cumsum(0)
    draws[12:16] = draws[12]
    for index, residual in enumerate(draws):
        session.step(torch.zeros(2, 6), index=index, compute=lambda residual=residual: residual)
    assert "." in session.plan and not Report.of(session).remarks


@pytest.mark.parametrize("name", list(methods()))
def test_no_method_that_ships_is_warned_of(name: str) -> None:
    pipe: Any = loop()
    with warnings.catch_warnings(record=True) as caught, accelerate(pipe, method(name)) as run:
        warnings.simplefilter("always")
        for seed in range(2):
            pipe(20, seed=seed)
        report = run.report
    facts = [*(str(warning.message) for warning in caught), *report.remarks]
    assert len(report.steps) == 20 and not [fact for fact in facts if "the weights of" in fact]
