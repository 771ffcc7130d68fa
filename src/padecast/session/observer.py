"""Who hears what a run computes, and may know it already."""

from __future__ import annotations

from torch import Tensor

from padecast._steps import Position
from padecast.memory.arithmetic import Rows, Streams


class Observer:
    """Hears of every computed step of a run's branches: nothing happens, unless a method is overridden.

    Example:
        >>> import torch
        >>> from padecast import Session, forecasters, policies
        >>> class Norms(Observer):
        ...     def hear(self, branch, at, inputs, output, rows=None):
        ...         print(branch, at.index, (output[0] - inputs[0]).norm().item())
        >>> session = Session(policies.Always(), forecasters.Reuse(), total=2, observers=[Norms()])
        >>> _ = session.step(torch.zeros(1, 4), index=0, branch="cond", compute=lambda: torch.ones(1, 4))
        cond 0 2.0
    """

    def hear(self, branch: str, at: Position, inputs: Streams, output: Streams, rows: Rows | None = None) -> None:
        """Hear what a stack was given and returned, before that is remembered.

        The tensors are those of the run: keep copies, and change nothing.

        Args:
            branch: Which conditioning, by its name in the report.
            at: The step.
            inputs: What the stack was given, ``(B, ...)`` per stream.
            output: What it returned.
            rows: Which rows count, where some only fill up; ``None`` if all do.
        """

    def hear_guided(self, at: Position, output: Tensor, computed: bool) -> None:
        """Hear what the sampler is given at a step, after guidance, where that is told.

        Args:
            at: The step.
            output: ``(B, ...)``.
            computed: Whether it comes of a computed step.
        """

    def recall(self, branch: str, at: Position, inputs: Streams) -> Streams | None:
        """Return what a stack returns at a computed step, where that is known without running it; else nothing.

        Args:
            branch: Which conditioning.
            at: The step.
            inputs: What the stack is given.
        """
        return None
