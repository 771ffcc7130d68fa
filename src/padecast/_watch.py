"""Compares what a policy's probe sees from step to step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from padecast._group import summed
from padecast._history import TINY, Seen
from padecast._mix import Streams


class Watch:
    """What a probe saw at the step before and at the latest computed one, and what the stack then returned.

    Args:
        group: Processes that hold the other parts of the same features: means are taken over all, so that all decide
            alike. Default none.

    Example:
        >>> watch = Watch()
        >>> first = watch.see((torch.tensor([2.0]),))
        >>> watch.see((torch.tensor([3.0]),)).moved
        0.5
    """

    def __init__(self, group: Any = None) -> None:
        self._group = group
        self._latest: Tensor | None = None
        self._computed: Tensor | None = None
        self._output: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered."""
        kept = (self._latest, self._computed, self._output)
        return sum({x.data_ptr(): x.nbytes for x in kept if x is not None}.values())

    def see(self, features: Streams) -> Seen:
        """Return how far the features of a step lie from those before; nothing is known at the first step."""
        now, before = _copy(features), self._latest
        self._latest = now
        if before is None or before.shape != now.shape:
            self._computed = self._output = None
            return Seen()
        base = before if self._computed is None else self._computed
        stride, size, way, far = self._means(now - before, before, now - base, base)
        return Seen(moved=stride / max(size, TINY), apart=way / max(far, TINY), stride=stride, way=way)

    def keep(self) -> None:
        """Take the step as the latest computed one."""
        self._computed = self._latest

    def learn(self, seen: Seen, output: Streams) -> Seen:
        """Return what was seen of a computed step with what the stack returned; that is another wait."""
        now, before = _copy(output), self._output
        self._output = now
        if before is None or before.shape != now.shape:
            return replace(seen, output=self._means(now)[0])
        size, change = self._means(now, now - before)
        return replace(seen, output=size, change=change)

    def _means(self, *features: Tensor) -> tuple[float, ...]:
        """Return mean magnitudes, for which a decision waits for a GPU."""
        exact = torch.float32 if features[0].device.type == "mps" else torch.float64
        totals, size = summed(
            torch.stack([x.abs().sum(dtype=exact) for x in features]), features[0].numel(), self._group
        )
        return tuple((totals / max(size, 1)).tolist())


def _copy(features: Streams) -> Tensor:
    """Return features in one row, safe from a model that goes on in place."""
    return torch.cat([x.detach().flatten() for x in features])
