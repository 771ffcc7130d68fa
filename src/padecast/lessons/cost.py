"""What a plan leaves wrong in the image, to first order, where stretches of forecast steps are gone through again."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from padecast._noise import Noise

Array = NDArray[np.float64]
GAIN_ORIGIN = 500.0
"""Numbers of a latent from which on errors at the start count as those of a larger latent."""


def gains_of(noise: Noise, power: float = 0.0) -> Array:
    r"""Return what an error of each step's output does to the final image, up to a constant.

    .. math:: g_i = \gamma_i \left( \frac{\ell_i - \ell_{i+1}}{\ell_i} \right)^{p},
              \qquad \ell_i = \frac{\sigma_i}{\sigma_i + \kappa \alpha_i}, \quad \kappa = \sqrt{1 + D / 500}

    The first factor turns an error of the output into one of the clean image that it says (sigma, for velocities), and
    the second is the share of the noise that the step takes away. With p = 1 and a small latent g is the sampler's
    stride. With p = 0, the default, errors of the clean image count alike at all steps, which is what published
    measurements on FLUX have, needs no constant, and ranks plans best on matched scenes and on scenes as FLUX.

    Args:
        noise: Of the run's grid.
        power: p, 0 to 1.

    Returns:
        ``(T,)``.
    """
    levels = np.asarray(noise.effective(math.sqrt(1 + noise.size / GAIN_ORIGIN)))
    share = np.clip(levels[:-1] - levels[1:], 0.0, None) / np.maximum(levels[:-1], 1e-30)
    turned = np.asarray(noise.gains or noise.sigmas[:-1])
    result: Array = turned * share**power
    return result


class Stretches:
    """Errors that stretches between computed steps leave, as mixtures of what the steps added.

    Args:
        gram: ``(S, T, T)`` matrices of S samples.
        noise: Of the grid.
        gains: ``(T,)`` see :func:`gains_of`.
        damping: Of the forecasts behind the last computed step, see :class:`padecast.forecasters.TCPade`.
    """

    def __init__(self, gram: Array, noise: Noise, gains: Array, damping: float = 16.0) -> None:
        self.gram, self.gains, self.total, self._damping = gram, gains, len(gains), damping
        places = noise.roots
        self._places = np.arange(self.total, dtype=np.float64) if places is None else np.asarray(places)
        times = noise.abscissae
        self._times = np.arange(self.total, dtype=np.float64) if times is None else np.asarray(times)
        self._inner: dict[tuple[int, ...], Array] = {}
        self._outer: dict[tuple[int, ...], Array] = {}

    def between(self, before: int, first: int, last: int) -> Array:
        r"""Return ``(T,)`` the error of the steps between two computed ones, by retracing.

        .. math:: \sum_{j} g_j \left( (1 - \beta) e_\text{first} + \beta \sum_k \ell_k(t_j) e_k - e_j \right)

        as :class:`padecast.hooks.retrace.Retrace` has it.

        Args:
            before: The computed step before ``first``; -1 if there is none.
            first: The computed step that begins the stretch.
            last: The computed step that ends it.
        """
        key = (before, first, last)
        error = self._inner.get(key)
        if error is None:
            error = np.zeros(self.total)
            nodes = [last, first, before][: 2 + (before >= 0)]
            share = self.total / (self.total + last - first)
            steps = np.arange(first + 1, last)
            if len(steps):
                basis = _lagrange(self._places[nodes], self._places[steps]) * share
                basis[:, 1] += 1 - share
                error[nodes] = self.gains[steps] @ basis
                error[steps] -= self.gains[steps]
            self._inner[key] = error
        return error

    def after(self, history: tuple[int, ...]) -> Array:
        """Return ``(S, T)`` the error of the steps behind the last computed one, by damped extrapolation.

        Args:
            history: The newest computed steps, newest first, three at most.
        """
        error = self._outer.get(history)
        if error is None:
            error = np.zeros((len(self.gram), self.total))
            steps = np.arange(history[0] + 1, self.total)
            if len(steps):
                error[:, steps] -= self.gains[steps]
                error[:, history[0]] += self.gains[steps].sum()
                if len(history) > 1:
                    newest, second = history[:2]
                    drawn = (self._times[steps] - self._times[newest]) / (self._times[newest] - self._times[second])
                    change = self._trust(history) * float(self.gains[steps] @ drawn)
                    error[:, newest] += change
                    error[:, second] -= change
            self._outer[history] = error
        return error

    def _trust(self, history: tuple[int, ...]) -> Array:
        """Return ``(S,)`` how far a line is trusted: damping and hindsight, as TC-Padé has them."""
        newest, second = history[:2]
        square = self._square({newest: 1.0, second: -1.0})
        trust: Array = np.exp(
            -self._damping * np.sqrt(square / np.maximum(self._square({newest: 1.0, second: 1.0}), 1e-300))
        )
        if len(history) > 2:
            third = history[2]
            pace = (self._times[newest] - self._times[second]) / (self._times[second] - self._times[third])
            wrong = self._square({newest: 1.0, second: -1.0 - pace, third: pace})
            trust = trust * np.minimum(1.0, square / np.maximum(wrong, 1e-300))
        return trust

    def _square(self, weights: dict[int, float]) -> Array:
        steps, values = list(weights), np.asarray(list(weights.values()))
        inner = self.gram[:, steps][:, :, steps]
        result: Array = np.clip(np.einsum("j,sjk,k->s", values, inner, values), 0.0, None)
        return result


def _lagrange(nodes: Array, places: Array) -> Array:
    """Return ``(N, K)`` Lagrange's weights at places."""
    basis = np.ones((len(places), len(nodes)))
    for k, node in enumerate(nodes):
        for j, other in enumerate(nodes):
            if j != k:
                basis[:, k] *= (places - other) / (node - other)
    return basis
