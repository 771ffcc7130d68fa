"""Moves of single computed steps of a plan, and what each of them changes, worked out once for many plans."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from padecast.lessons.cost import Array, Stretches, square

MOST = 64 * 2**20
"""Bytes of changes that are remembered, at most."""
Key = tuple[int, ...]


class Neighbours:
    """The plans that are one move away from a plan.

    Args:
        steps: Computed steps, rising; the first of them stays.
        total: Steps of the run.
        reach: How far a step is moved, at most.

    Example:
        >>> Neighbours((0, 1, 4), 6, 2).plans()
        [(0, 2, 4), (0, 3, 4), (0, 1, 2), (0, 1, 3), (0, 1, 5)]
    """

    def __init__(self, steps: Sequence[int], total: int, reach: int) -> None:
        self.steps, self._total, self._reach = tuple(steps), total, reach
        self.keys: list[Key] = []
        """Of every step but the first: all that its moves depend on."""
        self.targets: list[list[int]] = []
        """Of every step but the first: where it may be moved."""
        self._see(1, len(steps))

    def __len__(self) -> int:
        return sum(map(len, self.targets))

    def move(self, number: int) -> None:
        """Go to one of the plans, by its number."""
        moves = [(step, to) for step, among in zip(self.steps[1:], self.targets, strict=True) for to in among]
        step, target = moves[number]
        self.steps = tuple(sorted({*self.steps} - {step} | {target}))
        low, high = sorted((step, target))
        # Moves look two steps beyond those that they may jump over; the others stay as they are.
        first = bisect_left(self.steps, low - self._reach) - 3
        last = bisect_right(self.steps, high + self._reach) + 3
        self._see(max(first, 1), min(last, len(self.steps)))

    def plans(self) -> list[tuple[int, ...]]:
        """Return all of them, in the order of their numbers."""
        return [
            tuple(sorted({*self.steps} - {step} | {target}))
            for step, among in zip(self.steps[1:], self.targets, strict=True)
            for target in among
        ]

    def _see(self, first: int, last: int) -> None:
        present, reach = {*self.steps}, self._reach
        self.keys[first - 1 : last - 1] = [self._key(place) for place in range(first, last)]
        self.targets[first - 1 : last - 1] = [
            [to for to in range(max(step - reach, 1), min(step + reach + 1, self._total)) if to not in present]
            for step in self.steps[first:last]
        ]

    def _key(self, place: int) -> Key:
        """Return the steps that one may jump over, two on either side, and whether the last three are among them."""
        steps, count = self.steps, len(self.steps)
        first = max(bisect_left(steps, steps[place] - self._reach), 1)
        last = bisect_right(steps, steps[place] + self._reach) - 1
        begin, ends = max(first - 2, 0), last >= count - 3
        return (ends, self._reach, place - begin, *steps[begin : count if ends else last + 3])


class Pool:
    """Changes that moves make, one below the other.

    Args:
        shape: Of the change of a plan's error: ``(T,)``, or ``(S, T)`` where it differs between samples.
        samples: S.
    """

    def __init__(self, shape: tuple[int, ...], samples: int) -> None:
        self.errors: Array = np.empty((64, *shape))
        self.squares: Array = np.empty((64, samples))
        self.places: dict[Key, NDArray[np.int64]] = {}
        self.count = 0

    def add(self, errors: Array, squares: Array) -> None:
        """Put changes below those that are there."""
        end = self.count + len(errors)
        if end > len(self.errors):
            self.errors = np.concatenate([self.errors, np.empty((end, *self.errors.shape[1:]))])
            self.squares = np.concatenate([self.squares, np.empty((end, self.squares.shape[1]))])
        self.errors[self.count : end], self.squares[self.count : end] = errors, squares
        self.count = end

    def clear(self) -> None:
        """Forget all changes."""
        self.places, self.count = {}, 0


class Moves:
    r"""Squared errors of the plans that are one move away.

    With the error c of a plan and the change d of a move, the moved plan's is, for every sample,

    .. math:: (c + d)^T G (c + d) = c^T G c + 2 d^T G c + d^T G d

    where d, the last term, and the change of what stretches leave alone depend on the few computed steps around the
    one that moves: they are kept for the plans to come, which have most of these in common.

    Args:
        stretches: Of the lesson.
        coherent: Share of what errors of different stretches do together.
    """

    def __init__(self, stretches: Stretches, coherent: float) -> None:
        self._stretches, self._coherent = stretches, coherent
        samples = len(stretches.gram)
        self._inner, self._outer = Pool((stretches.total,), samples), Pool((samples, stretches.total), samples)

    def squares(self, near: Neighbours) -> Array:
        """Return ``(N, S)`` the squared errors of the plans near a plan, in their order."""
        plan = np.asarray([near.steps])
        error, alone = self._stretches.add_up(plan)
        tail, tail_alone = self._stretches.behind(plan)
        whole = error[0] + tail[0]
        turned = (whole[:, None, :] @ self._stretches.gram)[:, 0]
        alone = alone[0] + tail_alone[0]
        square = self._coherent * (whole * turned).sum(1) + (1 - self._coherent) * alone
        # Steps near the end come last; their moves change what is behind the last one, which differs between samples.
        count = sum(not key[0] for key in near.keys)
        parts = []
        for pool, part in ((self._inner, slice(count)), (self._outer, slice(count, None))):
            keys = [key for key, among in zip(near.keys[part], near.targets[part], strict=True) if among]
            if not keys:
                continue
            if pool.errors.nbytes > MOST:
                pool.clear()
            fresh = {key for key in keys if key not in pool.places}
            if fresh:
                self._work_out(near, fresh, pool, (error[0], tail[0], alone, tail_alone[0]))
            places = np.concatenate([pool.places[key] for key in keys])
            errors = pool.errors[places]
            cross = errors @ turned.T if errors.ndim == 2 else (errors * turned).sum(2)
            parts.append(2 * self._coherent * cross + pool.squares[places])
        result: Array = square + np.concatenate(parts)
        return result

    def _work_out(self, near: Neighbours, fresh: set[Key], pool: Pool, whole: tuple[Array, ...]) -> None:
        """Work out what moves change that are new."""
        error, tail, alone, tail_alone = whole
        places: list[int] = []
        targets: list[int] = []
        for place, (key, among) in enumerate(zip(near.keys, near.targets, strict=True)):
            if key in fresh and among:
                pool.places[key] = np.arange(pool.count + len(places), pool.count + len(places) + len(among))
                places += [place + 1] * len(among)
                targets += among
        plans = np.tile(np.asarray(near.steps), (len(places), 1))
        plans[np.arange(len(places)), places] = targets
        plans.sort(axis=1)
        errors, sizes = self._stretches.add_up(plans)
        errors -= error
        if pool is self._outer:
            tails, tail_alone = self._stretches.behind(plans)
            errors = errors[:, None] + (tails - tail)
        sizes = self._coherent * square(errors, self._stretches.gram) + (1 - self._coherent) * (
            sizes + tail_alone - alone
        )
        pool.add(errors, sizes)
