from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, InvalidOption, Position
from padecast.forecasters import Lagrange, Pade

NODES = {0: [0, 3], 1: [0, 3, 4], 2: [0, 2, 3, 6]}


def rational(degree: int, slope: float, times: list[int], seed: int, size: int = 6) -> Tensor:
    """``p(t) / (1 + slope (t - newest))`` with a random vector polynomial p, at the times and 2 steps later."""
    draws = torch.randn(degree + 1, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    t = torch.tensor([*times, times[-1] + 2], dtype=torch.float64)[:, None] - times[-1]
    return sum(c * (t / 3) ** i for i, c in enumerate(draws)) / (1 + slope * t)  # type: ignore[return-value]


def forecast(pade: Pade, known: Tensor, times: list[int]) -> Tensor:
    weights = pade.weights(Geometry.of(known, times), Position.at(times[-1] + 2, 20))
    return (weights @ known.flip(0)).squeeze(0)


@pytest.mark.parametrize("degree", [0, 1, 2])
@given(st.floats(-0.15, 0.15), st.integers(0, 999))
def test_rational_sequences_are_forecast_exactly(degree: int, slope: float, seed: int) -> None:
    times = NODES[degree]
    sequence = rational(degree, slope, times, seed)
    out = forecast(Pade((degree, 1), guard=20.0), sequence[:-1], times)
    # 1e-6: inner products square the condition of the divided differences
    torch.testing.assert_close(out, sequence[-1], rtol=1e-6, atol=1e-6)


def test_a_line_through_the_same_residuals_misses_a_hyperbola() -> None:
    sequence = rational(1, 0.1, NODES[1], seed=0)
    missed = forecast(Pade((1, 0)), sequence[:-1], NODES[1]) - sequence[-1]
    assert missed.abs().max() > 0.01


@pytest.mark.parametrize("degree", [1, 2])
def test_on_polynomials_it_is_lagrange(degree: int) -> None:
    times = NODES[degree]
    geometry = Geometry.of(rational(degree, 0.0, times, seed=1)[:-1], times)
    at = Position.at(times[-1] + 2, 20)
    weights = Pade((degree, 1)).weights(geometry, at)
    torch.testing.assert_close(weights[0], Lagrange(degree).weights(geometry, at), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pade", [Pade((1, 1), guard=1.0), Pade((1, 0)), Pade((1, 0), guard=50.0)])
def test_without_a_denominator_or_without_room_for_one_it_is_lagrange(pade: Pade) -> None:
    geometry, at = Geometry.of(rational(1, 0.1, NODES[1], seed=2)[:-1], NODES[1]), Position.at(6, 20)
    assert torch.equal(pade.weights(geometry, at).squeeze(0), Lagrange(1).weights(geometry, at))


def test_with_too_few_residuals_it_is_lagrange_of_a_lower_degree() -> None:
    sequence, at = rational(2, 0.1, NODES[2], seed=3), Position.at(9, 20)
    for count in (1, 2, 3):
        geometry = Geometry.of(sequence[:count], NODES[2][:count])
        assert torch.equal(Pade((2, 1)).weights(geometry, at), Lagrange(2).weights(geometry, at))


def test_a_sample_near_a_pole_falls_back_alone() -> None:
    tame, wild = rational(1, 0.05, [0, 1, 2], seed=4), rational(1, -0.45, [0, 1, 2], seed=5)  # pole 2.2 steps ahead
    geometry = Geometry.of(torch.stack([tame[:-1], wild[:-1]], dim=1), [0, 1, 2])
    at = Position.at(4, 20)
    guarded, free = Pade(guard=2.0).weights(geometry, at), Pade(guard=1e6).weights(geometry, at)
    line = Lagrange(1).weights(geometry, at)
    assert torch.equal(guarded[0], free[0]) and not torch.allclose(guarded[0], line)
    assert torch.equal(guarded[1], line) and not torch.allclose(free[1], line)


def test_a_denominator_that_grows_too_far_falls_back_too() -> None:
    sequence = rational(0, 0.3, [0, 1, 2], seed=6)
    geometry, at = Geometry.of(sequence[1:-1], [1, 2]), Position.at(7, 20)  # 0.7 and 1 at the residuals, 2.5 here
    line = Lagrange(0).weights(geometry, at)
    pade = Pade((0, 1), guard=2.0).weights(geometry, at), Pade((0, 1), guard=1e6).weights(geometry, at)
    assert torch.equal(pade[0][0], line) and not torch.allclose(pade[1][0], line)


def test_differences_below_the_resolution_of_inner_products_say_nothing_of_a_denominator() -> None:
    noise = torch.randn(3, 64, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    geometry, at = Geometry.of(1 + 1e-8 * noise, [0, 1, 3]), Position.at(4, 20)
    weights = Pade(guard=1e6).weights(geometry, at)
    assert torch.equal(weights, Lagrange(1).weights(geometry, at).expand(64, -1))


@given(st.integers(0, 9999), st.floats(1, 5), st.integers(1, 8))
def test_the_guard_bounds_every_weight(seed: int, guard: float, ahead: int) -> None:
    noise = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    geometry, at = Geometry.of(noise, [0, 1, 3]), Position.at(3 + ahead, 20)
    share = Pade(guard=guard).weights(geometry, at)[:, :2] / Lagrange(1).weights(geometry, at)[:2]
    assert (share >= guard**-2 * (1 - 1e-12)).all() and (share <= guard**2 * (1 + 1e-12)).all()


@pytest.mark.parametrize("order", [(-1, 1), (1, 2), (1,), (1, 1, 1), 2])
def test_an_order_that_is_not_there_is_refused(order: object) -> None:
    with pytest.raises(InvalidOption, match="order="):
        Pade(order)  # type: ignore[arg-type]
