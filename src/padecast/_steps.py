"""Where a step lies in the schedule of its run, and what a run has done so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from padecast._noise import Noise


@dataclass(frozen=True)
class Seen:
    """What a policy's probe saw of a step: mean magnitudes over all that one call holds.

    Args:
        moved: ``mean |m - m_before| / mean |m_before|`` from the step before; 0 at the first step.
        apart: The same from the latest computed step before this one.
        stride: ``mean |m - m_before|``, not relative.
        way: ``mean |m - m_computed|``, not relative.
        output: ``mean |v|`` of what the stack returned; 0 unless the step is computed.
        change: ``mean |v - v_computed|`` from the latest computed step before it; 0 unless the step is computed.
    """

    moved: float = 0.0
    apart: float = 0.0
    stride: float = 0.0
    way: float = 0.0
    output: float = 0.0
    change: float = 0.0


@dataclass(frozen=True)
class Position:
    """Where a step lies in the schedule of its run.

    Args:
        index: Place in the scheduler's grid, from 0. An image-to-image run starts in the middle of it.
        total: Number of places in the grid.
        time: Abscissa that forecasts are made over. The step index unless a caller chooses otherwise.
        stride: How far the sampler moves the state with this step's output, ``|sigma_i - sigma_{i+1}|``;
            ``None`` where no noise level is known, which counts as ``1 / total``.
        strides: The strides of all places of the grid, where they are known.
        seen: What the policy's probe saw of it, where it has one and did.
        noise: How noisy the latents are at all places of the grid, where the scheduler tells it.
        times: The abscissae of all places, where they are not the step indices.

    Example:
        >>> Position.at(3, 20)
        Position(index=3, total=20, time=3.0, stride=None)
        >>> Position.at(19, 20).is_last
        True
    """

    index: int
    total: int
    time: float
    stride: float | None = None
    strides: tuple[float, ...] | None = field(default=None, repr=False, compare=False)
    seen: Seen | None = field(default=None, repr=False, compare=False)
    noise: Noise | None = field(default=None, repr=False, compare=False)
    times: tuple[float, ...] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def at(
        cls,
        index: int,
        total: int,
        time: float | None = None,
        stride: float | None = None,
        strides: tuple[float, ...] | None = None,
        noise: Noise | None = None,
    ) -> Position:
        """Place a step; ``time`` is the step index unless given, ``stride`` its place in ``strides``."""
        stride = strides[index] if stride is None and strides is not None else stride
        return cls(index, total, float(index if time is None else time), stride, strides, noise=noise)

    @property
    def is_last(self) -> bool:
        """Whether no step of the grid follows."""
        return self.index >= self.total - 1

    @property
    def weight(self) -> float:
        """Share of the whole way that this step moves the state: its stride, or ``1 / total``."""
        return 1.0 / max(self.total, 1) if self.stride is None else abs(self.stride)

    def weight_of(self, index: int) -> float:
        """Share of the whole way that another step of the same grid moves the state."""
        return self.weight if self.strides is None else abs(self.strides[index])


@dataclass(frozen=True)
class Step:
    """One step of a run and what was done at it."""

    at: Position
    computed: bool


@dataclass(frozen=True)
class Trace:
    """What a run has done so far, oldest step first. A value: a run replaces it, nothing changes it.

    Args:
        steps: Its steps. Default none.

    Example:
        >>> trace = Trace().then(Position.at(0, 20), True).then(Position.at(1, 20), False)
        >>> trace.computed, trace.forecasts_in_a_row, len(trace)
        ((0,), 1, 2)
    """

    steps: tuple[Step, ...] = ()

    def then(self, at: Position, computed: bool) -> Trace:
        """Return the trace with one more step."""
        return Trace((*self.steps, Step(at, computed)))

    @property
    def before(self) -> Trace:
        """The trace without its last step."""
        return Trace(self.steps[:-1])

    def corrected(self) -> Trace:
        """Return the trace with its last step computed, because no branch could forecast it."""
        return self.before.then(self.steps[-1].at, True)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    @cached_property
    def computed(self) -> tuple[int, ...]:
        """Indices of the computed steps, oldest first."""
        return tuple([step.at.index for step in self.steps if step.computed])

    @cached_property
    def since_computed(self) -> tuple[Position, ...]:
        """Positions forecast since the last computed step, oldest first."""
        tail: list[Position] = []
        for step in reversed(self.steps):
            if step.computed:
                break
            tail.append(step.at)
        return tuple(reversed(tail))

    @property
    def forecasts_in_a_row(self) -> int:
        """Number of steps forecast since the last computed one."""
        return len(self.since_computed)


def normalise(strides: Sequence[float]) -> tuple[float, ...] | None:
    """Return strides as shares of the whole way; ``None`` if they are no way at all.

    Example:
        >>> normalise([1, 3])
        (0.25, 0.75)
    """
    whole = sum(strides)
    if not (0 < whole < float("inf") and all(stride >= 0 for stride in strides)):
        return None
    return tuple(stride / whole for stride in strides)
