"""What a lesson says of forecasts: how far they would have been from what its runs had, and which to take."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from padecast._geometry import Geometry
from padecast._noise import Noise
from padecast._steps import Position
from padecast.forecasters import Forecaster, TCPade
from padecast.lessons.cost import Array
from padecast.memory.arithmetic import pad

LINE = TCPade(order=(1, 0), damping=0.0, feedback=0.0, hindsight=False)
"""Linear extrapolation over the noise that there is to see, undamped."""
ENOUGH = 0.95
"""Share of the damped forecasts' error that a line's has to stay below: of a gain that is smaller, none is left."""


def measure_error(gram: Array, noise: Noise, steps: tuple[int, ...], forecaster: Forecaster) -> float:
    r"""Return how far the forecasts of a plan are from what uncached runs had there.

    .. math:: e = \sqrt{\text{mean}_{s, j}\;
              (G_{jj} - 2 \sum_k w_k G_{jk} + \sum_{k, l} w_k w_l G_{kl}) / G_{jj}}

    over samples s and forecast steps j, with the forecaster's weights on the computed steps before j.

    Args:
        gram: ``(S, T, T)`` matrices of S samples at the run's levels.
        noise: Of the run's grid.
        steps: Computed steps, rising, the first step among them.
        forecaster: Weights on residuals.

    Returns:
        The root mean square, relative; 0 where nothing is forecast.

    Example:
        >>> from padecast.lessons.analytic import make_look
        >>> look = make_look(steps=8)
        >>> round(measure_error(look.singles, look.noise, (0, 1, 2, 5), LINE), 2)
        0.24
    """
    inner, total = torch.from_numpy(gram), gram.shape[1]
    squares = [torch.zeros(0, dtype=torch.float64)]
    for step in sorted({*range(total)} - {*steps}):
        known = [index for index in reversed(steps) if index < step][: forecaster.window]
        products, cross = inner[:, known][:, :, known], inner[:, step, known]
        geometry = Geometry(tuple(known), tuple(map(float, known)), products, batch=len(inner))
        weights = pad(forecaster.weights(geometry, Position.at(step, total, noise=noise)), len(known))
        weights = weights.double().expand(len(inner), -1)
        size = inner[:, step, step]
        square = size - 2 * (weights * cross).sum(1) + torch.einsum("sj,sjk,sk->s", weights, products, weights)
        squares.append(square.clamp_min(0) / size.clamp_min(LEAST))
    joined = torch.cat(squares)
    return math.sqrt(float(joined.mean())) if len(joined) else 0.0


LEAST = 1e-30


def choose_forecaster(gram: Array, noise: Noise, steps: tuple[int, ...], damped: TCPade) -> TCPade:
    """Return the line where it would have been nearer to what the lesson's runs had, else the damped forecaster.

    Damping guards against runs that turn; whether a model's do, its lesson knows.

    Args:
        gram: ``(S, T, T)`` matrices of S samples at the run's levels.
        noise: Of the run's grid.
        steps: Computed steps, rising.
        damped: The forecaster of a method.

    Example:
        >>> from padecast.lessons.analytic import make_look
        >>> look = make_look(steps=8)
        >>> choose_forecaster(look.singles, look.noise, (0, 1, 2, 5), TCPade(damping=16.0)) == LINE
        True
    """
    plain = measure_error(gram, noise, steps, replace(damped, feedback=0.0))
    return LINE if measure_error(gram, noise, steps, LINE) < ENOUGH * plain else damped
