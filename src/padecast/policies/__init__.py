"""When a step is computed. One file per policy; one line here enrols it everywhere."""

from collections.abc import Callable
from typing import TypeVar

from padecast._geometry import Geometry
from padecast._registry import Registry
from padecast._steps import Position, Trace
from padecast.policies.accumulated import Accumulated
from padecast.policies.always import Always
from padecast.policies.base import Policy
from padecast.policies.delta import Delta
from padecast.policies.first_block import FirstBlock
from padecast.policies.growing import Growing
from padecast.policies.interval import Interval
from padecast.policies.magnitude import Magnitude
from padecast.policies.plan import Plan
from padecast.policies.rate import Rate
from padecast.policies.sea import Sea
from padecast.policies.spaced import Spaced
from padecast.policies.stability import Stability
from padecast.policies.tolerance import Tolerance
from padecast.policies.wrappers import Cap, Ends

Part = TypeVar("Part", bound=Policy)
REGISTRY: Registry[Policy] = Registry(
    "policy",
    Policy,
    {
        "always": Always,
        "interval": Interval,
        "spaced": Spaced,
        "plan": Plan,
        "stability": Stability,
        "growing": Growing,
        "tolerance": Tolerance,
        "accumulated": Accumulated,
        "first-block": FirstBlock,
        "magnitude": Magnitude,
        "rate": Rate,
        "sea": Sea,
        "delta": Delta,
        "ends": Ends,
        "cap": Cap,
    },
)


def plan_of(policy: Policy, total: int) -> str:
    """Write the plan that a policy follows in a run of ``total`` steps.

    Args:
        policy: A policy that decides from position and trace alone.
        total: Number of steps.

    Returns:
        A string of ``C`` (computed) and ``.`` (forecast).

    Raises:
        ValueError: If the policy reads the Gram matrix, so that its plan is known only in a run.

    Example:
        >>> plan_of(Interval(every=3), 7)
        'C..C..C'
    """
    if policy.needs_gram or policy.probe:
        raise ValueError(
            f"{type(policy).__name__} decides from the features of a run, so it has no plan before one.\n"
            "Run it and read the plan from the report: print(run.report)"
        )
    policy.check(total)
    trace = Trace()
    for index in range(total):
        at, history = Position.at(index, total), tuple(reversed(trace.computed))
        computed = not history or policy.computes(at, trace, Geometry(history, tuple(map(float, history))))
        trace = trace.then(at, computed)
    return "".join("C" if step.computed else "." for step in trace)


def register(name: str) -> Callable[[type[Part]], type[Part]]:
    """Enrol a policy of one's own under a name: a decorator for its class.

    Methods, command line and experiments then know it by that name, with its fields as options.

    Args:
        name: Small letters, digits and dashes, beginning with a letter.

    Raises:
        InvalidOption: If the name is taken or no name, or the class is no frozen dataclass of a policy.

    Example:
        >>> from dataclasses import dataclass
        >>> @register("first-half")
        ... @dataclass(frozen=True)
        ... class FirstHalf(Policy):
        ...     def computes(self, at, trace, geometry):
        ...         return at.index < at.total / 2
        >>> plan_of(REGISTRY.make("first-half"), 6)
        'CCC...'
        >>> REGISTRY.remove("first-half")
    """

    def enrol(part: type[Part]) -> type[Part]:
        REGISTRY.register(name, part)
        return part

    return enrol


__all__ = [
    "REGISTRY",
    "Accumulated",
    "Always",
    "Cap",
    "Delta",
    "Ends",
    "FirstBlock",
    "Growing",
    "Interval",
    "Magnitude",
    "Plan",
    "Policy",
    "Rate",
    "Sea",
    "Spaced",
    "Stability",
    "Tolerance",
    "plan_of",
    "register",
]
