from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, Position, Session, Trace
from padecast.forecasters import Reuse
from padecast.policies import Stability

AT = Position.at(9, 20)
BEGAN = Trace().then(Position.at(8, 20), True)  # an interval began at step 8: step 9 lies inside it


def path(*points: tuple[float, float]) -> Tensor:
    return torch.tensor(points, dtype=torch.float64)


STRAIGHT = path((0, 0), (1, 0), (3, 0))
RIGHT_ANGLE = path((0, 0), (1, 0), (1, 2))
REVERSAL = path((0, 0), (2, 0), (1, 0))
STANDING = path((1, 1), (1, 1), (1, 1))


def geometry(*paths: Tensor) -> Geometry:
    return Geometry.of(torch.stack(paths, dim=1), list(range(len(paths[0]))))


def forecasts(policy: Stability, *paths: Tensor) -> bool:
    return not policy.computes(AT, BEGAN, geometry(*paths))


@pytest.mark.parametrize(
    ("points", "stability"), [(STRAIGHT, 2), (RIGHT_ANGLE, 1), (REVERSAL, 0), (STANDING, 2)], ids=str
)
def test_stable_means_at_least_the_threshold(points: Tensor, stability: float) -> None:
    assert geometry(points).stability().tolist() == [stability]
    assert forecasts(Stability(stability), points)
    assert forecasts(Stability(max(stability - 0.01, 0)), points)
    if stability < 2:
        assert not forecasts(Stability(stability + 0.01), points)


@given(st.floats(0, math.pi), st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_published_curvature_is_a_function_of_stability(turn: float, first: float, second: float) -> None:
    points = path((0, 0), (first, 0), (first + second * math.cos(turn), second * math.sin(turn)))
    stability = geometry(points).stability().item()
    one, two = points[2] - points[1], points[1] - points[0]
    curvature = (one / one.norm() - two / two.norm()).norm().item() / 2
    assert stability == pytest.approx(1 + math.cos(turn), abs=1e-9)
    assert curvature == pytest.approx(math.sin(turn / 2), abs=1e-9)
    assert math.sqrt((2 - stability) / 2) == pytest.approx(curvature, abs=1e-6)  # a root near 0


@pytest.mark.parametrize(("threshold", "curvature"), [(0.7, 0.806), (1.0, 0.707), (1.3, 0.592)])
def test_thresholds_are_these_curvatures(threshold: float, curvature: float) -> None:
    for turn, stable in ((curvature - 0.002, True), (curvature + 0.002, False)):
        angle = 2 * math.asin(turn)
        assert forecasts(Stability(threshold), path((0, 0), (1, 0), (1 + math.cos(angle), math.sin(angle)))) == stable


def test_the_printed_indicator_forecasts_on_sharp_turns() -> None:
    printed = Stability(0.7, indicator="curvature")
    assert forecasts(printed, REVERSAL) and forecasts(printed, RIGHT_ANGLE) and not forecasts(printed, STRAIGHT)
    assert not forecasts(Stability(1.3, indicator="curvature"), REVERSAL)  # out of its reach, as printed


@pytest.mark.parametrize("indicator", ["cosine", "curvature"])
def test_every_sample_must_be_stable(indicator: str) -> None:
    policy = Stability(0.9, indicator=indicator)
    stable, unstable = (STRAIGHT, REVERSAL) if indicator == "cosine" else (REVERSAL, STRAIGHT)
    assert forecasts(policy, stable, stable)
    assert not forecasts(policy, stable, unstable) and not forecasts(policy, unstable, stable)


def test_with_fewer_than_three_residuals_the_step_is_computed() -> None:
    for count in (1, 2):
        assert not forecasts(Stability(0.0), STRAIGHT[:count])
    assert forecasts(Stability(0.0), STRAIGHT)


def test_older_residuals_do_not_matter() -> None:
    older = torch.cat([path((5, 5), (-3, 2)), STRAIGHT])
    assert forecasts(Stability(2.0), older)


@pytest.mark.parametrize("every", [1, 3, 4])
def test_the_first_step_of_every_interval_is_computed(every: int) -> None:
    session = Session(Stability(0.0, every=every, last=False), Reuse(), total=20)
    for index in range(5, 20):
        session.step(torch.zeros(1, 2), index=index, compute=lambda index=index: torch.full((1, 2), float(index)))
    # three residuals first, then everything on a straight line is forecast but the first steps of intervals
    expected = "".join("C" if i < 3 or i % every == 0 else "." for i in range(15))
    assert session.plan == " " * 5 + expected


def test_the_last_step_is_computed_unless_told_otherwise() -> None:
    plans = []
    for last in (True, False):
        session = Session(Stability(0.0, every=4, last=last), Reuse(), total=7)
        for index in range(7):
            session.step(torch.zeros(1, 2), index=index, compute=lambda index=index: torch.full((1, 2), float(index)))
        plans.append(session.plan)
    assert plans == ["CCC.C.C", "CCC.C.."]


def test_larger_thresholds_compute_more() -> None:
    walk = torch.randn(40, 2, 3, generator=torch.Generator().manual_seed(0)).cumsum(0)

    def computed(threshold: float) -> int:
        session = Session(Stability(threshold, every=8), Reuse(), total=40)
        for index in range(40):
            session.step(torch.zeros(2, 3), index=index, compute=lambda index=index: walk[index])
        return session.plan.count("C")

    counts = [computed(threshold) for threshold in (0.0, 0.7, 1.3, 2.0)]
    assert counts == sorted(counts) and counts[0] < counts[-1]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_residual_that_is_not_finite_is_never_stable(broken: float) -> None:
    points = STRAIGHT.clone()
    points[2, 0] = broken
    assert not forecasts(Stability(0.0), points)
