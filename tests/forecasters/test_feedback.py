from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, InvalidOption, Position
from padecast.forecasters import Chebyshev, Feedback, Forecaster, Lagrange, Oracle, Pade, Reuse, TCPade

TOTAL = 16
STRIDES = tuple((i + 1) / 136 for i in range(TOTAL))  # as under a shifted schedule: short first, then long
INNERS = [Reuse(), Lagrange(1), Pade((1, 1), guard=50.0)]


def at(index: int) -> Position:
    return Position.at(index, TOTAL, strides=STRIDES)


def parabola(seed: int) -> Tensor:
    """A residual at every step that is quadratic in the step index, ``(TOTAL, 2, 4)``."""
    start, slope, bend = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    t = torch.arange(TOTAL, dtype=torch.float64)[:, None, None] / 8
    return 5 + start + slope * t + bend * t**2


def forecast(forecaster: Forecaster, residuals: Tensor, computed: list[int], index: int) -> Tensor:
    known = residuals[computed]
    weights = forecaster.weights(Geometry.of(known, computed), at(index)).expand(2, -1)
    return torch.einsum("bk,kbd->bd", weights, known.flip(0))


@pytest.mark.parametrize("inner", INNERS, ids=lambda inner: type(inner).__name__)
@given(st.integers(0, 99), st.floats(0.1, 2))
def test_the_next_forecast_pays_the_share_of_what_the_last_stretch_got_wrong(
    inner: Forecaster, seed: int, share: float
) -> None:
    residuals, computed, last = parabola(seed), [0, 3, 7], [4, 5, 6]
    # three residuals interpolate a parabola exactly, so that the debt is the true error of the state
    debt = sum(STRIDES[i] * (forecast(inner, residuals, computed[:-1], i) - residuals[i]) for i in last)
    feedback = Feedback(inner, share)
    paid = forecast(inner, residuals, computed, 8) - forecast(feedback, residuals, computed, 8)
    torch.testing.assert_close(STRIDES[8] * paid, share * debt)
    for index in (9, 10):
        assert torch.equal(forecast(feedback, residuals, computed, index), forecast(inner, residuals, computed, index))


def test_a_short_step_is_not_asked_to_pay_for_long_ones() -> None:
    residuals, computed = parabola(0), [6, 10, 14]
    geometry = Geometry.of(residuals[computed], computed)
    strides = (*(0.08,) * 15, 0.0001)
    plain, paying = (f.weights(geometry, Position.at(15, TOTAL, strides=strides)) for f in (Reuse(), Feedback(Reuse())))
    same = Feedback(Reuse()).weights(geometry, Position.at(15, TOTAL, strides=(0.08,) * 16))
    assert torch.equal(paying, same) and not torch.equal(paying, plain)


@pytest.mark.parametrize(
    ("computed", "index"),
    [
        ([4], 5),  # nothing was forecast yet
        ([3, 4], 5),  # nor between two neighbours
        ([0, 3, 4], 6),
        ([0, 3, 6], 8),  # the first forecast has paid
        ([0, 3, 6], 15),
    ],
)
@pytest.mark.parametrize("inner", INNERS, ids=lambda inner: type(inner).__name__)
def test_without_a_debt_it_is_the_inner_forecaster(inner: Forecaster, computed: list[int], index: int) -> None:
    residuals = parabola(1)
    plain = forecast(inner, residuals, computed, index)
    assert torch.equal(forecast(Feedback(inner, 1.0), residuals, computed, index), plain)
    assert torch.equal(
        forecast(Feedback(inner, 0.0), residuals, [0, 3, 6], 7), forecast(inner, residuals, [0, 3, 6], 7)
    )


def test_an_inner_forecaster_that_was_right_owes_nothing() -> None:
    line = torch.arange(TOTAL, dtype=torch.float64)[:, None, None].expand(-1, 2, 4)
    for index in (8, 9, 10):
        out = forecast(Feedback(Lagrange(1), 1.0), line, [0, 3, 7], index)
        torch.testing.assert_close(out, line[index])


def test_steps_that_do_not_move_the_state_cannot_pay() -> None:
    residuals, computed = parabola(2), [0, 3, 6]
    geometry, known = Geometry.of(residuals[computed], computed), (0.2,) * 7 + (0.0,) * 9
    weights = Feedback(Reuse(), 1.0).weights(geometry, Position.at(7, TOTAL, strides=known))
    assert weights.tolist() == [1, 0, 0]


def test_it_needs_what_its_inner_forecaster_needs_and_the_strides() -> None:
    assert Feedback(Pade()).needs_gram and not Feedback(Lagrange()).needs_gram
    assert Feedback(Reuse()).needs_stride and Feedback(Reuse()).window == 3 and Feedback(Lagrange(4)).window == 6
    assert Feedback(Reuse()).sums_to_one and not Feedback(Pade((0, 1))).sums_to_one


@pytest.mark.parametrize("inner", [Chebyshev(), Oracle(), TCPade(form="published"), "lagrange", None])
def test_an_inner_forecaster_that_is_not_weights_on_residuals_is_refused(inner: object) -> None:
    with pytest.raises(InvalidOption, match="inner="):
        Feedback(inner)  # type: ignore[arg-type]
