"""Gathers, during an uncached run, what every step added, in bounded memory whatever the size of the latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from padecast._noise import Noise
from padecast.lessons.interpolation import place, spline_weights
from padecast.lessons.look import GUIDED, SINGLES, Array, Look, digest_of, gram_of
from padecast.memory.sketch import draw_signs, sketch

SIZE = 4093
"""Dimensions of the projection, prime: norms of any mixture of steps are right to ``sqrt(2 / size)``, 2.2 %, 0.1 dB."""
SEED = 0
"""Of the projection, the same for all lessons, so that they add up."""


class Collector:
    """Remembers projections of what steps added, and makes a look of them.

    A projection is linear, so that the inner products of any differences of steps are as right as those of steps. It
    takes one pass over an output, 16 kB a step, branch and sample, and the signs, as much as a sample's output in
    float32: 11 MB for 50 steps of two branches of one sample of a video of 2.1 million numbers.

    Args:
        total: Steps of the run.
        size: Dimensions of the projection.
        samples: Samples of a batch that are looked at, at most: a random choice, the same at all steps.
        seed: Of that choice, so that another run of a batch of the same conditions looks at others.

    Example:
        >>> import torch
        >>> collector = Collector(2)
        >>> for index in range(2):
        ...     collector.note(index, "cond", torch.ones(1, 4) * (index + 1))
        >>> collector.look(Noise((0.0, 0.5, 1.0), (1.0, 0.5, 0.0)), (1000.0, 500.0)).mean().tolist()
        [[1.0, 2.0], [2.0, 4.0]]
    """

    def __init__(self, total: int, size: int = SIZE, samples: int = SINGLES, seed: int = 0) -> None:
        self.total, self._size, self._samples, self._seed = total, size, samples, seed
        self._signs: dict[tuple[int, torch.device], Tensor] = {}
        self._steps: dict[str, dict[int, Tensor]] = {}
        self._numel: dict[str, int] = {}
        self._latest: tuple[int, Tensor, int, Tensor] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        held = {id(x): x for steps in self._steps.values() for x in steps.values()}
        return sum(x.numel() * x.element_size() for x in (*held.values(), *self._signs.values()))

    def note(self, index: int, branch: str, output: Tensor) -> None:
        """Remember what a step added on a branch; ``"guided"`` is what the sampler was given.

        Nothing is waited for on a GPU. A step that is noted again is forgotten first. Where a branch has another size
        than before, as after a first step that fills a cache of keys and values, its earlier steps are forgotten:
        nothing can be said of their differences.

        Args:
            index: Of the step.
            branch: A name that is the same at every step.
            output: ``(B, ...)``.
        """
        steps = self._steps.setdefault(branch, {})
        if self._numel.get(branch, output[0].numel()) != output[0].numel():
            steps.clear()
        copy = self._find_known(index, output)
        if copy is not None:
            steps[index], self._numel[branch] = copy, output[0].numel()
            return
        rows = self._choose(output.detach()).flatten(1)
        self._numel[branch] = count = rows.shape[1]
        signs = None
        if count > self._size:
            key = (count, rows.device)
            if key not in self._signs:
                self._signs[key] = draw_signs(count, SEED, rows.device).float()  # bytes would be cast at every step
            signs = self._signs[key]
        copy = sketch(rows, self._size, SEED, signs)
        steps[index] = copy = copy.clone() if copy.data_ptr() == output.data_ptr() else copy
        self._latest = (index, output, output._version, copy)

    def _find_known(self, index: int, output: Tensor) -> Tensor | None:
        """Return the projection of what was noted last if that is the same tensor: a branch without guidance.

        That tensor is held until the next is noted, so that no other can lie where it lay.
        """
        if self._latest is None:
            return None
        step, tensor, version, copy = self._latest
        is_same = tensor.data_ptr() == output.data_ptr() and tensor.shape == output.shape
        return copy if is_same and step == index and tensor._version == version else None

    def _choose(self, output: Tensor) -> Tensor:
        """Return the samples of a batch that are looked at."""
        if len(output) <= self._samples:
            return output
        places = np.random.default_rng((self._seed, len(output))).choice(len(output), self._samples, replace=False)
        # One by one: indices would have to be copied to a GPU.
        return torch.stack([output[index] for index in sorted(places.tolist())])

    def cut(self) -> int:
        """Take the run for over at the last step that was noted, and return how many steps it had."""
        self.total = 1 + max((index for steps in self._steps.values() for index in steps), default=-1)
        return self.total

    def look(self, noise: Noise, timesteps: Sequence[float]) -> Look | None:
        """Return what the run has shown; nothing if it showed too little, or something that is not finite.

        What the sampler was given says most. Steps of it that are missing, because they were forecast, are read between
        those that are there, by the splines of :mod:`padecast.lessons.interpolation`; at least half of the levels have
        to lie between such. A branch that misses steps, as where guidance ends early, is left out.

        Args:
            noise: Of the run's grid.
            timesteps: Of its steps.
        """
        if not self.total or len(timesteps) != self.total or len(noise.sigmas) != self.total + 1:
            return None
        whole = {name: steps for name, steps in self._steps.items() if len(steps) == self.total}
        if GUIDED not in whole and (GUIDED in self._steps or not whole):
            name = (
                GUIDED
                if GUIDED in self._steps
                else max(self._steps, key=lambda each: len(self._steps[each]), default="")
            )
            filled = None if not name else self._fill(name, noise.levels[:-1])
            if filled is None:
                return None
            whole = {name: filled, **whole}
        singles = {name: self._measure(name, steps) for name, steps in whole.items()}
        if not all(np.isfinite(matrices).all() for matrices in singles.values()):
            return None
        main = singles[GUIDED if GUIDED in singles else next(iter(singles))]
        grams = {branch: matrices.sum(0) * (len(main) / len(matrices)) for branch, matrices in singles.items()}
        return Look(noise, tuple(map(float, timesteps)), grams, main, len(main), 1, (digest_of(main),))

    def _fill(self, branch: str, levels: Sequence[float]) -> dict[int, Tensor] | None:
        """Return projections of all steps of a branch, those that are missing read between the others."""
        known = self._steps[branch]
        indices = sorted(known)
        nodes = place(levels)
        if len(indices) < LEAST or indices[0] != 0 or indices[-1] < self.total // 2 or not (np.diff(nodes) > 0).all():
            return None
        weights = torch.from_numpy(spline_weights(nodes[indices], nodes)).float()
        seen = torch.stack([known[index] for index in indices])
        rows = torch.einsum("nt,tbd->nbd", weights.to(seen.device), seen)
        return {index: known.get(index, rows[index]) for index in range(self.total)}

    def _measure(self, branch: str, steps: dict[int, Tensor]) -> Array:
        """Return the matrices of all samples of a branch, ``(B, T, T)``."""
        rows = torch.stack([steps[index] for index in range(self.total)], dim=1).cpu().numpy()
        return np.stack([gram_of(sample) for sample in rows]) / self._numel[branch]


LEAST = 3
"""Computed steps between which others are read, at least."""
