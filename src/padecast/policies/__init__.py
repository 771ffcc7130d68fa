"""When a step is computed. One file per policy; one line here enrols it everywhere."""

from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import REGISTRY, Policy, register

# In the order in which they are listed:
# isort: off
from padecast.policies.always import Always as Always
from padecast.policies.interval import Interval as Interval
from padecast.policies.spaced import Spaced as Spaced
from padecast.policies.plan import Plan as Plan
from padecast.policies.stability import Stability as Stability
from padecast.policies.growing import Growing as Growing
from padecast.policies.tolerance import Tolerance as Tolerance
from padecast.policies.accumulated import Accumulated as Accumulated
from padecast.policies.first_block import FirstBlock as FirstBlock
from padecast.policies.magnitude import Magnitude as Magnitude
from padecast.policies.rate import Rate as Rate
from padecast.policies.sea import Sea as Sea
from padecast.policies.delta import Delta as Delta
from padecast.policies.learned import Learned as Learned
from padecast.policies.guided_risk import GuidedRisk as GuidedRisk
from padecast.policies.searched import Searched as Searched
from padecast.policies.wrappers import Ends as Ends
from padecast.policies.wrappers import Window as Window
from padecast.policies.wrappers import Anchors as Anchors
from padecast.policies.wrappers import Cap as Cap
# isort: on


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


__all__ = ["REGISTRY", "Policy", "plan_of", "register", *REGISTRY.seal(vars())]
