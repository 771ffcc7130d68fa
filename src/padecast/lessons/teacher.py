"""Listens to one run, and makes a look of it: what the steps added, and how noisy they were."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from torch import Tensor

from padecast._errors import PadecastWarning
from padecast._noise import Noise
from padecast._steps import Position
from padecast.lessons.collector import LEAST, Collector
from padecast.lessons.identity import Identity
from padecast.lessons.library import Library
from padecast.lessons.look import GUIDED, Look
from padecast.memory.arithmetic import Rows, Streams
from padecast.session.grid import Grid
from padecast.session.observer import Observer


class Teacher(Observer):
    """Hears what every branch of a run returns, and what the sampler is given, and tells what was learnt of it.

    A run may begin in the middle of its schedule, as from an image; then what it visited is a grid of its own. Where
    some steps were forecast, they are read between computed ones.

    Args:
        noise: At the steps that the run visits, and after the last; ``None``: that of the first step that is heard and
            of those after it, as a session on a grid knows it.
        timesteps: Of these steps.
        begin: Where the first of them lies in the schedule.
        teach: Is given the look of a run that ended, once; nothing if the run did not show enough.
        seed: Of the choice of samples of a large batch that are looked at. Default 0.

    Example:
        >>> import torch
        >>> from padecast import Session, forecasters, policies
        >>> library, identity, grid = Library(False), Identity("my model", guidance=3.5), Grid([1.0, 0.7, 0.4, 0.0])
        >>> teacher = Teacher.of(library, identity, grid)
        >>> session = Session(policies.Always(), forecasters.Reuse(), grid=grid, observers=[teacher])
        >>> for sigma in grid.sigmas[:-1]:
        ...     _ = session.step(torch.zeros(1, 4), sigma=sigma, compute=lambda: torch.full((1, 4), sigma))
        >>> teacher.close()
        >>> library.get(identity)
        <Lesson of my model at guidance 3.5 (137d3e): 1 run, 1 sample, at 3 steps>
    """

    def __init__(
        self,
        noise: Noise | None,
        timesteps: tuple[float, ...],
        begin: int,
        teach: Callable[[Look | None], None],
        seed: int = 0,
    ) -> None:
        self._noise, self._timesteps, self._begin, self._teach = noise, timesteps, begin, teach
        self._collector: Collector | None = Collector(len(timesteps), seed=seed)
        self._is_guided, self._latest = False, -1

    @classmethod
    def of(cls, library: Library, identity: Identity, grid: Grid) -> Teacher:
        """Return who listens to one run of a session on a grid, and adds what it taught to a library.

        Where a step has several branches, the loop says what guidance made of them by ``session.guide``. The run
        teaches when :meth:`close` is called, or at the last step of one that says it. One that showed too little
        gives a warning.

        Args:
            library: Where the lesson is kept.
            identity: Whose it is: ``Identity("my model", guidance=3.5)``, or ``Identity.of(pipe)``.
            grid: Of the run.
        """

        def teach(look: Look | None) -> None:
            if look is not None and look.steps >= LEAST:
                library.add(identity, look)
                return
            fact = f"the run taught nothing of {identity}: too few steps were seen, or something was not finite"
            warnings.warn(f"{fact}.\nSample once with every step computed: policies.Always()", PadecastWarning, 3)

        lesson = library.get(identity)
        timesteps = tuple(1000 * sigma for sigma in grid.noise().sigmas[:-1])
        return cls(None, timesteps, 0, teach, seed=0 if lesson is None else lesson.runs)

    @property
    def is_open(self) -> bool:
        """Whether the run that it listens to has not taught yet."""
        return self._collector is not None

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return 0 if self._collector is None else self._collector.nbytes

    def hear(self, branch: str, at: Position, inputs: Streams, output: Streams, rows: Rows | None = None) -> None:
        """Note what a branch returned at a computed step."""
        self._note(branch, at, output[0])

    def hear_guided(self, at: Position, output: Tensor, computed: bool) -> None:
        """Note what the sampler is given, after guidance; at the last step the run is over.

        Args:
            at: The step.
            output: ``(B, ...)``.
            computed: Whether it comes of a computed step; a forecast teaches nothing.
        """
        self._is_guided = True
        if computed:
            self._note(GUIDED, at, output)
        if at.is_last:
            self.close()

    def end(self) -> None:
        """Hear that the model was called for the last time; a sampler that is listened to has one more word."""
        if not self._is_guided:
            self.close()

    def close(self) -> None:
        """Teach what was learnt, once."""
        collector, self._collector = self._collector, None
        if collector is not None:
            # A run may end before its schedule does, as that of a base model whose refiner goes on.
            count = collector.cut()
            noise = None if self._noise is None else self._noise.part(0, count)
            self._teach(None if noise is None else collector.look(noise, self._timesteps[:count]))

    def _note(self, branch: str, at: Position, output: Tensor) -> None:
        if at.index < self._latest:
            self.close()  # a session that begins anew: the run before is over
        self._latest = at.index
        if self._noise is None and at.noise is not None:
            self._begin, self._timesteps = at.index, self._timesteps[at.index :]
            self._noise = at.noise.part(at.index, at.total)
        if self._collector is not None and at.index >= self._begin:
            self._collector.note(at.index - self._begin, branch, output)
