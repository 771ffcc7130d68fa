"""What one schedule has shown: inner products of what the steps of uncached runs added, and how noisy they were."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from padecast._errors import InvalidOption
from padecast._noise import Noise

Array = NDArray[np.float64]
GUIDED = "guided"
"""The name of the matrix of what the sampler was given, beside those of the branches."""
SINGLES = 8
"""Samples whose matrices are remembered one by one, at most."""
DIGESTS = 256
"""Runs that are known again, at most."""
SAME = 1e-3
"""How far the roots of two grids' noise levels may lie apart where they count as one grid."""


@dataclass(frozen=True, eq=False)
class Look:
    r"""Inner products of what T steps added, ``G[i, j] = <v_i, v_j> / numel``, summed over the samples of runs.

    Args:
        noise: Amplitudes of signal and noise at the T steps and after the last, and the size of the latents.
        timesteps: Of the T steps, as the scheduler counts them.
        grams: ``(T, T)`` sums over samples, by branch; ``"guided"`` is of what the sampler was given.
        singles: ``(S, T, T)``, S up to 8: matrices of single samples, of what the sampler was given where it is known.
        samples: How many samples are summed.
        runs: In how many runs they were drawn.
        digests: Of these runs, newest last, 256 at most: what is taken from a file twice is known by them.

    Raises:
        ValueError: If the shapes do not agree.

    Example:
        >>> noise = Noise((0.0, 0.5, 1.0), (1.0, 0.5, 0.0))
        >>> look = Look(noise, (1000.0, 500.0), {"cond": np.eye(2)}, np.eye(2)[None], 1, 1)
        >>> (look + look).samples, (look + look).mean().tolist()
        (2, [[1.0, 0.0], [0.0, 1.0]])
    """

    noise: Noise
    timesteps: tuple[float, ...]
    grams: Mapping[str, Array]
    singles: Array
    samples: int
    runs: int
    digests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = {gram.shape for gram in self.grams.values()} | {self.singles.shape[1:]}
        if shapes != {(self.steps, self.steps)} or len(self.noise.sigmas) != self.steps + 1:
            raise ValueError(f"a look at {self.steps} steps has matrices of shapes {sorted(shapes)}")

    @property
    def steps(self) -> int:
        """How many steps the runs had."""
        return len(self.timesteps)

    @property
    def levels(self) -> tuple[float, ...]:
        """Effective noise levels of the steps, without that of the image."""
        return self.noise.levels[:-1]

    @property
    def kind(self) -> str:
        """The matrix that says most: of what the sampler was given, or else that of the first branch."""
        return GUIDED if GUIDED in self.grams else next(iter(self.grams))

    def mean(self, kind: str = "") -> Array:
        """Return the mean ``(T, T)`` over samples, of :attr:`kind` by default."""
        result: Array = self.grams[kind or self.kind] / self.samples
        return result

    def is_like(self, other: Look) -> bool:
        """Whether another look is at the same grid and of the same kind, so that both add up."""
        return self.kind == other.kind and self.is_at(other.levels)

    def is_at(self, levels: Sequence[float]) -> bool:
        """Whether levels are those of its steps, but for rounding."""
        if len(levels) != self.steps:
            return False
        return bool(np.abs(np.sqrt(self.levels) - np.sqrt(np.maximum(levels, 0.0))).max() <= SAME)

    def __add__(self, other: Look) -> Look:
        """Take two looks at one grid together: sums of the matrices that both have, and single samples of both."""
        if not self.is_like(other):
            raise ValueError("looks at two grids, or of other branches, do not add up")
        return replace(
            self,
            grams={name: gram + other.grams[name] for name, gram in self.grams.items() if name in other.grams},
            singles=draw_together(self, other),
            samples=self.samples + other.samples,
            runs=self.runs + other.runs,
            digests=(*self.digests, *other.digests)[-DIGESTS:],
        )

    def unite(self, other: Look) -> Look:
        """Take a look that may hold runs of this one together with it, none twice.

        Raises:
            InvalidOption: If either has runs that the other has not, and both have some in common: matrices are summed
                over runs, and cannot be told apart again.
        """
        ours, others = set(self.digests), set(other.digests)
        if not ours & others:
            return self + other
        if others <= ours:
            return self
        if ours <= others:
            return other
        raise InvalidOption(
            f"{len(ours & others)} runs are in both, and each has others: sums of runs cannot be told apart.\n"
            "Usual cause: a lesson that was exported, and has learnt on in two places. Keep one: padecast lessons "
            "remove the other, and import the one to be kept."
        )


def draw_together(first: Look, second: Look) -> Array:
    """Return single samples of two looks, as many of either as if they were drawn from all samples of both.

    The single samples of a look are a random choice of those that it sums. So is what this returns: how many are of
    the first look is hypergeometric, and which of them is random. Alike for looks of the same counts.

    Args:
        first: A look.
        second: Another at the same grid.

    Reference:
        Vitter, "Random sampling with a reservoir", 1985.
    """
    both = (first.singles, second.singles)
    total = min(SINGLES, sum(map(len, both)))
    if total == sum(map(len, both)):
        return np.concatenate(both)
    generator = np.random.default_rng((first.samples, second.samples, first.runs, second.runs))
    few = int(generator.hypergeometric(first.samples, second.samples, total))
    few = min(max(few, total - len(both[1])), len(both[0]))  # of a look that summed more samples than it remembers
    indices = [np.sort(generator.permutation(len(rows))[:n]) for rows, n in zip(both, (few, total - few), strict=True)]
    result: Array = np.concatenate([rows[places] for rows, places in zip(both, indices, strict=True)])
    return result


def root_of(gram: Array) -> Array:
    """Return a triangular root: ``R`` with ``R^T R = G``.

    Of a root single precision is enough: errors of forecasts are tiny beside what they are differences of, and squares
    of a root keep them where the matrix itself, rounded, would not.

    Args:
        gram: ``(T, T)``, symmetric, positive but for rounding.

    Example:
        >>> root = root_of(np.array([[4.0, 2.0], [2.0, 2.0]]))
        >>> np.allclose(root.T @ root, [[4, 2], [2, 2]]), root[1, 0] == 0
        (True, np.True_)
    """
    values, vectors = np.linalg.eigh(gram)
    upper: Array = np.triu(np.linalg.qr((vectors * np.sqrt(np.clip(values, 0.0, None))).T, mode="r"))
    return upper


def digest_of(matrices: Array) -> str:
    """Return twelve hexadecimal digits that stand for what a run has shown."""
    return hashlib.sha256(np.ascontiguousarray(matrices, dtype="<f8").tobytes()).hexdigest()[:12]


def gram_of(rows: Array) -> Array:
    """Return the inner products of rows ``(T, m)``, in double precision."""
    wide = np.asarray(rows, dtype=np.float64)
    result: Array = wide @ wide.T
    return result


def combine(matrices: Sequence[tuple[Array, float]]) -> Array:
    """Return a weighted mean of matrices."""
    whole = sum(weight for _, weight in matrices)
    result: Array = np.sum([matrix * (weight / whole) for matrix, weight in matrices], axis=0)
    return result
