"""Listens to one run, and makes a look of it: what the steps added, and how noisy they were."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from padecast._noise import Noise
from padecast._steps import Position
from padecast.lessons.collector import Collector
from padecast.lessons.look import GUIDED, Look
from padecast.memory.arithmetic import Rows, Streams
from padecast.session.observer import Observer


class Teacher(Observer):
    """Hears what every branch of a run returns, and what the sampler is given, and tells what was learnt of it.

    A run may begin in the middle of its schedule, as from an image; then what it visited is a grid of its own. Where
    some steps were forecast, they are read between computed ones.

    Args:
        noise: At the steps that the run visits, and after the last.
        timesteps: Of these steps.
        begin: Where the first of them lies in the schedule.
        teach: Is given the look of a run that ended, once; nothing if the run did not show enough.
        seed: Of the choice of samples of a large batch that are looked at.
    """

    def __init__(
        self,
        noise: Noise,
        timesteps: tuple[float, ...],
        begin: int,
        teach: Callable[[Look | None], None],
        seed: int = 0,
    ) -> None:
        self._noise, self._timesteps, self._begin, self._teach = noise, timesteps, begin, teach
        self._collector: Collector | None = Collector(len(timesteps), seed=seed)
        self._is_guided = False

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
            self._teach(collector.look(self._noise.part(0, count), self._timesteps[:count]))

    def _note(self, branch: str, at: Position, output: Tensor) -> None:
        if self._collector is not None and at.index >= self._begin:
            self._collector.note(at.index - self._begin, branch, output)
