"""FoCa against the formulas it is made of."""

from __future__ import annotations

import pytest
import torch

from padecast import Geometry, Position
from padecast.forecasters import FoCa
from padecast.forecasters.lagrange import lagrange_basis, lagrange_slope

TIMES = (8.0, 4.0, 1.0)


def forecast(values: list[float], ahead: float, corrected: bool = True, times: tuple[float, ...] = TIMES) -> float:
    """The forecast of numbers given newest first."""
    geometry = Geometry(tuple(int(t) for t in times), times)
    at = Position.at(int(times[0] + ahead), 40, times[0] + ahead)
    return float(FoCa(corrected).weights(geometry, at) @ torch.tensor(values, dtype=torch.float64))


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("ahead", [1.0, 2.0, 4.0, 7.0])
def test_a_line_is_exact_whatever_the_spacing(corrected: bool, ahead: float) -> None:
    assert forecast([2 - 3 * t for t in TIMES], ahead, corrected) == pytest.approx(2 - 3 * (8 + ahead))


def test_for_equal_steps_it_is_the_printed_formula() -> None:
    """4/3 R1 - 1/3 R2 + 2h/3 R'1, with the slope of the parabola 1, 3, 9 at 0, 2, 4: (3 * 9 - 4 * 3 + 1) / 4 = 4."""
    predicted = 4 / 3 * 9 - 1 / 3 * 3 + 2 * 2 / 3 * 4.0
    assert forecast([9.0, 3.0, 1.0], 2.0, corrected=False, times=(4.0, 2.0, 0.0)) == pytest.approx(predicted)


def test_heuns_rule_averages_the_slopes_at_both_ends() -> None:
    """The slope at the forecast is that of the parabola through it and the two newest."""
    values, ahead = [9.0, 3.0, 1.0], 2.0
    predicted = forecast(values, ahead, corrected=False, times=(4.0, 2.0, 0.0))
    arrival = (3 * predicted - 4 * 9.0 + 3.0) / 4
    assert forecast(values, ahead, times=(4.0, 2.0, 0.0)) == pytest.approx(9 + 2 / 2 * (4.0 + arrival))


def test_on_a_curve_the_correction_brings_it_nearer() -> None:
    def error(corrected: bool) -> float:
        found = forecast([torch.tensor(-t / 6).exp().item() for t in TIMES], 2.0, corrected)
        return abs(found - torch.tensor(-10 / 6).exp().item())

    assert error(True) < error(False)


def test_slopes_are_those_of_the_polynomial_through_the_nodes() -> None:
    nodes, at, step = (5.0, 3.0, 2.0, -1.0), 4.2, 1e-6
    numeric = (lagrange_basis(nodes, at + step) - lagrange_basis(nodes, at - step)) / (2 * step)
    torch.testing.assert_close(lagrange_slope(nodes, at), numeric, rtol=1e-6, atol=1e-7)
    assert lagrange_slope((3.0,), 9.0).tolist() == [0.0]
