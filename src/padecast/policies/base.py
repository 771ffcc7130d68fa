"""What every policy promises: a decision from position, trace and geometry alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from padecast._geometry import Geometry
from padecast._options import check_types, parts_of
from padecast._registry import Registry
from padecast._steps import Position, Trace
from padecast.memory.arithmetic import Streams
from padecast.policies.knob import Knob

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
    number may not. The first step of a run is computed without asking. An option may be a policy itself. What few
    policies have besides is in the ``Supports`` classes below: whoever has such a method need not inherit.

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

    def __post_init__(self) -> None:
        """Check that every option is of the type that it is annotated with.

        Raises:
            InvalidOption: Naming the option, its value, and what was expected.
        """
        check_types(self)

    @property
    def _parts(self) -> list[Policy]:
        return parts_of(self, Policy)

    @property
    def needs_gram(self) -> bool:
        """Whether the decision reads the Gram matrix, by default if a part does; on a GPU one wait per decision."""
        return any(part.needs_gram for part in self._parts)

    @property
    def needs_stride(self) -> bool:
        """Whether it or a part reads ``Position.stride`` or ``Position.noise``, which are then read once per run."""
        return any(part.needs_stride for part in self._parts)

    @property
    def looks_back(self) -> int:
        """Residuals whose inner products it wants to see; by default, as many as its parts, and one at least."""
        return max((part.looks_back for part in self._parts), default=1)

    @property
    def probe(self) -> str:
        """What it wants to see of every step before it decides, one of :data:`PROBES`; by default what a part does.

        What was seen is in ``at.seen`` and in the positions of the trace. It is seen at the first call of a step, and
        decides for all of its calls; on a GPU that is one synchronisation a step, and for ``"latents"`` another at a
        computed one.
        """
        return next((part.probe for part in self._parts if part.probe), "")

    @property
    def length(self) -> int | None:
        """Steps of the only schedule that it or a part serves; none if it serves schedules of any length."""
        return next((part.length for part in self._parts if part.length is not None), None)

    @property
    def computes_all(self) -> bool:
        """Whether it never forecasts, whatever the run. False unless a policy says so."""
        return False

    @property
    def knob(self) -> Knob | None:
        """The number that is turned until a run computes as many steps as wanted; none by default."""
        return None

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """Return options to try besides the knob, those that change least first.

        Where a plan is known before a run and there is no knob, they are all that is tried.

        Args:
            steps: Of the schedule.
            computed: How many of them are to be computed.
            fixed: Options that stay as they are.
        """
        return [{}]

    @abstractmethod
    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """Return whether the step is computed.

        Args:
            at: The step to decide on.
            trace: What the run has done before it; never empty.
            geometry: The remembered residuals, with a Gram matrix if ``needs_gram``.
        """

    def check(self, total: int) -> None:
        """Raise if it or a part cannot serve a run of ``total`` steps. By default every length is fine."""
        for part in self._parts:
            part.check(total)


Part = TypeVar("Part", bound=Policy)
REGISTRY: Registry[Policy] = Registry("policy", Policy)


def register(name: str) -> Callable[[type[Part]], type[Part]]:
    """Enrol a policy of one's own under a name: a decorator for its class.

    Methods, command line and experiments then know it by that name, with its fields as options.

    Args:
        name: Small letters, digits and dashes, beginning with a letter.

    Raises:
        InvalidOption: If the name is taken or no name, or the class is no frozen dataclass of a policy.

    Example:
        >>> from dataclasses import dataclass
        >>> from padecast.policies import plan_of
        >>> @register("first-half")
        ... @dataclass(frozen=True)
        ... class FirstHalf(Policy):
        ...     def computes(self, at, trace, geometry):
        ...         return at.index < at.total / 2
        >>> plan_of(REGISTRY.make("first-half"), 6)
        'CCC...'
        >>> REGISTRY.remove("first-half")
    """
    return REGISTRY.enrol(name)


@runtime_checkable
class SupportsFilter(Protocol):
    """A policy that compares from step to step what it makes of the features that its probe shows."""

    def filter(self, features: Streams, at: Position) -> Streams:
        """Return what is compared.

        Args:
            features: What the probe shows, ``(B, ...)`` per stream.
            at: The step.
        """


@runtime_checkable
class SupportsStacks(Protocol):
    """A policy that has one of several stacks run at a forecast step; the others are left out."""

    def leaves_out(self, at: Position, stack: int) -> bool:
        """Return whether a stack is left out.

        Args:
            at: The forecast step.
            stack: Which, counted from the model's input.
        """


@runtime_checkable
class SupportsPlan(Protocol):
    """A policy that knows of steps to be forecast whatever the run has done before.

    A run that begins at such a step computes it all the same, and its report says so.
    """

    def forecasts_at(self, at: Position) -> bool:
        """Return whether a step is to be forecast."""


@runtime_checkable
class SupportsPreparation(Protocol):
    """A policy that has to see runs before it can be used; the lab draws them before it tunes or compares."""

    @property
    def preparation(self) -> str:
        """What it learns of them, a name of :data:`padecast.lab.preparation.WAYS`; nothing if it needs no run."""


def find(policy: Policy, kind: type[Any]) -> Any:
    """Return the policy, or the part of it, that is of a kind; nothing if there is none.

    Example:
        >>> from padecast.policies import Cap, Delta, Interval
        >>> find(Cap(Delta(), limit=2), SupportsStacks), find(Interval(), SupportsStacks)
        (Delta(every=2, switch=0.5, last=True), None)
    """
    if isinstance(policy, kind):
        return policy
    return next((part for inner in policy._parts if (part := find(inner, kind)) is not None), None)
