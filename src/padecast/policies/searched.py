"""Follow a plan that a search on runs of the model has found."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.plan import Plan

WAYS = ("annealing", "average-velocity")


@register("searched")
@dataclass(frozen=True)
class Searched(Policy):
    """Follow the plan that a published search finds; compute every step until it has searched.

    The lab searches, on seeds kept for tuning, for as many computed steps as are wanted:

    - ``"annealing"`` (BudCache): runs of plans are compared with the uncached image; computed steps are swapped with
      others or shifted, first by simulated annealing, then by hill climbing;
    - ``"average-velocity"`` (MeanCache): the shortest path through the steps, on uncached runs alone, where going from
      one computed step to the next costs a power of how far the estimated average velocity is from the true one.

    Args:
        search: Which. Default ``"annealing"``.
        steps: The plan that was found, as for :class:`padecast.policies.Plan`; none by default.
        images: What the search may take, in images of an uncached run, for every number of computed steps; 1 or more.
            Default 5, so that three take as many as a quick calibration.

    Raises:
        InvalidOption: If an option is out of range.
        InvalidPlan: If the plan is none; in a run, if it is of another length.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Searched(steps="CC..C"), 5), plan_of(Searched(), 5)
        ('CC..C', 'CCCCC')

    Reference:
        Lei et al., "Budget-Constrained Step-Level Diffusion Caching", arXiv:2606.13496; Gao et al., "MeanCache",
        arXiv:2601.19961.
    """

    search: str = "annealing"
    steps: str = ""
    images: float = 5.0
    preparation: ClassVar[str] = "search"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.search in WAYS, "search", self.search, " or ".join(WAYS))
        check(1 <= self.images <= 1e4, "images", self.images, "1 to 10000")
        if self.steps:
            Plan(self.steps)

    @property
    def computes_all(self) -> bool:
        """Whether nothing was found yet."""
        return "." not in self.steps

    @property
    def length(self) -> int | None:
        """Steps of the only schedule that the plan serves."""
        return len(self.steps) or None

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """See :meth:`Policy.rooms`: the search itself looks for the number that is wanted."""
        return []

    def check(self, total: int) -> None:
        """Raise unless the run has as many steps as the plan."""
        if self.steps:
            Plan(self.steps).check(total)

    def forecasts_at(self, at: Position) -> bool:
        """Return whether the plan has a step forecast."""
        return Plan(self.steps or "C").forecasts_at(at)

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        return not self.steps or Plan(self.steps).computes(at, trace, geometry)
