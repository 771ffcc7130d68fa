"""The measured order of accuracy of a forecast is the one its mathematics claims."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from padecast import Geometry, Position
from padecast.forecasters import Forecaster, Lagrange, Pade, Reuse, Taylor

STEPS = [0, 2, 3, 5, 7]  # irregular, as policies make them


def trajectory(t: float) -> Tensor:
    return torch.tensor([math.sin(t), math.exp(0.7 * t), math.cos(2 * t), 1 / (3 + t)], dtype=torch.float64)


def error(forecaster: Forecaster, step: float, features: int) -> float:
    """Error of a forecast 2 steps ahead when the steps are ``step`` apart and end at 0.3."""
    times = [0.3 + step * (i - STEPS[-1]) for i in STEPS]
    known = torch.stack([trajectory(t)[:features] for t in times])
    at = 0.3 + 2 * step
    weights = forecaster.weights(Geometry.of(known, STEPS, times), Position.at(8, 20, at))
    return float((weights.expand(1, -1) @ known.flip(0) - trajectory(at)[:features]).norm())


def order(forecaster: Forecaster, features: int = 4) -> float:
    return math.log2(error(forecaster, 0.02, features) / error(forecaster, 0.01, features))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_polynomial_has_one_order_more_than_its_degree(degree: int) -> None:
    assert order(Lagrange(degree)) == pytest.approx(degree + 1, abs=0.15)


@pytest.mark.parametrize(("taylor", "expected"), [(0, 1), (1, 2), (2, 2), (3, 2)])
def test_published_differences_stay_at_order_two(taylor: int, expected: int) -> None:
    assert order(Taylor(taylor)) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_a_denominator_gains_an_order_for_one_feature_and_loses_none_for_many(degree: int) -> None:
    pade = Pade((degree, 1), guard=100.0)
    assert order(pade) == pytest.approx(degree + 1, abs=0.3)
    assert order(pade, features=1) == pytest.approx(degree + 2, abs=0.3)


def test_repetition_has_order_one() -> None:
    assert order(Reuse()) == pytest.approx(1, abs=0.1)
