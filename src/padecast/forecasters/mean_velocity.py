"""MeanCache's predictor: the average velocity of the way ahead, from that of the way behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, register


@register("mean-velocity")
@dataclass(frozen=True)
class MeanVelocity(Forecaster):
    r"""The average velocity of each step, by the slope between the two newest computed ones.

    From a computed step t to a place s the average velocity is ``u(t, s) = v_t + (s - t) J``, with the slope of
    the average velocity taken from the way behind,

    .. math:: J = \frac{u(r, t) - v_r}{t - r} = \frac{v_t - v_r}{2 (t - r)}, \qquad u(r, t) = \frac{v_r + v_t}{2}

    so that the step from a to b, whose share of the way is ``((b - t) u(t, b) - (a - t) u(t, a)) / (b - a)``, gets

    .. math:: v_t + (a + b - 2 t) J

    which is the line through both computed steps at the step's middle. Times are how far the sampler has moved the
    state; step indices where no noise level is known.

    Returns:
        ``(K,)`` weights that sum to one.

    Example:
        >>> MeanVelocity().weights(Geometry((2, 0), (2.0, 0.0)), Position.at(3, 8)).tolist()
        [1.75, -0.75]

    Note:
        Published is one step over the whole interval. Here the sampler's own steps stay, and each gets its part of
        it; the computed step itself keeps what was computed. ``r`` is the computed step before.

    Reference:
        Gao et al., "MeanCache: From Instantaneous to Average Velocity for Accelerating Flow Matching Inference",
        arXiv:2601.19961. The identity is that of MeanFlow, Geng et al., arXiv:2505.13447.
    """

    window = 2
    needs_stride: ClassVar[bool] = True

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        weights = torch.zeros(len(geometry), dtype=torch.float64)
        weights[0] = 1
        if len(geometry) > 1:
            newest, before = geometry.index[:2]
            behind = _way(at, before, newest)
            ahead = _way(at, newest, at.index) + at.weight_of(at.index) / 2
            share = ahead / behind if behind > 0 else 0.0
            weights[0], weights[1] = 1 + share, -share
        return weights


def _way(at: Position, begin: int, end: int) -> float:
    """Return how far the sampler moves the state from one step to another."""
    return sum(at.weight_of(index) for index in range(begin, end))
