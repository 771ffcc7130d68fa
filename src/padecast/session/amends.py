"""Pays back, at the computed step behind a stretch of forecasts, what these are then known to have got wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from padecast._geometry import Geometry
from padecast.forecasters import Forecaster, TCPade
from padecast.forecasters.feedback import Feedback
from padecast.forecasters.lagrange import lagrange_basis
from padecast.session.grid import Grid
from padecast.session.record import Record

NODES = 3
"""Computed outputs that are interpolated: the newest, which ends a stretch, and those before it."""
Place = tuple[int, int]
"""Step and stage of an evaluation."""


class Amends:
    r"""What a computed output is handed on with, so that the latents go on from where they should be.

    At a computed step s the outputs of the forecast steps j before it lie between known ones. Interpolation tells how
    far the forecasts have moved the latents astray, and the sampler is given

    .. math:: \hat v_s = v_s - \frac{1}{F_s} \sum_j F_j \Big( \sum_k w_{jk} v_k - \tilde v_j \Big), \qquad
              \tilde v_j = (1 - \beta) v_1 + \beta \sum_k \ell_k(t_j) v_k, \qquad \beta = \frac{n}{n + m}

    with F what an output does to the final latents in the sampler's own arithmetic, w the weights of the forecasts, and
    the polynomial, its abscissae and its share of :class:`padecast.hooks.retrace.Retrace`. For Euler's method F is the
    stride, and the latents behind the step are those of a retraced run, but for rounding. It is for samplers whose
    steps cannot be taken again. What is remembered is :math:`v_s` itself.

    Args:
        effects: F of every evaluation.
        total: n, steps of the run.

    Reference:
        Ours. It is a deferred correction: Dutt, Greengard and Rokhlin, BIT 40(2), 2000.
    """

    def __init__(self, effects: Mapping[Place, float], total: int) -> None:
        self._effects, self._total = effects, total

    def weights(self, records: Sequence[Record], name: str, stage: int, geometry: Geometry) -> Tensor | None:
        """Return ``(K,)`` or ``(B, K)`` weights on what a branch remembers, newest first, that are added to its output.

        Args:
            records: Of the run, the last of the computed step.
            name: Of the branch.
            stage: Of the evaluation.
            geometry: Of what it remembers, the computed step included.

        Returns:
            Nothing where there was no stretch, or where not all that it was forecast of is remembered.
        """
        index = geometry.index
        at = records[-1].at
        if len(index) < 2 or index[0] != at.index:
            return None
        stretch = [record for record in records if index[1] < record.at.index < index[0]]
        effect = self._effects.get((at.index, stage), 0.0)
        if not stretch or not effect or any(name not in record.weights for record in stretch):
            return None
        times = None if at.noise is None else at.noise.roots
        places = [float(step) if times is None else times[step] for step in range(self._total)]
        nodes = tuple(places[step] for step in index[:NODES])
        share = self._total / (self._total + len(stretch) + 1)
        debt = torch.zeros(len(index), dtype=torch.float64)
        for record in stretch:
            moved = self._effects.get((record.at.index, stage), 0.0)
            forecast = _arrange(record.weights[name], record.geometry[name].index, index)
            if forecast is None:
                return None
            between = torch.zeros(len(index), dtype=torch.float64)
            between[: len(nodes)] = share * lagrange_basis(nodes, places[record.at.index])
            between[1] += 1 - share
            debt = debt + moved * (forecast - between)
        return -debt / effect


def effects_of(grid: Grid | None, strides: Sequence[float] | None, total: int) -> dict[Place, float]:
    """Return what every evaluation does to the final latents: as a rehearsal has measured, or as by Euler's method.

    Args:
        grid: Of the run.
        strides: Of its steps; equal unless given.
        total: Its steps.

    Example:
        >>> effects_of(None, (0.75, 0.25), 2)
        {(0, 0): 0.75, (1, 0): 0.25}
    """
    if grid is not None and grid.effects:
        return {(call.step, call.stage): effect for call, effect in zip(grid.evaluations, grid.effects, strict=True)}
    return {(step, 0): stride for step, stride in enumerate(strides or [1.0] * total)}


def without_feedback(forecaster: Forecaster) -> Forecaster:
    """Return a forecaster that pays nothing back, since computed steps do: twice would be too much.

    Example:
        >>> without_feedback(TCPade()).feedback
        0.0
    """
    if isinstance(forecaster, Feedback):
        return forecaster.inner
    if isinstance(forecaster, TCPade) and forecaster.form == "damped":
        return replace(forecaster, feedback=0.0)
    return forecaster


def _arrange(weights: Tensor, before: Sequence[int], index: Sequence[int]) -> Tensor | None:
    """Return weights on the residuals of earlier as weights on those of now; nothing if one is no more there."""
    weights = weights.double().cpu()
    result = torch.zeros((*weights.shape[:-1], len(index)), dtype=torch.float64)
    for place, step in enumerate(before[: weights.shape[-1]]):
        if step in index:
            result[..., index.index(step)] = weights[..., place]
        elif bool(weights[..., place].any()):
            return None
    return result
