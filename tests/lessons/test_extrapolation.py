"""What a lesson says of forecasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters import Reuse
from padecast.lessons.analytic import make_features, make_look, make_noise
from padecast.lessons.cost import Array
from padecast.lessons.extrapolation import ENOUGH, LINE, choose_forecaster, measure_error
from padecast.methods import DAMPED

STEPS = (0, 1, 2, 4, 7, 11)
NOISE = make_noise(16)


def products(features: Array) -> Array:
    result: Array = (features @ features.T)[None] / features.shape[1]
    return result


def test_the_error_is_that_of_forecasts_made_of_the_features() -> None:
    features = make_features(NOISE)
    squares = []
    for step in sorted({*range(16)} - {*STEPS}):
        known = [index for index in reversed(STEPS) if index < step][: DAMPED.window]
        sequence = torch.from_numpy(features[known[::-1]])
        place = Position.at(step, 16, noise=NOISE)
        weights = DAMPED.weights(Geometry.of(sequence, known[::-1]), place).numpy()[0, : len(known)]
        square = np.square(weights @ features[known] - features[step]).sum()
        squares.append(square / np.square(features[step]).sum())
    error = measure_error(products(features), NOISE, STEPS, DAMPED)
    assert error == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)


def test_a_line_over_the_noise_is_forecast_exactly_by_the_line() -> None:
    assert NOISE.abscissae is not None
    gram = products(np.outer(NOISE.abscissae, [1.0, -2.0]) + np.asarray([3.0, 1.0]))
    assert measure_error(gram, NOISE, STEPS, LINE) == pytest.approx(0.0, abs=1e-6)
    assert measure_error(gram, NOISE, STEPS, Reuse()) > 1e-3
    assert choose_forecaster(gram, NOISE, STEPS, DAMPED) == LINE


def test_where_runs_turn_the_damped_forecaster_stays() -> None:
    turning = np.random.default_rng(0).normal(size=(16, 64))
    gram = products(turning)
    assert choose_forecaster(gram, NOISE, STEPS, DAMPED) == DAMPED
    assert measure_error(gram, NOISE, STEPS, LINE) > measure_error(gram, NOISE, STEPS, replace(DAMPED, feedback=0.0))


def test_a_gain_that_is_hardly_one_is_left() -> None:
    look = make_look(16)
    ratio = measure_error(look.singles, look.noise, STEPS, LINE) / measure_error(
        look.singles, look.noise, STEPS, replace(DAMPED, feedback=0.0)
    )
    assert (choose_forecaster(look.singles, look.noise, STEPS, DAMPED) == LINE) is (ratio < ENOUGH)


def test_where_nothing_is_forecast_nothing_is_wrong_and_nothing_is_changed() -> None:
    look = make_look(4)
    assert measure_error(look.singles, look.noise, (0, 1, 2, 3), LINE) == 0.0
    assert choose_forecaster(look.singles, look.noise, (0, 1, 2, 3), DAMPED) == DAMPED
