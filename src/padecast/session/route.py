"""Which step and stage is a call, by its noise level?"""

from __future__ import annotations

import math
from collections.abc import Callable

from padecast.session.grid import TOLERANCE, Evaluation, Grid, is_same


class Route:
    """Follows a run along its noise levels.

    Where a sampler was rehearsed, its calls come one after the other as they were foreseen; else a run may begin
    anywhere in the grid, and leave steps out. Several branches of one call come at one level. A call at a level that
    does not come next is not foreseen, and no place of what follows is known: the run is lost.

    Args:
        grid: Of the run.

    Example:
        >>> route = Route(Grid([1.0, 0.5, 0.0]))
        >>> [route.place(sigma, is_served=lambda call: False) for sigma in (1.0, 0.5)]
        [Evaluation(sigma=1.0, step=0, stage=0), Evaluation(sigma=0.5, step=1, stage=0)]
        >>> route.place(0.3, is_served=lambda call: False), route.is_lost
        (None, True)
    """

    def __init__(self, grid: Grid) -> None:
        single = tuple(Evaluation(sigma, step) for step, sigma in enumerate(grid.sigmas[:-1]))
        self._calls, self._leaps = grid.evaluations or single, not grid.evaluations
        self.reset()

    def reset(self) -> None:
        """Forget the run: the next call begins one."""
        self._latest: int | None = None
        self._level = math.inf
        self.is_lost = False

    @property
    def knows_stages(self) -> bool:
        """Whether the sampler was rehearsed, so that stages are known by themselves."""
        return not self._leaps

    def begins_anew(self, level: float) -> bool:
        """Whether a lost run is over: its first level comes again, from below."""
        return self.is_lost and level > self._level and is_same(level, self._calls[0].sigma)

    def place(
        self, level: float, is_served: Callable[[Evaluation], bool], tolerance: float = TOLERANCE
    ) -> Evaluation | None:
        """Return which call it is; ``None`` if it was not foreseen.

        Args:
            level: Its noise level.
            is_served: Whether the branch at hand has had a call that others may still be at.
            tolerance: How far the level may lie off, as a share of it.
        """
        number = None if self.is_lost else self._number(level, is_served, tolerance)
        self._level = level
        if number is None:
            self.is_lost = True
            return None
        self._latest = number
        return self._calls[number]

    def _number(self, level: float, is_served: Callable[[Evaluation], bool], tolerance: float) -> int | None:
        following = 0 if self._latest is None else self._latest + 1
        standing = [] if self._latest is None else [self._latest]
        # Heun's second evaluation of a step and the first of the next have one level: a branch comes once to each.
        shared = [number for number in standing if not is_served(self._calls[number])]
        ahead = range(following, len(self._calls) if self._leaps else min(following + 1, len(self._calls)))
        behind = range(following if self._leaps else 1)  # a run that begins again
        for numbers in ([*shared, *ahead], standing, behind):
            near = [number for number in numbers if is_same(level, self._calls[number].sigma, tolerance)]
            if near:
                return min(near, key=lambda number: abs(self._calls[number].sigma - level))
        return None
