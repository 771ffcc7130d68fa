"""What a plan leaves wrong in the image, to first order, where stretches of forecast steps are gone through again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from padecast._errors import check
from padecast._noise import Noise
from padecast.forecasters import Forecaster, Reuse, TCPade
from padecast.methods import DAMPED

Array = NDArray[np.float64]
Steps = NDArray[np.int64]
MOST = 64 * 2**20
"""Bytes of stretches that are remembered, at most."""
GAIN_POWER = 0.5
LAWS = {"flux": (0.4806, 0.0641, 0.4783), "wan": (1.214, 0.2463, 3.832), "cogvideox": (2.185, 0.213, 3.449)}
"""Published gains of FLUX.1-dev, Wan2.1-T2V-1.3B and CogVideoX-2B over 50 steps: a, b and alpha of :func:`law_of`."""


def gains_of(noise: Noise, power: float = GAIN_POWER) -> Array:
    r"""Return what an error of each step's output does to the final image, up to a constant.

    .. math:: g_i = \gamma_i \left( \frac{\ell_i - \ell_{i+1}}{\ell_i} \right)^{p},
              \qquad \ell_i = \frac{\sigma_i}{\sigma_i + \alpha_i}

    The first factor turns an error of the output into one of the clean image that it says (sigma, for velocities), and
    the second is the share of the noise that the step takes away. With p = 1 g is the sampler's stride, what an error
    does if the model never notices; with p = 0 errors of the clean image count alike at all steps, as if the model
    took them up each time. The mean of both tells good plans from better ones: p was chosen on demo worlds, on seeds
    that no comparison has (benchmarks/learning/laws.py).

    Args:
        noise: Of the run's grid.
        power: p, 0 to 1. Default 0.5.

    Returns:
        ``(T,)``.
    """
    levels = np.asarray(noise.effective(1.0))
    after = levels[1:].copy()
    for index in range(len(after) - 2, -1, -1):  # a solver that evaluates twice at a level goes to the next other one
        after[index] = after[index + 1] if after[index] >= levels[index] else after[index]
    share = np.clip(levels[:-1] - after, 0.0, None) / np.maximum(levels[:-1], 1e-30)
    turned = np.asarray(noise.gains or noise.sigmas[:-1])
    result: Array = turned * share**power
    return result


def law_of(name: str, total: int) -> Array:
    r"""Return a published law of gains: what an error of one step's guided output leaves in the final latents.

    .. math:: g_k = a \left( \frac{T - 1 - k}{T - 1} \right)^{\alpha} + b

    Args:
        name: ``"flux"``, ``"wan"`` or ``"cogvideox"``.
        total: T, steps of the run, 1 or more.

    Returns:
        ``(T,)``, up to a constant: they were fitted over 50 steps, and fewer steps each do more.

    Raises:
        InvalidOption: If no law of that name is known.

    Example:
        >>> law_of("flux", 3).round(3).tolist()
        [0.545, 0.409, 0.064]

    Reference:
        arXiv 2609.36433, and github.com/yiming-l21/RA-CFGCache at 76359ee, which has the numbers.
    """
    check(name in LAWS, "gains", name, " or ".join(map(repr, LAWS)))
    a, b, alpha = LAWS[name]
    rest = np.linspace(1.0, 0.0, total) if total > 1 else np.ones(1)
    result: Array = a * rest**alpha + b
    return result


class Stretches:
    """Errors that stretches between computed steps leave, as mixtures of what the steps added.

    Plans share most of their stretches: each is worked out once, and known by a number from then on.

    Args:
        gram: ``(S, T, T)`` matrices of S samples.
        noise: Of the grid.
        gains: ``(T,)`` see :func:`gains_of`.
        forecaster: Of the steps behind the last computed one: a line as far as it is trusted, or repetition.
        multistep: Whether the solver is one, for which stretches are interpolated over noise levels, not their roots.
    """

    def __init__(
        self,
        gram: Array,
        noise: Noise,
        gains: Array,
        forecaster: Forecaster = DAMPED,
        multistep: bool = False,
    ) -> None:
        self.gram, self.gains, self.total, self._forecaster = gram, gains, len(gains), forecaster
        places = noise.abscissae if multistep else noise.roots
        self._places = np.arange(self.total, dtype=np.float64) if places is None else np.asarray(places)
        times = noise.abscissae
        self._times = np.arange(self.total, dtype=np.float64) if times is None else np.asarray(times)
        # One more than its number, for every triple of steps; pages that no stretch touches take no memory.
        self._numbers = np.zeros((self.total + 1) * self.total**2, dtype=np.int32)
        self._count = 0
        self._rows: Array = np.empty((256, self.total))
        self._squares: Array = np.empty((256, len(gram)))
        self._tails: dict[tuple[int, ...], tuple[Array, Array]] = {}

    def add_up(self, plans: Steps) -> tuple[Array, Array]:
        """Return what the stretches of plans leave together, and the sums of their squares.

        Args:
            plans: ``(N, n)`` computed steps, rising, of plans of one length.

        Returns:
            ``(N, T)`` sums of the stretches' errors, and ``(N, S)`` sums of their squares; behind the last computed
            step is not among them.
        """
        if plans.shape[1] < 2:
            return np.zeros((len(plans), self.total)), np.zeros((len(plans), len(self.gram)))
        before = np.concatenate([np.full((len(plans), 1), -1), plans[:, :-2]], axis=1)
        numbers = self._number(before, plans[:, :-1], plans[:, 1:])
        return self._rows[numbers].sum(1), self._squares[numbers].sum(1)

    def _number(self, before: Steps, first: Steps, last: Steps) -> Steps:
        """Return the numbers of stretches, and work out those that are new."""
        keys = ((before + 1) * self.total + first) * self.total + last
        numbers: Steps = self._numbers[keys] - 1
        fresh = np.unique(keys[numbers < 0])
        if not len(fresh):
            return numbers
        if 8 * self.total * (self._count + len(fresh)) > MOST:
            self._numbers[:], self._count = 0, 0
            fresh = np.unique(keys)
        end = self._count + len(fresh)
        while end > len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._squares = np.concatenate([self._squares, np.empty_like(self._squares)])
        rest, ends = np.divmod(fresh, self.total)
        origins, begins = np.divmod(rest, self.total)
        rows = self.between(origins - 1, begins, ends)
        self._rows[self._count : end], self._squares[self._count : end] = rows, square(rows, self.gram)
        self._numbers[fresh] = np.arange(self._count, end) + 1
        self._count = end
        numbers = self._numbers[keys] - 1
        return numbers

    def between(self, before: Steps, first: Steps, last: Steps) -> Array:
        r"""Return ``(N, T)`` the errors of the steps between two computed ones, by retracing.

        .. math:: \sum_{j} g_j \left( (1 - \beta) e_\text{first} + \beta \sum_k \ell_k(t_j) e_k - e_j \right)

        as :class:`padecast.hooks.retrace.Retrace` has it.

        Args:
            before: ``(N,)`` the computed steps before ``first``; -1 where there is none.
            first: ``(N,)`` the computed steps that begin the stretches.
            last: ``(N,)`` the computed steps that end them.
        """
        steps, stretches = np.arange(self.total), np.arange(len(first))
        inside = (steps > first[:, None]) & (steps < last[:, None])
        gains = np.where(inside, self.gains, 0.0)
        share = self.total / (self.total + last - first)
        ends = self._places[np.stack([last, first, before])]
        away = self._places - ends[..., None]
        # Without a step before, the line through both ends: its factors are 1.
        away[2, before < 0] = 1.0
        errors = -gains
        for node, others in enumerate(((1, 2), (0, 2), (0, 1))):
            weight = share * (gains * away[others[0]] * away[others[1]]).sum(1)
            for other in others:
                weight = weight / np.where((before < 0) & (2 in (node, other)), 1.0, ends[node] - ends[other])
            if node == 1:
                weight = weight + (1 - share) * gains.sum(1)
            errors[stretches, (last, first, before)[node]] += np.where((before < 0) & (node == 2), 0.0, weight)
        return errors

    def behind(self, plans: Steps) -> tuple[Array, Array]:
        r"""Return what is left behind the last computed step of plans, by damped extrapolation, and its square.

        Args:
            plans: ``(N, n)`` computed steps, rising, of plans of one length; the last three count.

        Returns:
            ``(N, S, T)`` and ``(N, S)``.
        """
        histories = [tuple(history) for history in plans[:, :-4:-1].tolist()]
        fresh = [history for history in dict.fromkeys(histories) if history not in self._tails]
        if fresh:
            errors = self.after(np.asarray(fresh))
            self._tails.update(zip(fresh, zip(errors, square(errors, self.gram), strict=True), strict=True))
        tails = [self._tails[history] for history in histories]
        return np.stack([error for error, _ in tails]), np.stack([size for _, size in tails])

    def after(self, histories: Steps) -> Array:
        """Return ``(N, S, T)`` the errors of the steps behind the last computed one, by damped extrapolation.

        Args:
            histories: ``(N, K)`` the newest computed steps, newest first, three at most.
        """
        newest, plans = histories[:, 0], np.arange(len(histories))
        gains = np.where(np.arange(self.total) > newest[:, None], self.gains, 0.0)
        errors = np.repeat(-gains[:, None], len(self.gram), axis=1)
        errors[plans, :, newest] += gains.sum(1)[:, None]
        if histories.shape[1] > 1:
            second = histories[:, 1]
            times = self._times
            drawn = (times - times[newest][:, None]) / (times[newest] - times[second])[:, None]
            change = self._trust(histories) * (gains * drawn).sum(1)[:, None]
            errors[plans, :, newest] += change
            errors[plans, :, second] -= change
        return errors

    def _trust(self, histories: Steps) -> Array:
        """Return ``(N, S)`` how far a line is trusted: damping and hindsight, as TC-Padé has them."""
        inner = self.gram[:, histories[:, :, None], histories[:, None, :]]
        ones = np.ones(len(histories))

        def size(*weights: Array) -> Array:
            values = np.stack(weights, axis=1)
            part = inner[:, :, : len(weights), : len(weights)]
            result: Array = np.clip(np.einsum("nj,snjk,nk->ns", values, part, values), 0.0, None)
            return result

        change = size(ones, -ones)
        if isinstance(self._forecaster, Reuse):
            return np.zeros_like(change)
        line = self._forecaster if isinstance(self._forecaster, TCPade) else DAMPED
        trust: Array = np.exp(-line.damping * np.sqrt(change / np.maximum(size(ones, ones), 1e-300)))
        if histories.shape[1] > 2 and line.hindsight:
            newest, second, third = self._times[histories.T]
            pace = (newest - second) / (second - third)
            trust = trust * np.minimum(1.0, change / np.maximum(size(ones, -1 - pace, pace), 1e-300))
        return trust


def square(errors: Array, gram: Array) -> Array:
    """Return ``(N, S)`` the squared sizes of errors, by the matrices of S samples.

    Args:
        errors: ``(N, T)``, or ``(N, S, T)`` where they differ between samples.
        gram: ``(S, T, T)``.

    Example:
        >>> square(np.array([[1.0, -1.0]]), np.array([[[2.0, 1.0], [1.0, 2.0]]]))
        array([[2.]])
    """
    steps = np.flatnonzero(errors.reshape(-1, errors.shape[-1]).any(0))
    if not len(steps):
        return np.zeros((len(errors), len(gram)))
    part = slice(int(steps[0]), int(steps[-1]) + 1)  # errors of a search lie around the step that is moved
    rows = errors[..., part] if errors.ndim == 2 else errors[..., part].transpose(1, 0, 2)
    result: Array = (rows @ gram[:, part, part] * rows).sum(2).T
    return result
