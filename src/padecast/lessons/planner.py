"""Plans for every number of computed steps, from what one uncached run has shown, without a model call."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from padecast._errors import check
from padecast._noise import Noise
from padecast._steps import Position
from padecast.forecasters import Forecaster, Reuse
from padecast.lessons.cost import Array, Stretches, gains_of, law_of, square
from padecast.lessons.lesson import Lesson
from padecast.lessons.moves import Moves, Neighbours
from padecast.methods import DAMPED
from padecast.policies import Plan, Spaced
from padecast.policies.spaced import choose_steps

Steps = tuple[int, ...]
OBJECTIVES = ("mean", "low")
REACH, MOVES = 2, 80
"""How far a computed step is moved at a time, at least, and how many moves are looked at at most where it is more."""
EARLY = 0.5
"""Share that errors have in ``"low"`` that are weighted by their noise level once more, in a large latent."""
EARLY_ORIGIN = 500.0
"""Numbers of a latent from which on there is a layout that an early error can change."""
COHERENT = 0.25
"""Share of what errors of different stretches do together; the rest is what each does alone."""
MARGIN = 0.5
"""Decibels that a plan has to be expected to gain over the uncalibrated rule's, which is taken else."""
FEW = 6
"""Budgets of which each is searched from all plans of the rule; of more, each from the best of them alone."""
BEHIND = 2.0
"""Decibels that a plan of the rule may be behind what is there, to be improved too where many budgets are asked for."""
DENSITIES = (0.7, 1.0, 1.4)
"""Of the rule's plans that a search begins from."""
SLOPE, OFFSET = 1.0, 22.0
"""Decibels of PSNR over those of the cost; see :func:`Proposal`."""
SPREAD = 8.0
"""Decibels by which demo models lie beside that, at most (benchmarks/results/planner-fit.json)."""


@dataclass(frozen=True)
class Proposal:
    """A plan, and what it is expected to leave.

    Args:
        steps: Computed steps.
        total: Steps of the run.
        cost: Mean over samples of ten times the decimal logarithm of the squared error, in the latents' units.
    """

    steps: Steps
    total: int
    cost: float

    @property
    def plan(self) -> Plan:
        """The plan."""
        return Plan.at(self.steps, self.total)

    @property
    def decibels(self) -> float:
        """An estimate of the mean PSNR; its constants are those of demo models, and other decoders have others."""
        return OFFSET - SLOPE * self.cost


class Planner:
    r"""Searches plans whose retraced run strays least from the uncached one.

    .. math:: \text{cost} = \text{mean}_s\, 10 \log_{10} \Big( \tfrac14 c^T G_s c + \tfrac34 \sum_n c_n^T G_s c_n \Big),
              \qquad c_n = \sum_{j \text{ in stretch } n} g_j \left( \tilde v_j - e_j \right), \quad c = \sum_n c_n

    with what retracing puts in place of the forecasts between two computed steps, and damped extrapolation behind the
    last of them. Errors of a stretch add up with their signs, and a quarter of those of different stretches, of which
    a single look says less: that predicts measured errors best of what was tried. Every budget begins from the plan of
    the one below with one more step, and from the best one of the uncalibrated rule
    (:class:`padecast.policies.Spaced`), and computed steps are moved one at a time, by a few places, until none helps:
    no plan is worse, by this measure, than the rule's.

    Args:
        gram: ``(S, T, T)`` matrices of S samples at the run's levels, or one mean matrix.
        noise: Of the run's grid.
        objective: ``"mean"`` (default), or ``"low"``, for the worst samples: errors of early steps count for more, and
            the median of the samples seen does, since the worst of a few is an odd one as often as a hint. The worst
            samples are those whose layout an early error has changed, which no first order says; in a small latent,
            where there is little layout, early errors count for less (:math:`D / (D + 500)`), and where the steps
            behind the last computed one are repeated, for nothing more.
        gains: ``(T,)`` what an error of each step does to the image, or the name of a published law, see
            :func:`padecast.lessons.cost.law_of`; :func:`padecast.lessons.cost.gains_of` by default.
        forecaster: By which the steps behind the last computed one are forecast; damped lines by default.
        multistep: Whether the run's solver is one.

    Raises:
        InvalidOption: If the objective or the law is unknown, gains are not above 0, or gains or matrices are of
            another length than the grid.

    Example:
        >>> from padecast.lessons.analytic import make_look
        >>> look = make_look(steps=8)
        >>> [p.plan.steps for p in Planner(look.singles, look.noise).plans([2, 4]).values()]
        ['C..C....', 'CC.C..C.']
    """

    def __init__(
        self,
        gram: Array,
        noise: Noise,
        objective: str = "mean",
        gains: Array | str | None = None,
        forecaster: Forecaster = DAMPED,
        multistep: bool = False,
    ) -> None:
        gram = np.asarray(gram, dtype=np.float64)
        gram = gram[None] if gram.ndim == 2 else gram
        total = len(noise.sigmas) - 1
        check(objective in OBJECTIVES, "objective", objective, " or ".join(map(repr, OBJECTIVES)))
        check(gram.shape[1:] == (total, total), "gram", gram.shape, f"matrices of {total} steps")
        self.noise, self.total, self.objective, self.multistep = noise, total, objective, multistep
        gains = gains_of(noise) if gains is None else law_of(gains, total) if isinstance(gains, str) else gains
        check(gains.shape == (total,), "gains", gains.shape, f"one for each of {total} steps")
        check(bool((gains > 0).all()), "gains", float(gains.min()), "above 0 at every step")
        self._parts: dict[str, Any] = {"gram": gram, "noise": noise, "objective": objective, "gains": gains}
        self._parts |= {"forecaster": forecaster, "multistep": multistep}
        # Repetition behind an early last step is what a solver of several steps forgives least: no early weights there.
        weighs_early = objective == "low" and not isinstance(forecaster, Reuse)
        early = [gains * np.asarray(noise.levels[:-1])] if weighs_early else []
        self._stretches = [Stretches(gram, noise, each, forecaster, multistep) for each in (gains, *early)]
        self._moves = [Moves(stretches, COHERENT) for stretches in self._stretches]
        self._improved: dict[Steps, Steps] = {}
        self._costs: dict[Steps, float] = {}

    @classmethod
    def of(cls, lesson: Lesson, noise: Noise, objective: str = "mean", **options: Any) -> Planner:
        """Read a lesson at a grid; its measured gains are used where it has any, unless others are given.

        Args:
            lesson: That covers the grid's levels.
            noise: Of the run's grid.
            objective: See :class:`Planner`, and so are all other options.

        Raises:
            InvalidOption: If it does not cover them.
        """
        if lesson.gains is not None and options.get("gains") is None:
            options["gains"] = lesson.gains.at(noise)
        return cls(lesson.singles(noise.levels[:-1]), noise, objective, **options)

    def alter(self, **changes: Any) -> Planner:
        """Return a planner of the same run that differs in some of what it was made with, such as its gains."""
        return Planner(**{**self._parts, **changes})

    def cost(self, steps: Iterable[int]) -> float:
        """Return the cost of computing these steps, the first among them."""
        return self._cost_all([tuple(sorted(steps))])[0]

    def spaced(self, count: int, density: float = 1.0, last: bool = True) -> Steps:
        """Return the plan of the uncalibrated rule that computes so many steps."""
        if count < 2 or self.total < 3:
            return tuple(range(count))
        rule = Spaced(every=max((self.total - 1) / max(count - 1, 1), 1.0), density=density)
        places = rule.places(Position(0, self.total, 0.0, noise=self.noise), 0, count)
        steps = choose_steps(places[:-1], count) if last else choose_steps(places, count + 1) - {self.total}
        return tuple(sorted(steps))

    def plans(self, budgets: Iterable[int] | None = None) -> dict[int, Proposal]:
        """Return the best plan of every budget.

        Args:
            budgets: Numbers of computed steps, each 1 to T; all of them by default.

        Raises:
            InvalidOption: If a budget is out of range.
        """
        counts = sorted(set(range(1, self.total + 1) if budgets is None else budgets))
        for count in counts:
            check(1 <= count <= self.total, "budget", count, f"1 to {self.total}, the steps of the run")
        return {len(proposal.steps): proposal for proposal in self._grow(counts)}

    def reach(self, decibels: float) -> Proposal:
        """Return the plan of the fewest computed steps that is expected to be so good, or that of all steps.

        Args:
            decibels: See :attr:`Proposal.decibels`.
        """
        for proposal in self._grow(range(1, self.total + 1)):
            if proposal.decibels >= decibels:
                break
        return proposal

    def _grow(self, counts: Collection[int]) -> Iterator[Proposal]:
        """Yield the best plan of every budget, rising, each grown from the one below."""
        steps: Steps = (0,)
        for count in range(1, max(counts, default=0) + 1):
            if count > 1:
                steps = self._insert(steps)
            if count in counts:
                rules = sorted(dict.fromkeys(self._rules(count)), key=self.cost)
                rule, steps = rules[0], self._improve(steps)
                behind = self.cost(steps) + BEHIND if len(counts) > FEW else math.inf
                begins = [each for each in rules[: 1 if len(counts) > FEW else None] if self.cost(each) < behind]
                steps = min((steps, *map(self._improve, begins)), key=self.cost)
                # One run's matrix is a sample: of a gain that it hardly sees, nothing is left on others.
                chosen = rule if self.cost(rule) - self.cost(steps) < MARGIN else steps
                yield Proposal(chosen, self.total, self._costs[chosen])

    def _rules(self, count: int) -> list[Steps]:
        """Return the plans of the uncalibrated rule that a search may begin from."""
        return [self.spaced(count, density, last) for density in DENSITIES for last in (True, False)]

    def _insert(self, steps: Steps) -> Steps:
        """Return the plan with one more step, where it helps most."""
        plans = [tuple(sorted((*steps, index))) for index in range(self.total) if index not in steps]
        costs = self._cost_all(plans)
        return plans[int(np.argmin(costs))]

    def _improve(self, steps: Steps) -> Steps:
        """Move one computed step at a time, as long as that helps."""
        if len(steps) in (1, self.total):
            return steps
        best, way = self.cost(steps), []
        near = Neighbours(steps, self.total, max(REACH, MOVES // (2 * len(steps))))
        for _ in range(4 * self.total):
            way.append(near.steps)
            if near.steps in self._improved or not len(near):
                break
            costs = self._weigh([moves.squares(near) for moves in self._moves])
            number = int(np.argmin(costs))
            # Less than rounding is no help: two plans of one cost would be swapped to and fro.
            if costs[number] >= best - 1e-9:
                break
            best = float(costs[number])
            near.move(number)
        end = self._improved.get(near.steps, near.steps)
        self._improved.update(dict.fromkeys(way, end))
        return end

    def _cost_all(self, plans: Sequence[Steps]) -> list[float]:
        """Return the costs of plans of one length."""
        fresh = [plan for plan in dict.fromkeys(plans) if plan not in self._costs]
        if fresh:
            steps = np.asarray(fresh)
            costs = self._weigh([_add_up(steps, stretches) for stretches in self._stretches])
            self._costs.update(zip(fresh, costs.tolist(), strict=True))
        return [self._costs[plan] for plan in plans]

    def _weigh(self, squares: Sequence[Array]) -> Array:
        """Return ``(N,)`` costs of squared errors ``(N, S)``; for ``"low"`` there are those of early steps besides."""
        decibels, *early = [10 * np.log10(np.maximum(each, LEAST)) for each in squares]
        if self.objective == "mean":
            mean: Array = decibels.mean(1)
            return mean
        share = EARLY * self.noise.size / (self.noise.size + EARLY_ORIGIN)
        mixed = (1 - share) * decibels + share * early[0] if early else decibels
        median: Array = np.median(mixed, axis=1)
        return median


def _add_up(plans: NDArray[np.int64], stretches: Stretches) -> Array:
    """Return ``(N, S)`` the squared errors that plans of one length leave."""
    errors, alone = stretches.add_up(plans)
    tails, sizes = stretches.behind(plans)
    together = square(errors[:, None] + tails, stretches.gram)
    result: Array = COHERENT * together + (1 - COHERENT) * (alone + sizes)
    return result


LEAST = 1e-20
"""Squared errors below it are rounding."""
