"""What uncached runs of one model under one sampler have taught, on the axis of noise levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from padecast._errors import InvalidOption
from padecast.files.hub import Section, Shareable
from padecast.lessons import display
from padecast.lessons.gains import Gains
from padecast.lessons.identity import Identity
from padecast.lessons.interpolation import place, share_covered, spline_weights
from padecast.lessons.look import SINGLES, Array, Look, combine

DENSE = 6
"""Steps that a look has at least, where it is read for runs of more; a third of theirs, for long ones."""
COARSE, TIMES = 10, 2
"""A run of fewer steps than the first is read off looks of fewer than so many times its steps over the same levels: the
path that so coarse a sampler takes is its own. Digits' lesson of 20 steps lost 4 dB at 4 of 8, and nothing at 5
(benchmarks/results/learning-digits-matched.json as it was at commit defbf12; now such runs teach)."""
LOOKS = 8
"""Grids that a lesson remembers, at most: those of the fewest samples go."""


@dataclass(frozen=True, eq=False)
class Lesson(Shareable):
    r"""The statistic of uncached runs, that can be read at any noise levels between those they had.

    Looks at one grid are summed; those at other grids stand side by side, because an interpolated matrix that is summed
    with a measured one could not be told from it later. A lesson is read at levels of any schedule by cubic splines W
    along the log-SNR, :math:`K = W G W^T`, which are the inner products of interpolated features: no correlation leaves
    its range, and nothing wiggles between nodes as interpolated correlations do.

    Args:
        identity: Whose it is.
        looks: One for every grid.
        gains: What errors of its steps were measured to do, if they were; the newest.

    Example:
        >>> from padecast._noise import Noise
        >>> noise = Noise((0.0, 0.5, 1.0), (1.0, 0.5, 0.0))
        >>> look = Look(noise, (1000.0, 500.0), {"cond": np.eye(2)}, np.eye(2)[None], 1, 1)
        >>> lesson = Lesson(Identity("DiT"), (look,))
        >>> lesson.at(look.levels).round(3).tolist(), lesson.covers([0.5]), lesson.covers([0.01])
        ([[1.0, 0.0], [0.0, 1.0]], True, False)
    """

    identity: Identity
    looks: tuple[Look, ...] = ()
    gains: Gains | None = None

    @property
    def samples(self) -> int:
        """Samples of all looks."""
        return sum(look.samples for look in self.looks)

    @property
    def runs(self) -> int:
        """Runs of all looks."""
        return sum(look.runs for look in self.looks)

    def __repr__(self) -> str:
        return f"<Lesson of {display.name(self)}: {display.summarize(self)}>"

    def _repr_html_(self) -> str:
        return display.block(f"Lesson of {display.name(self)}", display.lines(self))

    def add(self, look: Look) -> Lesson:
        """Return the lesson with one more look, summed with one at the same grid."""
        for index, known in enumerate(self.looks):
            if known.is_like(look):
                return replace(self, looks=(*self.looks[:index], known + look, *self.looks[index + 1 :]))
        return self._append(look)

    def _append(self, look: Look) -> Lesson:
        looks = (*self.looks, look)
        if len(looks) > LOOKS:
            least = min(range(len(looks) - 1), key=lambda index: looks[index].samples)
            looks = looks[:least] + looks[least + 1 :]
        return replace(self, looks=looks)

    def __add__(self, other: Lesson) -> Lesson:
        """Take two lessons of one model together; measured gains are those of the second, if it has any.

        Raises:
            InvalidOption: If they are of two models, or of one in two settings.
        """
        self._check_same(other)
        lesson = self if other.gains is None else replace(self, gains=other.gains)
        for look in other.looks:
            lesson = lesson.add(look)
        return lesson

    def unite(self, other: Lesson) -> Lesson:
        """Take a lesson that may hold runs of this one together with it, none twice; measured gains stay if it has any.

        Raises:
            InvalidOption: If they are of two models or settings, or share some runs while each has others.
        """
        self._check_same(other)
        lesson = self if self.gains is not None else replace(self, gains=other.gains)
        for look in other.looks:
            like = next((each for each in lesson.looks if each.is_like(look)), None)
            if like is None:
                lesson = lesson._append(look)
            else:
                looks = tuple(each.unite(look) if each is like else each for each in lesson.looks)
                lesson = replace(lesson, looks=looks)
        return lesson

    def _check_same(self, other: Lesson) -> None:
        if other.identity.key != self.identity.key:
            raise InvalidOption(
                f"lessons of {self.identity} and of {other.identity} cannot be taken together.\n"
                "Usual cause: another checkpoint, adapter or guidance. Each has a lesson of its own."
            )

    def share(self, levels: Sequence[float]) -> float:
        """Return the share of levels that lie in the range of a single look, or hardly beyond; 0 without looks."""
        shares = (share_covered(look.levels, levels) for look in self.looks if _is_readable(look, levels))
        return max(shares, default=0.0)

    def covers(self, levels: Sequence[float], runs: int = 1) -> bool:
        """Whether all levels lie in the range that a look saw, or hardly beyond.

        Args:
            levels: Effective noise levels of the steps, ``noise.levels[:-1]``.
            runs: How many runs are to have seen them. Default 1.
        """
        return self.count_runs(levels) >= runs

    def count_runs(self, levels: Sequence[float]) -> int:
        """Return how many runs saw all levels, or hardly less."""
        return sum(look.runs for look in self.looks if _covers(look, levels))

    def count_samples(self, levels: Sequence[float]) -> int:
        """Return of how many samples matrices are read at levels, 8 at most."""
        return min(SINGLES, sum(len(look.singles) for look in self.looks if _covers(look, levels)))

    def at(self, levels: Sequence[float]) -> Array:
        """Return the mean matrix ``(N, N)`` at levels, over the looks that cover them.

        Looks count by their samples, and coarse ones, read at a finer grid, less by the square of the ratio.

        Args:
            levels: Effective noise levels of N steps, falling.

        Raises:
            InvalidOption: If no look covers them.
        """
        return combine(
            [
                (weights @ look.mean() @ weights.T, look.samples * min(1.0, look.steps / len(levels)) ** 2)
                for look, weights in self._read(levels)
            ]
        )

    def singles(self, levels: Sequence[float]) -> Array:
        """Return matrices of single samples ``(S, N, N)`` at levels, S up to 8, of looks at that grid, then of finer.

        Raises:
            InvalidOption: If no look covers them.
        """
        pairs = sorted(self._read(levels), key=lambda pair: (not pair[0].is_at(levels), -pair[0].steps))
        result: Array = np.concatenate([weights @ look.singles @ weights.T for look, weights in pairs])[:SINGLES]
        return result

    def _read(self, levels: Sequence[float]) -> list[tuple[Look, Array]]:
        """Return the looks that cover levels, and the weights of their steps."""
        looks = [look for look in self.looks if _covers(look, levels)]
        if not looks:
            seen = [(min(look.levels), max(look.levels)) for look in self.looks]
            ranges = " or ".join(f"{high:.3g} to {low:.3g}" for low, high in seen) or "none"
            raise InvalidOption(
                f"this run has noise levels from {max(levels):.3g} to {min(levels):.3g}, of which the lesson saw "
                f"{self.share(levels):.0%} (levels {ranges}).\n"
                "Usual cause: a schedule that reaches further. Let one run of it be computed in full."
            )
        return [(look, _read_weights(look, levels)) for look in looks]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; see :mod:`padecast.lessons.file`."""
        from padecast.lessons.file import pack

        return pack(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Lesson:
        """Read what :meth:`to_dict` wrote.

        Raises:
            DamagedFile: If it is something else; the message names the place.
        """
        from padecast.lessons.file import unpack

        return unpack(Path("lesson"), document)

    def save(self, path: str | Path) -> Path:
        """Write the lesson as JSON, whole or not at all.

        Raises:
            UnwritableFile: If it cannot be written; the message says why.
        """
        from padecast.lessons.file import write

        return write(Path(path), self)

    @classmethod
    def load(cls, path: str | Path) -> Lesson:
        """Read a lesson.

        Raises:
            MissingFile: If there is none.
            DamagedFile: If it is no lesson, is damaged, or of a later release; the message says which.
        """
        from padecast.lessons.file import read

        return read(Path(path))

    _kind, _pattern = "lesson", "*.lesson.json"

    def _name_file(self) -> str:
        from padecast.lessons.sharing import name_file

        return name_file(self)

    def _describe(self) -> Section:
        from padecast.lessons.sharing import describe

        return describe(self)

    def _explain_use(self, repo: str) -> str:
        from padecast.lessons.sharing import explain_use

        return explain_use(repo)


def _covers(look: Look, levels: Sequence[float]) -> bool:
    return _is_dense(look, levels) and _is_readable(look, levels) and share_covered(look.levels, levels) == 1.0


def _is_dense(look: Look, levels: Sequence[float]) -> bool:
    """Whether a look has steps enough for what is asked: between two or three of a warm-up all looks like a line.

    Nor may it have many more than a run of very few, see :data:`COARSE`; one that begins in the middle is only short.
    """
    inside = sum(min(levels) <= level <= max(levels) for level in look.levels)
    is_fine = len(levels) < COARSE and inside >= TIMES * len(levels)
    return not is_fine and look.steps >= min(len(levels), max(DENSE, math.ceil(len(levels) / 3)))


def _is_readable(look: Look, levels: Sequence[float]) -> bool:
    """Whether a look can be read at levels: at its own, or between them where they fall.

    Solvers that evaluate twice at a level, such as Heun's, have grids that do not fall from each step to the next.
    """
    return look.is_at(levels) or bool((np.diff(place(look.levels)) > 0).all())


def _read_weights(look: Look, levels: Sequence[float]) -> Array:
    if look.is_at(levels):
        return np.eye(look.steps)
    return spline_weights(place(look.levels), place(levels))
