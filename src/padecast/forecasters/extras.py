"""What a few forecasters do besides weights on residuals, or instead of them; most have no extra."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from padecast._geometry import Geometry
from padecast._steps import Position

if TYPE_CHECKING:
    from padecast.memory.arithmetic import Streams
    from padecast.memory.memory import Memory


class State:
    """What an extra remembers of a run besides residuals: nothing, unless it is overridden."""

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return 0

    def clear(self) -> None:
        """Forget everything: the run is over."""

    def learn(self, branch: str) -> None:
        """Hear that a branch was computed, and its residual remembered."""


class Extra:
    """What a session, or what hooks a model, does for a forecaster besides adding up weights."""

    def begin(self, *, alone: bool) -> State:
        """Return what it remembers of one run.

        Args:
            alone: Whether no other process holds a part of the features.
        """
        return State()


class Replay(Extra):
    """The stack is run at forecast steps too, and the true residual taken for the forecast."""


class Direct(Extra, ABC):
    """A forecast that is made of features, and not by adding up weights."""

    has_weights: ClassVar[bool] = False
    """Whether it equals the forecaster's weights on all computed residuals, which a report then shows."""

    @abstractmethod
    def forecast(self, memory: Memory, geometry: Geometry, entry: Streams, at: Position) -> Streams:
        """Return ``entry + R(t)``.

        Args:
            memory: What the branch remembers.
            geometry: The same without features.
            entry: The stack's current inputs, one tensor ``(B, ...)`` per stream.
            at: The step to forecast.
        """


class Moments(Direct):
    """A forecast from moments ``sum_j phi_m(t_j) R_j``, in which a memory that does not grow holds all residuals."""

    has_weights: ClassVar[bool] = True

    @property
    @abstractmethod
    def moments(self) -> int:
        """How many basis functions there are."""

    @abstractmethod
    def basis(self, at: Position) -> Tensor:
        """Return the basis functions ``phi`` at a computed step, ``(moments,)`` float64."""
