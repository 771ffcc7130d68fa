"""Weights that were fitted, and average velocities: what they are exact for."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from padecast import Geometry, InvalidOption, Position
from padecast.forecasters import L2P, Lagrange, MeanVelocity

TOTAL = 12


def gram(walk: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, (walk @ walk.T / walk.shape[1]).tolist()))


def at(index: int, strides: tuple[float, ...] | None = None) -> Position:
    return Position.at(index, TOTAL, strides=strides)


def walk(size: int = 40, seed: int = 0) -> Tensor:
    return torch.randn(TOTAL, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).cumsum(0)


def test_l2p_is_least_squares_on_what_it_was_fitted_on() -> None:
    features, steps, index = walk(), [7, 4, 2, 0], 9
    weights = L2P(gram(features), ridge=0.0).weights(Geometry((7, 4, 2, 0), (7.0, 4.0, 2.0, 0.0)), at(index))
    best = torch.linalg.lstsq(features[steps].T, features[index][:, None]).solution[:, 0]
    torch.testing.assert_close(weights, best)


def test_a_large_ridge_repeats_and_a_small_one_extrapolates_ahead() -> None:
    features = torch.stack([torch.ones(TOTAL), torch.arange(float(TOTAL))], dim=1).double()  # R_i = (1, i)
    geometry = Geometry((6, 3), (6.0, 3.0))
    fitted = {ridge: L2P(gram(features), ridge=ridge).weights(geometry, at(8)) for ridge in (0.0, 1e6)}
    torch.testing.assert_close(fitted[0.0], Lagrange(1).weights(geometry, at(8)))
    torch.testing.assert_close(fitted[1e6], torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-4, rtol=0)


def test_a_run_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidOption, match="fitted on runs of 12"):
        L2P(gram(walk())).weights(Geometry((1,), (1.0,)), Position.at(2, 20))


@pytest.mark.parametrize(
    ("options", "word"),
    [({"ridge": -1.0}, "ridge"), ({"gram": ((1.0, 0.0),)}, "gram"), ({"gram": ((float("nan"),),)}, "gram")],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidOption, match=word):
        L2P(**options)  # type: ignore[arg-type]


def test_a_velocity_that_is_straight_over_the_way_is_averaged_exactly() -> None:
    strides = tuple(0.5 ** (k / 4) for k in range(TOTAL))  # steps of unequal length
    strides = tuple(s / sum(strides) for s in strides)
    way = torch.tensor([0.0, *strides], dtype=torch.float64).cumsum(0)
    begin, middle = 2 - 3 * way[:-1], 2 - 3 * (way[1:] + way[:-1]) / 2
    for index in (6, 8):
        weights = MeanVelocity().weights(Geometry((5, 2), (5.0, 2.0)), at(index, strides))
        assert float(weights @ begin[[5, 2]]) == pytest.approx(float(middle[index]), abs=1e-12)


def test_it_is_the_mean_of_the_line_over_the_step_and_lies_ahead() -> None:
    geometry = Geometry((5, 3), (5.0, 3.0))
    weights = MeanVelocity().weights(geometry, at(7))
    ends = [Lagrange(1).weights(geometry, dataclasses.replace(at(7), time=time)) for time in (7.0, 8.0)]
    torch.testing.assert_close(weights, torch.stack(ends).mean(0))
    assert weights[0] > 1


def test_one_computed_step_is_repeated() -> None:
    assert MeanVelocity().weights(Geometry((0,), (0.0,)), at(3)).tolist() == [1.0]
