"""The closed-loop choice: the matrix proposes plans, the real sampler decides, judged on samples held out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from padecast import forecasters
from padecast.calibration.candidate import Candidate, Measured, names, round_offsets
from padecast.calibration.proposals import neighbours
from padecast.calibration.refine import Refinement, refine, stretches
from padecast.calibration.statistic import Statistic
from padecast.calibration.trials import Bench
from padecast.policies import Plan

SCOUTS = ("tcpade", "lagrange", "reuse", "wiener:window=4,ridge=0.0001,feedback=1")
OTHERS = (
    "pade",
    "wiener:feedback=0.5",
    "wiener:feedback=1,constraint=sum",
    "wiener:window=2,feedback=1",
)


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
        moves: Rounds of local search at most; it ends where none of the neighbours is better. Default 3.
        refined: Winners whose weights are fitted in closed loop; 0 for none. Default 2.
        refinement: How they are fitted.
    """

    scouts: int = 6
    finalists: int = 6
    moves: int = 3
    refined: int = 2
    refinement: Refinement = Refinement()  # noqa: RUF009 - frozen


def split(seeds: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Part seeds in those to fit on and those held out, a third; with one or two seeds nothing is held out.

    The third is drawn at random, always alike, so that it does not fall in step with prompts that repeat.

    Example:
        >>> [len(part) for part in split(range(16))]
        [11, 5]
    """
    held = set(random.Random(0).sample(list(seeds), len(seeds) // 3))
    return tuple(s for s in seeds if s not in held), tuple(s for s in seeds if s in held)


def choose(bench: Bench, statistic: Statistic, plans: Sequence[str], effort: Effort = Effort()) -> Choice:
    """Choose among plans of one budget, and fit the winner's weights.

    1. every plan with the scouting forecasters, on a few samples;
    2. the best plans with the other forecasters, on the same samples;
    3. the best of all on all samples to fit on;
    4. local search: every computed step of the winner moved by one, and again from there;
    5. closed-loop fit of the winners' weights, kept if it helps on the samples held out.

    Args:
        bench: Draws and remembers.
        statistic: For Wiener weights.
        plans: Of one budget.
        effort: How much is tried.
    """
    fit, held = split(bench.seeds)
    few = fit[: effort.scouts]
    pool = measure(bench, statistic, [Candidate(plan, rule) for plan in plans for rule in SCOUTS], few)
    leading = list(dict.fromkeys(m.candidate.plan for m in pool))[:3]
    pool += measure(bench, statistic, [Candidate(plan, rule) for plan in leading for rule in OTHERS], few)
    pool.sort(key=lambda m: -m.worth)
    final = measure(bench, statistic, [m.candidate for m in pool[: effort.finalists]], fit)
    final = search(bench, statistic, final, few, effort.moves, neighbours)
    winner = _fit(bench, statistic, [*final, *pool], fit, held, effort)
    return settle(bench, statistic, winner, final)


def search(
    bench: Bench,
    statistic: Statistic,
    final: list[Measured],
    few: Sequence[int],
    rounds: int,
    near: Callable[[str], Sequence[str]],
) -> list[Measured]:
    """Try plans near the best, and near what is better, and return all that were tried on its samples, best first.

    Args:
        bench: Draws and remembers.
        statistic: For Wiener weights.
        final: Measured on all samples to fit on, best first.
        few: Samples on which plans are tried before.
        rounds: How often, at most.
        near: Returns plans near one.
    """
    for _ in range(rounds):
        best = final[0]
        finalists = {m.candidate for m in final}
        candidates = [replace(best.candidate, plan=plan) for plan in near(best.candidate.plan)]
        scouted = measure(bench, statistic, [c for c in candidates if c not in finalists], few)
        bar = bench.judge(best.candidate.key, {seed: best.psnr[seed] for seed in few})
        better = [m.candidate for m in scouted[:2] if m.worth > bar]
        if not better:
            break
        final = sorted([*final, *measure(bench, statistic, better, list(best.psnr))], key=lambda m: -m.worth)
        if final[0] is best:
            break
    return final


def settle(
    bench: Bench, statistic: Statistic, winner: Candidate, final: Sequence[Measured], runs: int | None = None
) -> Choice:
    """Measure the winner on all samples, or on so many, those held out first."""
    fit, held = split(bench.seeds)
    measured = set([*held, *fit][:runs])
    (best,) = measure(bench, statistic, [winner], [seed for seed in bench.seeds if seed in measured])
    return Choice(best, fmean(best.psnr[seed] for seed in (held or fit) if seed in best.psnr), tuple(final))


def _fit(
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
        field += _refine(bench, statistic, _linear(final, plan), fit, effort)
    return max(field, key=lambda c: measure(bench, statistic, [c], judges)[0].worth)


def _linear(final: Sequence[Measured], plan: str) -> Candidate:
    """Return a plan's best candidate with fixed weights, which answers to offsets most evenly; else its best."""
    candidates = [m.candidate for m in final if m.candidate.plan == plan]
    return next((c for c in candidates if not forecasters.REGISTRY.make(c.forecaster).needs_gram), candidates[0])


def _refine(
    bench: Bench, statistic: Statistic, candidate: Candidate, fit: Sequence[int], effort: Effort
) -> list[Candidate]:
    key = f"{candidate.key} refined"
    if key not in bench.fitted:
        result = refine(
            bench,
            Plan(candidate.plan),
            candidate.built(statistic),
            fit,
            names(statistic),
            len(statistic.branches),
            effort.refinement,
        )
        bench.fitted[key] = round_offsets(result.offsets)
        bench.fit_saved(key, bench.fitted[key])
    return [replace(candidate, offsets=bench.fitted[key])] if bench.fitted[key] else []


def measure(
    bench: Bench, statistic: Statistic, candidates: Sequence[Candidate], seeds: Sequence[int]
) -> list[Measured]:
    """Measure candidates, best first."""
    done = []
    for candidate in candidates:
        forecaster = candidate.built(statistic)
        scores = bench.score(Plan(candidate.plan), forecaster, seeds, candidate.key, candidate.retrace)
        psnr = dict(zip(seeds, scores, strict=True))
        done.append(Measured(candidate, psnr, bench.judge(candidate.key, psnr)))
    return sorted(done, key=lambda m: -m.worth)
