from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from padecast import Geometry, InvalidOption, Position
from padecast.forecasters import Lagrange, Reuse


@st.composite
def clocks(draw: st.DrawFn, size: int) -> tuple[float, ...]:
    """Newest first: ``size`` irregular abscissae and, before them, a later one."""
    gaps = draw(st.lists(st.floats(0.25, 4), min_size=size, max_size=size))
    start = draw(st.floats(-10, 10))
    return tuple(start - sum(gaps[:k]) for k in range(size + 1))


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@given(data=st.data())
def test_polynomials_of_its_degree_are_forecast_exactly(degree: int, data: st.DataObject) -> None:
    at, *nodes = data.draw(clocks(degree + 1))
    coefficients = torch.tensor(
        data.draw(st.lists(st.floats(-3, 3), min_size=3 * degree + 3, max_size=3 * degree + 3)), dtype=torch.float64
    ).reshape(degree + 1, 3)

    def polynomial(t: float) -> torch.Tensor:
        return sum(c * (t - nodes[0]) ** i for i, c in enumerate(coefficients))  # type: ignore[return-value]

    weights = Lagrange(degree).weights(Geometry(tuple(range(degree, -1, -1)), tuple(nodes)), Position.at(9, 20, at))
    known = torch.stack([polynomial(t) for t in nodes])
    bound = 1e-12 * (weights.abs() @ known.abs()) + 1e-12  # rounding of every term
    assert ((weights @ known - polynomial(at)).abs() <= bound).all()


@given(clocks(4))
def test_a_step_that_is_remembered_gets_weight_one(clock: tuple[float, ...]) -> None:
    nodes = clock[1:]
    geometry = Geometry((3, 2, 1, 0), nodes)
    for k, node in enumerate(nodes):
        weights = Lagrange(3).weights(geometry, Position.at(9, 20, node))
        assert weights.tolist() == [float(j == k) for j in range(4)]


def test_degree_zero_is_reuse() -> None:
    geometry, at = Geometry((8, 4, 0), (8.0, 4.0, 0.0)), Position.at(11, 20)
    assert torch.equal(Lagrange(0).weights(geometry, at), Reuse().weights(geometry, at))


def test_with_few_residuals_the_degree_is_lower() -> None:
    at = Position.at(11, 20)
    one, two = Geometry((8,), (8.0,)), Geometry((8, 4), (8.0, 4.0))
    assert torch.equal(Lagrange(3).weights(one, at), Lagrange(0).weights(one, at))
    assert torch.equal(Lagrange(3).weights(two, at), Lagrange(1).weights(two, at))


def test_a_longer_horizon_extrapolates_further() -> None:
    geometry = Geometry((8, 4), (8.0, 4.0))
    newest = [float(Lagrange(1).weights(geometry, Position.at(i, 20))[0]) for i in range(9, 14)]
    assert all(later - earlier == pytest.approx(0.25) for earlier, later in pairwise(newest))


def test_a_negative_degree_is_refused() -> None:
    with pytest.raises(InvalidOption, match="degree=-1"):
        Lagrange(-1)
