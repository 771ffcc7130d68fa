"""Compares what a policy's probe sees from step to step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from padecast._noise import TINY
from padecast._steps import Seen
from padecast.memory.arithmetic import Rows, Streams, elements
from padecast.memory.group import sum_over


class Watch:
    """What a probe saw at the step before and at the latest computed one, and what the stack then returned.

    Means are taken over all samples, but for those of which what is seen now is not finite: no decision mends them. If
    none is left, the means are not finite either.

    Args:
        group: Processes that hold the other parts of the same features: means are taken over all, so that all decide
            alike. Default none.

    Example:
        >>> watch = Watch()
        >>> first = watch.see((torch.tensor([2.0, 1.0]),))
        >>> watch.see((torch.tensor([3.0, torch.nan]),)).moved
        0.5
    """

    def __init__(self, group: Any = None) -> None:
        self._group = group
        self._latest: Streams | None = None
        self._computed: Streams | None = None
        self._output: Streams | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered."""
        tensors = [x for streams in (self._latest, self._computed, self._output) for x in streams or ()]
        return sum({x.data_ptr(): x.nbytes for x in tensors}.values())

    def see(self, features: Streams, rows: Rows | None = None) -> Seen:
        """Return how far the features of a step lie from those before; nothing is known at the first step.

        Args:
            features: ``(B, ...)`` per stream.
            rows: Which rows count, ``(B, N)`` per stream. Default all.
        """
        now, before = _copy(features), self._latest
        self._latest = now
        if before is None or not _alike(before, now):
            self._computed = self._output = None
            return Seen()
        base = before if self._computed is None else self._computed
        stride, size, way, far = self._means(now, rows, _less(now, before), before, _less(now, base), base)
        return Seen(moved=stride / max(size, TINY), apart=way / max(far, TINY), stride=stride, way=way)

    def keep(self) -> None:
        """Take the step as the latest computed one."""
        self._computed = self._latest

    def learn(self, seen: Seen, output: Streams, rows: Rows | None = None) -> Seen:
        """Return what was seen of a computed step with what the stack returned; that is another wait."""
        now, before = _copy(output), self._output
        self._output = now
        if before is None or not _alike(before, now):
            return replace(seen, output=self._means(now, rows, now)[0])
        size, change = self._means(now, rows, now, _less(now, before))
        return replace(seen, output=size, change=change)

    def _means(self, now: Streams, rows: Rows | None, *features: Streams) -> tuple[float, ...]:
        """Return mean magnitudes over the samples that are finite now, for which a decision waits for a GPU."""
        rows = (None,) * len(now) if rows is None or len(rows) != len(now) else rows
        sums = torch.stack([_magnitudes(streams, rows) for streams in (now, *features)])
        size = sum(elements(x, mask) for x, mask in zip(now, rows, strict=True))
        sums, size = sum_over(sums, size, self._group)
        sound = sums[0].isfinite()
        sound = sound | ~sound.any()
        count = (sound * size).sum().clamp_min(1)
        return tuple((torch.where(sound, sums[1:], 0).sum(1) / count).tolist())


def _copy(features: Streams) -> Streams:
    """Return features safe from a model that goes on in place; as one sample, if they do not hold the same ones."""
    copies = tuple(x.detach().clone() for x in features)
    return copies if len({len(x) for x in copies}) == 1 else (torch.cat([x.flatten() for x in copies])[None],)


def _alike(left: Streams, right: Streams) -> bool:
    return [x.shape for x in left] == [x.shape for x in right]


def _less(left: Streams, right: Streams) -> Streams:
    return tuple(x - y for x, y in zip(left, right, strict=True))


def _magnitudes(streams: Streams, rows: Rows) -> Tensor:
    """Return the sum of all magnitudes of every sample, ``(B,)``."""
    exact = torch.float32 if streams[0].device.type == "mps" else torch.float64
    total = streams[0].new_zeros(len(streams[0]), dtype=exact)
    for x, mask in zip(streams, rows, strict=True):
        if mask is None:
            total += x.abs().reshape(len(x), -1).sum(1, dtype=exact)
        else:
            total += torch.where(mask, x.abs().sum(-1, dtype=exact), 0).sum(1)
    return total
