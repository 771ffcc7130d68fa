"""Compares what a policy's probe sees from step to step."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from padecast._history import TINY, Seen


class Watch:
    """What a probe saw at the step before and at the latest computed one, and what the stack then returned.

    Example:
        >>> watch = Watch()
        >>> first = watch.see(torch.tensor([2.0]))
        >>> watch.see(torch.tensor([3.0])).moved
        0.5
    """

    def __init__(self) -> None:
        self._latest: Tensor | None = None
        self._computed: Tensor | None = None
        self._output: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered."""
        kept = (self._latest, self._computed, self._output)
        return sum({x.data_ptr(): x.nbytes for x in kept if x is not None}.values())

    def see(self, features: Tensor) -> Seen:
        """Return how far the features of a step lie from those before; nothing is known at the first step."""
        now, before = features.detach().clone(), self._latest
        self._latest = now
        if before is None or before.shape != now.shape:
            self._computed = None
            return Seen()
        base = before if self._computed is None else self._computed
        stride, size, way, far = _means(now - before, before, now - base, base)
        return Seen(moved=stride / max(size, TINY), apart=way / max(far, TINY), stride=stride, way=way)

    def learn(self, seen: Seen, output: Tensor) -> Seen:
        """Take the step as the latest computed one; returns what was seen of it with what the stack returned."""
        output, before = output.detach().clone(), self._output
        self._computed, self._output = self._latest, output
        if before is None or before.shape != output.shape:
            return replace(seen, output=_means(output)[0])
        size, change = _means(output, output - before)
        return replace(seen, output=size, change=change)


def _means(*features: Tensor) -> tuple[float, ...]:
    """Return mean magnitudes; the one time that a decision waits for a GPU."""
    return tuple(torch.stack([x.abs().mean(dtype=torch.float32) for x in features]).tolist())
