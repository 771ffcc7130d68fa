"""HiCache's series against its recursion, written out in numbers."""

from __future__ import annotations

import pytest
import torch

from padecast import Geometry, Position
from padecast.forecasters import Hermite, Taylor
from padecast.forecasters.hermite import hermite


def forecast(order: int, values: list[float], times: list[float], ahead: float, scale: float = 0.5) -> float:
    """The forecast of a sequence of numbers given oldest first."""
    index = tuple(int(t) for t in reversed(times))
    geometry = Geometry(index, tuple(reversed(times)))
    weights = Hermite(order, scale).weights(geometry, Position.at(int(times[-1] + ahead), 40, times[-1] + ahead))
    return float(weights @ torch.tensor(values[::-1], dtype=torch.float64))


def test_the_polynomials_are_the_physicists() -> None:
    x = 0.3
    assert hermite(x, 5) == pytest.approx([1, 2 * x, 4 * x**2 - 2, 8 * x**3 - 12 * x, 16 * x**4 - 48 * x**2 + 12])
    assert hermite(x, 1) == [1.0]


def test_second_order_by_hand() -> None:
    """Differences 4 apart: D1 = (9 - 5) / 4 = 1, before it (5 - 3) / 4 = 0.5, D2 = 0.125; k = 2, sigma k = 1."""
    expected = 9 + 1.0 * 0.5 * (2 * 1.0) + 0.125 * 0.25 * (4 * 1.0 - 2) / 2
    assert forecast(2, [3.0, 5.0, 9.0], [0.0, 4.0, 8.0], 2.0) == pytest.approx(expected)


def test_a_line_is_forecast_ahead_of_the_newest_and_behind_the_line() -> None:
    """The contraction is the method's own: 2 sigma^2 of the way. Evaluated at -k it would lie behind."""
    line = [1.0 * t for t in (0, 4, 8)]
    for ahead in (1.0, 2.0, 3.0):
        assert forecast(1, line, [0.0, 4.0, 8.0], ahead) == pytest.approx(8 + 0.5 * ahead)


def test_the_distance_counts_in_steps_not_in_intervals() -> None:
    """On the same line, computed half as often, the same step is forecast alike."""
    assert forecast(1, [0.0, 4.0, 8.0], [0.0, 4.0, 8.0], 2.0) == pytest.approx(
        forecast(1, [4.0, 6.0, 8.0], [4.0, 6.0, 8.0], 2.0)
    )


def test_the_scale_at_which_the_first_order_is_taylors() -> None:
    geometry, at = Geometry((8, 4), (8.0, 4.0)), Position.at(11, 20)
    ours = Hermite(1, 0.5**0.5).weights(geometry, at)
    torch.testing.assert_close(ours, Taylor(1).weights(geometry, at))
