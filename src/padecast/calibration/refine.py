"""Weights fitted in closed loop: Gauss-Newton steps on what the real sampler draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from statistics import fmean

import torch
from torch import Tensor

from padecast.calibration.psnr import psnr
from padecast.calibration.trials import Bench, Tape
from padecast.forecasters import Forecaster, Refined
from padecast.forecasters.refined import Rows
from padecast.memory.sketch import SIZE, sketch
from padecast.policies import Plan

Runs = Sequence[Sequence[int]]
Slot = tuple[int, int, int]
"""Run of forecasts, branch, and place in the history."""


@dataclass(frozen=True)
class Refinement:
    """How weights are fitted.

    Args:
        window: Residuals that get an offset, at least 1. Default 4.
        rounds: How often the images' answers are measured, at most. Default 1.
        steps: Gauss-Newton steps per measurement, at most. Default 4.
        difference: Step of the finite differences. Default 0.002.
        enough: Gain in dB below which there is no further round. Default 0.1.
    """

    window: int = 4
    rounds: int = 1
    steps: int = 4
    difference: float = 2e-3
    enough: float = 0.1


RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
APART = (1.0, 30.0, 1e4)
"""How much more strongly differences between branches are damped than what they share; the last ties them."""
SHARES = (1.0, 0.4)
FOLDS = 4


def refine(
    bench: Bench,
    plan: Plan,
    inner: Forecaster,
    seeds: Sequence[int],
    branches: tuple[str, ...] = (),
    parts: int = 1,
    how: Refinement = Refinement(),
) -> Refined:
    r"""Fit offsets to a forecaster's weights so that the sampler ends where it does uncached.

    Every stretch of neighbouring forecasts gets one offset per branch and remembered residual. How the final images
    answer to each is measured by finite differences in the real sampler, which holds all that a first-order sum leaves
    out: how an error of the state feeds back through the next inputs, grows or decays. Damped Gauss-Newton steps on
    the mean logarithm of the squared error (the mean PSNR) follow:

    .. math:: \delta = -\Big(\sum_s g_s J_s^T J_s + \lambda D\Big)^{-1} \sum_s g_s J_s^T e_s, \qquad
              g_s = 1 / |e_s + J_s \delta|^2

    with the damping, and how far branches may differ, chosen by cross-validation over the samples.

    Args:
        bench: Draws samples.
        plan: Which steps are computed.
        inner: The forecaster whose weights are corrected.
        seeds: Samples to fit on.
        branches: Names of the branches that are calls of their own; none if they share a batch.
        parts: Branches that share a batch.
        how: Options.

    Returns:
        The corrected forecaster; with no offsets if none helped on these seeds.
    """
    runs = stretches(plan)
    slots = _slots(plan, runs, max(len(branches), parts), how.window)
    sampler = Sampler(bench, plan, inner, tuple(seeds), runs, slots, branches)
    state = sampler.draw(torch.zeros(len(slots), dtype=torch.float64))
    for _ in range(how.rounds if slots else 0):
        answers, before = sampler.answers(state.offsets, how.difference), state.score
        state = _take_steps(sampler, state, answers, how)
        if state.score < before + how.enough:
            break
    return sampler.forecaster(state.offsets)


def _take_steps(sampler: Sampler, state: State, answers: Tensor, how: Refinement) -> State:
    """Take Gauss-Newton steps while they help, a shorter one where a whole one does not."""
    for _ in range(how.steps):
        step = _step(answers, state.errors, sampler.slots)
        moved = state
        for share in SHARES:
            moved = sampler.draw(state.offsets + share * step)
            if moved.score > state.score:
                break
        if moved.score <= state.score + how.enough / 4:
            return max(state, moved, key=lambda s: s.score)
        state = moved
    return state


@dataclass(frozen=True)
class State:
    """Offsets, the mean PSNR that they gave, and what is left of every sample's error ``(S, n)``."""

    offsets: Tensor
    score: float
    errors: Tensor


@dataclass(frozen=True)
class Sampler:
    """What the real sampler draws, as a function of the offsets in all slots."""

    bench: Bench
    plan: Plan
    inner: Forecaster
    seeds: tuple[int, ...]
    runs: Runs
    slots: Sequence[Slot]
    branches: tuple[str, ...]

    def forecaster(self, values: Tensor) -> Refined:
        """Write offsets out, step by step."""
        if not bool(values.any()):
            return Refined(self.inner)
        rows = 1 + max(row for _, row, _ in self.slots)
        table = {}
        for place, stretch in enumerate(self.runs):
            entries = {(row, k): float(v) for (p, row, k), v in zip(self.slots, values, strict=True) if p == place}
            length = 1 + max(k for _, k in entries)
            written: Rows = tuple(tuple(entries[row, k] for k in range(length)) for row in range(rows))
            table.update(dict.fromkeys(stretch, written))
        return Refined(self.inner, tuple(table.items()), self.branches)

    def draw(self, offsets: Tensor) -> State:
        """Draw with offsets."""
        forecaster, scores, errors = self.forecaster(offsets), list[float](), []
        for batch in self.bench.batches(self.seeds):
            reference = self.bench.reference(batch)
            images = self.bench.image(self.plan, forecaster, batch, Tape())
            scores += psnr(images, reference).tolist()
            errors.append(_fold(images - reference))
        return State(offsets, fmean(scores), torch.cat(errors))

    def answers(self, current: Tensor, difference: float) -> Tensor:
        """Measure how the final images answer to every offset: ``(S, n, P)``."""
        samples = []
        for batch in self.bench.batches(self.seeds):
            tape, columns = Tape(), []
            base = self.bench.image(self.plan, self.forecaster(current), batch, tape)
            for place, (stretch, _, _) in enumerate(self.slots):
                moved = current.clone()
                moved[place] += difference
                images = self.bench.image(self.plan, self.forecaster(moved), batch, tape, self.runs[stretch][0])
                columns.append(_fold((images - base) / difference))
            samples.append(torch.stack(columns, dim=2))
        return torch.cat(samples)


def _slots(plan: Plan, runs: Runs, rows: int, window: int) -> list[Slot]:
    return [
        (place, row, k)
        for place, stretch in enumerate(runs)
        for row in range(rows)
        for k in range(min(window, sum(1 for i in plan.indices if i < stretch[0])))
    ]


def stretches(plan: Plan) -> list[list[int]]:
    """Return the runs of neighbouring forecast steps.

    Example:
        >>> stretches(Plan("C..CC."))
        [[1, 2], [5]]
    """
    groups = groupby(range(len(plan.steps)), key=lambda i: plan.steps[i])
    return [list(group) for letter, group in groups if letter == "."]


def _step(answers: Tensor, errors: Tensor, slots: Sequence[Slot]) -> Tensor:
    """Solve for the offsets with the damping that predicts left-out samples best."""
    basis, contrast = _build_basis(slots)
    turned = answers.double() @ basis
    squares = torch.einsum("snp,snq->spq", turned, turned)
    products = torch.einsum("snp,sn->sp", turned, errors.double())
    left = errors.double().square().sum(1)
    fold = torch.arange(len(left)) % min(FOLDS, len(left))
    best: tuple[float, float, float] | None = None
    for ridge, apart in product(RIDGES, APART):
        if len(left) < 2:
            best = (0.0, RIDGES[3], APART[1])
            break
        loss = 0.0
        for k in range(int(fold.max()) + 1):
            rest, part = fold != k, fold == k
            step = _solve(squares[rest], products[rest], left[rest], ridge, 1 + (apart - 1) * contrast)
            loss += float(_predict(squares[part], products[part], left[part], step).log().sum())
        if best is None or loss < best[0]:
            best = (loss, ridge, apart)
    assert best is not None
    return basis @ _solve(squares, products, left, best[1], 1 + (best[2] - 1) * contrast)


def _solve(squares: Tensor, products: Tensor, errors: Tensor, ridge: float, penalty: Tensor) -> Tensor:
    """Weigh every sample by what is left of its error, and solve."""
    step = torch.zeros(squares.shape[1], dtype=torch.float64)
    for _ in range(6):
        weight = 1 / _predict(squares, products, errors, step)
        normal = torch.einsum("s,spq->pq", weight, squares)
        scale = normal.diagonal().clamp_min(1e-30).sqrt()
        scaled = normal / scale[:, None] / scale[None] + ridge * torch.diag(penalty)
        step = -torch.linalg.solve(scaled, torch.einsum("s,sp->p", weight, products) / scale) / scale
    return step


def _predict(squares: Tensor, products: Tensor, errors: Tensor, step: Tensor) -> Tensor:
    """Return what a step leaves of every sample's squared error, ``(S,)``, as far as answers are linear."""
    left = errors + 2 * products @ step + torch.einsum("p,spq,q->s", step, squares, step)
    return torch.maximum(left, 1e-3 * errors).clamp_min(1e-12)


def _build_basis(slots: Sequence[Slot]) -> tuple[Tensor, Tensor]:
    """Return a basis of what branches share and of how they differ, and a mask of the latter."""
    rows = 1 + max(row for _, row, _ in slots)
    basis, contrast = torch.zeros(len(slots), len(slots), dtype=torch.float64), torch.zeros(len(slots))
    mix = torch.linalg.qr(torch.cat([torch.ones(rows, 1), torch.eye(rows)[:, : rows - 1]], dim=1).double())[0]
    where = {slot: place for place, slot in enumerate(slots)}
    for place, (stretch, row, k) in enumerate(slots):
        contrast[place] = float(row > 0)
        for other in range(rows):
            basis[where[stretch, other, k], place] = mix[other, row]
    return basis, contrast.double()


def _fold(images: Tensor) -> Tensor:
    return sketch(images.flatten(1), SIZE).double()
