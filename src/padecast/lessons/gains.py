"""What an error of each step was seen to do to the image, and what that says of runs with other noise levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from padecast._noise import Noise
from padecast.lessons.cost import Array, gains_of

LEAST = 1e-9
"""Strides below it are none."""


@dataclass(frozen=True)
class Gains:
    r"""Measured gains of a run's steps, on the axis of noise levels.

    .. math:: g_i = \frac{\lVert \Delta x_T \rVert}{\lVert \Delta v_i \rVert}

    with an error :math:`\Delta v_i` of what the sampler is given at step i, and what it leaves in the final latents.
    Other step counts and shifts read the ratio to their strides, :func:`padecast.lessons.cost.gains_of` with power 1.

    Args:
        levels: ``(T,)`` effective noise levels of the steps, falling.
        values: ``(T,)`` the gains.
        ratios: ``(T,)`` their ratios to the strides of the same grid.

    Example:
        >>> from padecast.lessons.analytic import make_noise
        >>> from padecast.lessons.cost import gains_of
        >>> noise = make_noise(4)
        >>> gains = Gains.between(noise, {step: 2 * gains_of(noise, 1.0)[step] for step in (1, 3)})
        >>> np.round(gains.ratios, 3).tolist(), bool(np.ptp(gains.at(noise) / gains_of(noise, 1.0)) < 1e-12)
        ([2.0, 2.0, 2.0, 2.0], True)
    """

    levels: tuple[float, ...]
    values: tuple[float, ...]
    ratios: tuple[float, ...]

    @classmethod
    def between(cls, noise: Noise, measured: Mapping[int, float]) -> Gains:
        """Return the gains of all steps from those of a few.

        Between them, the logarithm of the ratio to the stride is linear in the root of the noise level; beyond them,
        the ratio is that of the nearest.

        Args:
            noise: Of the run's grid, whose levels fall.
            measured: Gains above 0, by step.
        """
        law = _strides(noise)
        steps = [step for step in sorted(measured) if law[step] > LEAST]
        logs = [float(np.log(measured[step] / law[step])) for step in steps]
        ratios = np.exp(_interpolate(noise.levels[:-1], [noise.levels[step] for step in steps], logs))
        return cls(noise.levels[:-1], tuple((ratios * law).tolist()), tuple(ratios.tolist()))

    def at(self, noise: Noise) -> Array:
        """Return the gains ``(N,)`` at another grid, on the scale of ``gains_of``.

        The scale is that at which ratios to ``gains_of`` have a geometric mean of 1 where they were measured: the
        constants of expected decibels belong to it.

        Args:
            noise: Of a grid of N steps.
        """
        logs, strides = np.log(self.ratios), _strides(noise)
        moves = strides > LEAST
        scale = np.log(gains_of(noise)[moves] / strides[moves]).mean() - logs.mean()
        result: Array = strides * np.exp(_interpolate(noise.levels[:-1], self.levels, logs + scale))
        return result

    def __str__(self) -> str:
        """Say where they were measured."""
        return f"gains measured at {len(self.levels)} steps, noise levels {self.levels[0]:.2g} to {self.levels[-1]:.2g}"


def _strides(noise: Noise) -> Array:
    """Return how far each step moves; where a level is evaluated twice, the last of a run may move nothing."""
    result: Array = np.maximum(gains_of(noise, 1.0), LEAST)
    return result


def _interpolate(levels: Sequence[float], nodes: Sequence[float], values: Sequence[float] | Array) -> Array:
    """Return values between nodes, which fall, linear in the roots of levels."""
    result: Array = np.interp(np.sqrt(levels), np.sqrt(nodes[::-1]), values[::-1])
    return result
