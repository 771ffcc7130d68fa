"""What every policy promises: a decision from position, trace and geometry alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from padecast._geometry import Geometry
from padecast._options import check_types
from padecast._steps import Position, Trace
from padecast.memory.arithmetic import Streams

PROBES = {
    "latents": "the model's first argument",
    "spectrum": "the model's first argument with its height and width, to be filtered",
    "modulated": "the first block's normalised input, shifted and scaled by the timestep",
    "first-block": "what the first block adds; the span is then the blocks after it",
}


@dataclass(frozen=True)
class Policy(ABC):
    """A rule that says whether a step is computed.

    A policy is a frozen dataclass whose fields are its options. It holds no state: what a rule needs to remember is in
    the trace. It is asked once per step for all branches and samples, so decisions are shared: the Gram matrix that it
    sees holds the samples of every branch; ``geometry.on_host()`` those that may decide, which a sample that is not a
    number may not. The first step of a run is computed without asking.

    Example:
        >>> @dataclass(frozen=True)
        ... class Early(Policy):
        ...     share: float = 0.5
        ...     def computes(self, at, trace, geometry):
        ...         return at.index < self.share * at.total
        >>> from padecast.policies import plan_of
        >>> plan_of(Early(), 8)
        'CCCC....'
    """

    needs_gram: ClassVar[bool] = False
    """Whether the decision reads the Gram matrix; on a GPU that is one synchronisation per decision."""
    needs_stride: ClassVar[bool] = False
    """Whether it reads ``Position.stride`` or ``Position.noise``; the noise levels are then read once per run."""

    def __post_init__(self) -> None:
        """Check that every option is of the type that it is annotated with.

        Raises:
            InvalidOption: Naming the option, its value, and what was expected.
        """
        check_types(self)

    @property
    def length(self) -> int | None:
        """Steps of the only schedule that it serves; none (the default) if it serves schedules of any length."""
        return None

    @property
    def probe(self) -> str:
        """What it wants to see of every step before it decides, one of :data:`PROBES`; nothing by default.

        What was seen is in ``at.seen`` and in the positions of the trace. It is seen at the first call of a step, and
        decides for all of its calls; on a GPU that is one synchronisation a step, and for ``"latents"`` another at a
        computed one.
        """
        return ""

    def filter(self, features: Streams, at: Position) -> Streams:
        """Return what is compared from step to step of what it wanted to see; all of it by default.

        Args:
            features: What its probe shows, ``(B, ...)`` per stream.
            at: The step.
        """
        return features

    @property
    def looks_back(self) -> int:
        """Residuals whose inner products it wants to see."""
        return 1

    @abstractmethod
    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """Return whether the step is computed.

        Args:
            at: The step to decide on.
            trace: What the run has done before it; never empty.
            geometry: The remembered residuals, with a Gram matrix if ``needs_gram``.
        """

    def leaves_out(self, at: Position, part: int) -> bool:
        """Return whether one of several stacks is left out at a forecast step; all are by default.

        Args:
            at: The forecast step.
            part: Which stack, counted from the model's input.
        """
        return True

    @property
    def computes_all(self) -> bool:
        """Whether it never forecasts, whatever the run. False unless a policy says so."""
        return False

    def forecasts_at(self, at: Position) -> bool:
        """Return whether a step is one to be forecast, whatever the run has done before; no by default.

        A run that begins at such a step computes it all the same, and its report says so.
        """
        return False

    def check(self, total: int) -> None:  # noqa: B027 - a default, not an obligation
        """Raise if this policy cannot serve a run of ``total`` steps. By default every length is fine."""
