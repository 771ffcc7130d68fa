"""An analytic process whose inner products are known everywhere, for examples and tests."""

from __future__ import annotations

import numpy as np

from padecast._noise import Noise
from padecast.lessons.interpolation import place
from padecast.lessons.look import GUIDED, SINGLES, Array, Look, digest_of


def make_noise(steps: int, shift: float = 1.0, size: float = 1024.0) -> Noise:
    """Return the noise of rectified flow at so many steps."""
    sigmas = np.append(np.linspace(1.0, 1.0 / steps, steps), 0.0)
    sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)
    return Noise(tuple((1 - sigmas).tolist()), tuple(sigmas.tolist()), size, tuple(sigmas[:-1].tolist()))


def make_features(noise: Noise, dimensions: int = 24, seed: int = 0) -> Array:
    """Return what steps add, ``(T, m)``: smooth functions of the log-SNR, each a sum of a few waves."""
    generator = np.random.default_rng(seed)
    frequencies, phases = generator.uniform(0.1, 0.9, dimensions), generator.uniform(0, 2 * np.pi, dimensions)
    amplitudes = generator.normal(size=dimensions) / (1 + np.arange(dimensions)) ** 0.5
    result: Array = amplitudes * np.cos(np.outer(place(noise.levels[:-1]), frequencies) + phases)
    return result


def make_look(steps: int = 20, shift: float = 1.0, size: float = 1024.0, samples: int = 2, seed: int = 0) -> Look:
    """Return a look at an analytic process.

    Args:
        steps: Of the run.
        shift: Of its schedule.
        size: Numbers of a sample's latents.
        samples: Of one run.
        seed: Of the first sample.
    """
    noise = make_noise(steps, shift, size)
    rows = [make_features(noise, seed=seed + sample) for sample in range(samples)]
    singles = np.stack([row @ row.T for row in rows]) / rows[0].shape[1]
    timesteps, grams = tuple(1000 * s for s in noise.sigmas[:-1]), {GUIDED: singles.sum(0)}
    return Look(noise, timesteps, grams, singles[:SINGLES], samples, 1, (digest_of(singles),))
