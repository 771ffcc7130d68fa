"""The closed-loop choice: the matrix proposes plans, the real sampler decides, judged on samples held out."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from padecast import forecasters
from padecast._session import Session
from padecast.calibration.exact import exact_plans
from padecast.calibration.planner import Objective, propose
from padecast.calibration.refine import Refinement, refine, stretches
from padecast.calibration.statistic import Statistic
from padecast.calibration.trials import Bench, attached
from padecast.forecasters import Forecaster, Refined, TCPade, Wiener
from padecast.forecasters.refined import Rows
from padecast.policies import Interval, Plan, Policy, Tolerance, plan_of

SCOUTS = ("tcpade", "wiener:window=4,ridge=0.0001,feedback=1")
OTHERS = (
    "lagrange",
    "pade",
    "wiener:feedback=0.5",
    "wiener:feedback=1,constraint=sum",
    "wiener:window=2,feedback=1",
)


Offsets = tuple[tuple[int, Rows], ...]


@dataclass(frozen=True)
class Candidate:
    """A plan with a forecaster, as written in the file.

    Args:
        plan: ``C`` and ``.``.
        forecaster: Registered name with options; Wiener weights read the calibration's own matrix.
        offsets: See :class:`padecast.forecasters.Refined`; none unless refined.
    """

    plan: str
    forecaster: str
    offsets: Offsets = ()

    @property
    def key(self) -> str:
        """Names the candidate among the measurements."""
        return f"{self.plan} {self.forecaster}{' refined' if self.offsets else ''}"

    def built(self, statistic: Statistic, strides: tuple[float, ...] = ()) -> Forecaster:
        """Build the forecaster with the weights of a calibration; strides are the sampler's own unless given."""
        inner = forecasters.REGISTRY.make(self.forecaster)
        if isinstance(inner, Wiener):
            gram = tuple(map(tuple, statistic.gram().tolist()))
            inner = replace(inner, gram=gram, plan=self.plan, strides=strides)
        return Refined(inner, self.offsets, names(statistic)) if self.offsets else inner


@dataclass(frozen=True)
class Measured:
    """A candidate and the PSNR of every calibration sample that it drew, in dB."""

    candidate: Candidate
    psnr: dict[int, float]

    @property
    def mean(self) -> float:
        """Mean over the samples."""
        return fmean(self.psnr.values())


@dataclass(frozen=True)
class Choice:
    """What was won for one budget.

    Args:
        best: The winner, with its PSNR on all calibration samples.
        held_out: The winner's mean PSNR on the samples that neither chose nor fitted.
        ranking: All candidates that were measured on all fitting samples, best first.
    """

    best: Measured
    held_out: float
    ranking: tuple[Measured, ...]


@dataclass(frozen=True)
class Effort:
    """How much is tried.

    Args:
        scouts: Samples on which all proposals are tried, at least 1. Default 6.
        finalists: Candidates that are tried on all fitting samples, at least 1. Default 6.
        moves: Rounds of local search. Default 1.
        refined: Winners whose weights are fitted in closed loop; 0 for none. Default 2.
        refinement: How they are fitted.
    """

    scouts: int = 6
    finalists: int = 6
    moves: int = 1
    refined: int = 2
    refinement: Refinement = Refinement()  # noqa: RUF009 - frozen


def names(statistic: Statistic) -> tuple[str, ...]:
    """Return the branches that are calls of their own; none if there is one, or if they share a batch."""
    shared = any(re.search(r" part \d+$", branch) for branch in statistic.branches)
    return () if shared or len(statistic.branches) == 1 else statistic.branches


def split(seeds: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Part seeds in those to fit on and those held out, a third; with one or two seeds nothing is held out.

    The third is drawn at random, always alike, so that it does not fall in step with prompts that repeat.

    Example:
        >>> [len(part) for part in split(range(16))]
        [11, 5]
    """
    held = set(random.Random(0).sample(list(seeds), len(seeds) // 3))
    return tuple(s for s in seeds if s not in held), tuple(s for s in seeds if s in held)


def objectives() -> list[Objective]:
    """Return the objectives that propose plans."""
    rules = [Wiener(window=2), Wiener(window=3, feedback=0.5), Wiener(window=3, feedback=1.0), Wiener(window=4)]
    blends = [Objective(rule, coherent=c) for rule in rules for c in (0.0, 0.5, 1.0)]
    paths = [Objective(rule, path=p) for rule in rules[:3] for p in (1.0, 4.0)]
    return [*blends, *paths]


def proposals(
    statistic: Statistic, strides: Sequence[float], budgets: Iterable[int], known: Iterable[str] = ()
) -> dict[int, list[str]]:
    """Return distinct plans for every budget: from all matrices and objectives, even ones, and those given.

    Args:
        statistic: The matrices.
        strides: Of the sampler.
        budgets: Numbers of computed steps.
        known: Further plans, of any budget.
    """
    found: dict[int, dict[str, None]] = {budget: {} for budget in budgets}
    for kind in statistic.kinds:
        gram = np.asarray(statistic.gram(kind).numpy())
        for objective in objectives():
            for budget, plan in propose(gram, strides, found, objective).items():
                found[budget][plan] = None
        for budget, plan in exact_plans(gram, strides, found, Objective(Wiener(window=3), coherent=0.0)).items():
            found[budget][plan] = None
    even = [plan_of(Interval(every=every), statistic.steps) for every in range(1, statistic.steps)]
    for plan in (*even, *known):
        if plan.count("C") in found:
            found[plan.count("C")][plan] = None
    return {budget: list(plans) for budget, plans in found.items()}


def adaptive_plans(bench: Bench, budgets: Sequence[int], seeds: Sequence[int]) -> list[str]:
    """Return the plans that the tolerance policy makes by itself, finest first.

    They come from a grid of tolerances, and from between those neighbours that leave a wanted budget out.

    Args:
        bench: Draws.
        budgets: Numbers of computed steps that are wanted.
        seeds: Samples that decide together; the first call's are used.
    """
    made: dict[float, str] = {}

    def tried(tolerance: float) -> None:
        made[tolerance] = _adaptive_plan(bench, Tolerance(tolerance), seeds)

    for power in range(8):
        tried(0.0025 * 1.5**power)
        if min(_counts(made)) < min(budgets):
            break
    for budget in budgets:
        for _ in range(HALVINGS):
            finer = [t for t, plan in made.items() if plan.count("C") > budget]
            coarser = [t for t, plan in made.items() if plan.count("C") < budget]
            if budget in _counts(made) or not finer or not coarser:
                break
            tried(math.sqrt(max(finer) * min(coarser)))
    return list(dict.fromkeys(made[tolerance] for tolerance in sorted(made)))


HALVINGS = 4


def _counts(made: dict[float, str]) -> set[int]:
    return {plan.count("C") for plan in made.values()}


def _adaptive_plan(bench: Bench, policy: Policy, seeds: Sequence[int]) -> str:
    seeds = bench.batches(seeds)[0]
    with attached(bench.pipe, bench.span, lambda total: Session(policy, TCPade(), total, measure=False)) as begun:
        bench.draw(seeds)
    plan = begun[-1].plan
    bench.progress("scouting", plan.count("C") * len(seeds) / max(len(plan), 1))
    return plan


def choose(bench: Bench, statistic: Statistic, plans: Sequence[str], effort: Effort = Effort()) -> Choice:
    """Choose among plans of one budget, and fit the winner's weights.

    1. every plan with the scouting forecasters, on a few samples;
    2. the best plans with the other forecasters, on the same samples;
    3. the best of all on all samples to fit on;
    4. local search: every computed step of the winner moved by one;
    5. closed-loop fit of the winners' weights, kept if it helps on the samples held out.

    Args:
        bench: Draws and remembers.
        statistic: For Wiener weights.
        plans: Of one budget.
        effort: How much is tried.
    """
    fit, held = split(bench.seeds)
    few = fit[: effort.scouts]
    pool = _measured(bench, statistic, [Candidate(plan, rule) for plan in plans for rule in SCOUTS], few)
    leading = list(dict.fromkeys(m.candidate.plan for m in pool))[:3]
    pool += _measured(bench, statistic, [Candidate(plan, rule) for plan in leading for rule in OTHERS], few)
    pool.sort(key=lambda m: -m.mean)
    final = _measured(bench, statistic, [m.candidate for m in pool[: effort.finalists]], fit)
    for _ in range(effort.moves):
        best = final[0]
        near = [Candidate(plan, best.candidate.forecaster) for plan in neighbours(best.candidate.plan)]
        scouted = _measured(bench, statistic, near, few)
        bar = fmean(best.psnr[seed] for seed in few)
        better = [m.candidate for m in scouted[:2] if m.mean > bar]
        if not better:
            break
        final = sorted([*final, *_measured(bench, statistic, better, fit)], key=lambda m: -m.mean)
        if final[0] is best:
            break
    winner = _fitted(bench, statistic, [*final, *pool], fit, held, effort)
    everyone = bench.score(Plan(winner.plan), winner.built(statistic), bench.seeds, winner.key)
    psnr = dict(zip(bench.seeds, everyone, strict=True))
    return Choice(Measured(winner, psnr), fmean(psnr[s] for s in (held or fit)), tuple(final))


def _fitted(
    bench: Bench,
    statistic: Statistic,
    final: Sequence[Measured],
    fit: Sequence[int],
    held: Sequence[int],
    effort: Effort,
) -> Candidate:
    """Fit the weights of the best plans, and return the best by the held-out samples (by all, without any)."""
    judges = tuple(held) or tuple(fit)
    field = [final[0].candidate]
    for plan in list(dict.fromkeys(m.candidate.plan for m in final))[: effort.refined]:
        if not stretches(Plan(plan)):
            continue
        field += _refined(bench, statistic, _linear(final, plan), fit, effort)
    return max(field, key=lambda c: fmean(bench.score(Plan(c.plan), c.built(statistic), judges, c.key)))


def _linear(final: Sequence[Measured], plan: str) -> Candidate:
    """Return a plan's best candidate with fixed weights, which answers to offsets most evenly; else its best."""
    own = [m.candidate for m in final if m.candidate.plan == plan]
    return next((c for c in own if not forecasters.REGISTRY.make(c.forecaster).needs_gram), own[0])


def _refined(
    bench: Bench, statistic: Statistic, candidate: Candidate, fit: Sequence[int], effort: Effort
) -> list[Candidate]:
    key = f"{candidate.key} refined"
    if key not in bench.fitted:
        found = refine(
            bench,
            Plan(candidate.plan),
            candidate.built(statistic),
            fit,
            names(statistic),
            len(statistic.branches),
            effort.refinement,
        )
        bench.fitted[key] = rounded(found.offsets)
        bench.fit_saved(key, bench.fitted[key])
    return [replace(candidate, offsets=bench.fitted[key])] if bench.fitted[key] else []


def rounded(offsets: Offsets) -> Offsets:
    """Return offsets as they are written in a file."""
    return tuple((i, tuple(tuple(float(f"{v:.9g}") for v in row) for row in rows)) for i, rows in offsets)


def neighbours(plan: str) -> list[str]:
    """Return the plans that differ by one computed step moved by one place.

    Example:
        >>> neighbours("C.C.")
        ['CC..', 'C..C']
    """
    found = []
    for place in range(1, len(plan)):
        for other in (place - 1, place + 1):
            if plan[place] == "C" and 0 < other < len(plan) and plan[other] == ".":
                letters = list(plan)
                letters[place], letters[other] = ".", "C"
                found.append("".join(letters))
    return found


def _measured(
    bench: Bench, statistic: Statistic, candidates: Sequence[Candidate], seeds: Sequence[int]
) -> list[Measured]:
    """Measure candidates, best first."""
    done = []
    for candidate in candidates:
        scores = bench.score(Plan(candidate.plan), candidate.built(statistic), seeds, candidate.key)
        done.append(Measured(candidate, dict(zip(seeds, scores, strict=True))))
    return sorted(done, key=lambda m: -m.mean)
