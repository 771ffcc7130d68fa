"""Gathers, during an uncached run, what every step added, in bounded memory whatever the size of the latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from padecast._noise import Noise
from padecast.lessons.look import GUIDED, SINGLES, Array, Look, gram_of
from padecast.memory.sketch import sketch

SIZE = 4093
"""Dimensions of the projection, prime: norms of any mixture of steps are right to ``sqrt(2 / size)``, 2.2 %, 0.1 dB."""
SEED = 0
"""Of the projection, the same for all lessons, so that they add up."""


class Collector:
    """Remembers projections of what steps added, and makes a look of them.

    A projection is linear, so that the inner products of any differences of steps are as right as those of steps. It
    takes one pass over an output, and 16 kB a step, branch and sample: 2.5 MB for 50 steps with two branches.

    Args:
        total: Steps of the run.
        size: Dimensions of the projection.
        samples: Samples of a batch that are looked at, at most; the others of a large batch are not.

    Example:
        >>> import torch
        >>> collector = Collector(2)
        >>> for index in range(2):
        ...     collector.note(index, "cond", torch.ones(1, 4) * (index + 1))
        >>> collector.look(Noise((0.0, 0.5, 1.0), (1.0, 0.5, 0.0)), (1000.0, 500.0)).mean().tolist()
        [[1.0, 2.0], [2.0, 4.0]]
    """

    def __init__(self, total: int, size: int = SIZE, samples: int = SINGLES) -> None:
        self.total, self._size, self._samples = total, size, samples
        self._steps: dict[str, dict[int, Tensor]] = {}
        self._numel: dict[str, int] = {}

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return sum(x.numel() * x.element_size() for steps in self._steps.values() for x in steps.values())

    def note(self, index: int, branch: str, output: Tensor) -> None:
        """Remember what a step added on a branch; ``"guided"`` is what the sampler was given.

        Nothing is waited for on a GPU. A step that is noted again is forgotten first.

        Args:
            index: Of the step.
            branch: A name that is the same at every step.
            output: ``(B, ...)``.
        """
        rows = output.detach()[: self._samples].flatten(1)
        self._numel[branch] = rows.shape[1]
        copy = sketch(rows, self._size, SEED)
        self._steps.setdefault(branch, {})[index] = copy.clone() if copy.data_ptr() == output.data_ptr() else copy

    def is_whole(self) -> bool:
        """Whether all steps were noted on every branch, and all of them finite is still to be seen."""
        return bool(self._steps) and all(len(steps) == self.total for steps in self._steps.values())

    def look(self, noise: Noise, timesteps: Sequence[float]) -> Look | None:
        """Return what the run has shown; nothing if a step is missing, or something is not finite.

        Args:
            noise: Of the run's grid.
            timesteps: Of its steps.
        """
        if not self.is_whole() or len(timesteps) != self.total or len(noise.sigmas) != self.total + 1:
            return None
        singles = {branch: self._singles(branch) for branch in self._steps}
        if not all(np.isfinite(matrices).all() for matrices in singles.values()):
            return None
        guided = singles[GUIDED if GUIDED in singles else next(iter(singles))]
        grams = {branch: matrices.sum(0) * (len(guided) / len(matrices)) for branch, matrices in singles.items()}
        return Look(noise, tuple(map(float, timesteps)), grams, guided, len(guided), 1)

    def _singles(self, branch: str) -> Array:
        """Return the matrices of all samples of a branch, ``(B, T, T)``."""
        steps = [self._steps[branch][index].cpu().numpy() for index in range(self.total)]
        rows = np.stack(steps, axis=1)
        return np.stack([gram_of(sample) for sample in rows]) / self._numel[branch]
