"""Fits what published methods take from runs: weights, risks under guidance, and plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import reduce
from statistics import fmean

import torch
from torch import Tensor

from padecast._registry import parse
from padecast.calibration.collect import watching
from padecast.calibration.statistic import OUTPUT, Statistic
from padecast.forecasters import L2P
from padecast.hooks.quiet import quiet
from padecast.lab.runner import UNCACHED, Drawn, Entry, Task, draw
from padecast.lab.searches import anneal, fit_gain, shortest
from padecast.methods import Method
from padecast.policies import GuidedRisk, Plan, Searched

EVERY, FEW = 3, 2
"""Every third step is perturbed, on so many samples."""
SPEEDUP = 2.5
"""What a plan is searched for where no number of computed steps is wanted."""


def fit_weights(task: Task, entry: Entry) -> Entry:
    """Fit L2P's weights on uncached runs of all of the task's seeds, unless they are there."""
    method = _method(entry)
    forecaster = method.forecaster
    assert isinstance(forecaster, L2P)
    if forecaster.gram:
        return entry
    seeds = tuple(task.seeds)
    parts, _ = watch_runs(task, entry, method.span, seeds)
    gram = reduce(Statistic.__add__, parts).gram().tolist()
    fitted = dataclasses.replace(forecaster, gram=tuple(map(tuple, gram)))
    return dataclasses.replace(
        entry, method=dataclasses.replace(method, forecaster=fitted), teaching=entry.teaching + len(seeds)
    )


def measure_risks(task: Task, entry: Entry) -> Entry:
    """Measure how both branches stray, alike or not, and what an error of a step does to the image, on two samples.

    Ratios are those of the residuals' norms. Every third step is repeated alone, and the latents in the end compared
    with the uncached ones.
    """
    method = _method(entry)
    policy = method.policy
    assert isinstance(policy, GuidedRisk)
    if policy.ratios or policy.alignment:
        return entry
    seeds = tuple(task.seeds)[:FEW]
    parts, _ = watch_runs(task, entry, method.span, seeds)
    places = range(1, parts[0].steps, EVERY)
    gain = task.once(("gain", method.span, seeds, entry.steps), lambda: _measure_gain(task, entry, seeds, places))
    prepared = dataclasses.replace(policy, gain=gain, **dataclasses.asdict(Risks.of(parts)))
    return dataclasses.replace(
        entry,
        method=dataclasses.replace(method, policy=prepared),
        teaching=entry.teaching + len(seeds) * (1 + len(places)),
    )


@dataclasses.dataclass(frozen=True)
class Risks:
    """How two branches stray.

    Args:
        scale: Guidance scale.
        ratios: Norms of residuals over those of the step before, unconditional first.
        alignment: Mean cosine of how both have changed, by computed step and step.
    """

    scale: float
    ratios: tuple[tuple[float, ...], ...]
    alignment: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, parts: Sequence[Statistic]) -> Risks:
        """Read them off single samples; a run without guidance has one branch, twice."""
        count = len(parts[0].branches)
        shares = torch.stack([part.shares / part.samples for part in parts]).mean(0)
        strong = int(shares.argmax())
        weak = int(shares.argmin()) if count == 2 else strong
        norms = [torch.stack([_norms(part, branch) for part in parts]) for branch in (weak, strong)]
        ratios = tuple((1.0, *(rows[:, 1:] / rows[:, :-1]).mean(0).tolist()) for rows in norms)
        cosines = torch.stack([_cosines(part, weak, strong) for part in parts]).mean(0)
        scale = float(shares[strong]) if weak != strong else 1.0
        return cls(scale, ratios, tuple(map(tuple, cosines.tolist())))


def search_plan(task: Task, entry: Entry) -> Entry:
    """Search a plan on the task's seeds, within the images that the policy allows, unless one is written down."""
    method = _method(entry)
    policy = method.policy
    assert isinstance(policy, Searched)
    name, options = parse(entry.written)
    if policy.steps:
        return entry
    steps = entry.steps or task.steps
    computed = round(entry.wanted or steps / SPEEDUP)
    find = _search_by_runs if policy.search == "annealing" else _search_by_velocity
    plan, images = find(task, entry, steps, computed)
    written = ",".join(f"{option}={value}" for option, value in {**options, "steps": plan}.items())
    return dataclasses.replace(
        entry,
        method=dataclasses.replace(method, policy=dataclasses.replace(policy, steps=plan)),
        written=f"{name}:{written}",
        teaching=entry.teaching + images,
    )


def watch_runs(task: Task, entry: Entry, span: str, seeds: Sequence[int]) -> tuple[list[Statistic], tuple[float, ...]]:
    """Return the inner products of uncached runs sample by sample, and how far each step moves the state."""
    steps = entry.steps or task.steps

    def watch() -> tuple[list[Statistic], tuple[float, ...]]:
        parts: list[Statistic] = []
        with quiet(task.pipe), watching(task.pipe, span) as keeper:
            for start in range(0, len(seeds), task.batch):
                batch = tuple(seeds[start : start + task.batch])
                task.call(task.pipe, batch, num_inference_steps=steps)
                parts += keeper.statistics(len(batch))
        return parts, tuple(keeper.strides)

    return task.once(("statistics", span, tuple(seeds), steps), watch)


def _search_by_runs(task: Task, entry: Entry, steps: int, computed: int) -> tuple[str, int]:
    """Anneal on one sample, whose uncached run all numbers of computed steps share."""
    method = _method(entry)
    assert isinstance(method.policy, Searched)
    seeds = tuple(task.seeds)[:1]
    uncached = _draw_uncached(task, entry, seeds)
    tries = max(1, int((method.policy.images - 1) * steps / computed))

    def lose(plan: str) -> float:
        drawn = _follow(task, entry, seeds, Plan(plan))
        return float((drawn.images - uncached.images).square().mean())

    return anneal(lose, steps, computed, tries), round(method.policy.images)


def _search_by_velocity(task: Task, entry: Entry, steps: int, computed: int) -> tuple[str, int]:
    """Find the shortest path through as many uncached runs as there are images to take, or seeds."""
    method = _method(entry)
    assert isinstance(method.policy, Searched)
    seeds = tuple(task.seeds)[: max(1, round(method.policy.images))]
    parts, strides = watch_runs(task, entry, method.span, seeds)
    whole = reduce(Statistic.__add__, parts)
    gram = whole.gram(OUTPUT if OUTPUT in whole.kinds else whole.kinds[0])
    return shortest(gram.numpy(), strides, computed), len(seeds)


def _measure_gain(task: Task, entry: Entry, seeds: Sequence[int], places: Sequence[int]) -> tuple[float, float, float]:
    parts, _ = watch_runs(task, entry, _method(entry).span, seeds)
    uncached = _latents(_draw_uncached(task, entry, seeds))
    total, gains = parts[0].steps, []
    for place in places:
        plan = Plan("".join("." if step == place else "C" for step in range(total)))
        final = (_latents(_follow(task, entry, seeds, plan)) - uncached).square().flatten(1).mean(1).sqrt().double()
        local = torch.stack([_change(part.output / part.samples, place) for part in parts]).sqrt()
        gains.append(fmean((final / local.clamp_min(1e-12)).tolist()))
    return fit_gain(places, gains, total)


def _change(gram: Tensor, place: int) -> Tensor:
    """Return the mean square of what a step's output has changed since the step before."""
    before = place - 1
    return (gram[place, place] + gram[before, before] - 2 * gram[place, before]).clamp_min(0)


def _follow(task: Task, entry: Entry, seeds: Sequence[int], plan: Plan) -> Drawn:
    method = dataclasses.replace(_method(entry), policy=plan)
    return draw(task, dataclasses.replace(entry, method=method), seeds)


def _draw_uncached(task: Task, entry: Entry, seeds: Sequence[int]) -> Drawn:
    key = ("uncached", tuple(seeds), entry.steps)
    return task.once(key, lambda: draw(task, dataclasses.replace(UNCACHED, steps=entry.steps), seeds))


def _latents(drawn: Drawn) -> Tensor:
    return drawn.path[-1].float().cpu() if drawn.path else drawn.images


def _block(part: Statistic, first: int, second: int) -> Tensor:
    """Return the ``(T, T)`` inner products between two branches of a sample."""
    joint = part.joint.reshape(len(part.branches), part.steps, len(part.branches), part.steps) / part.samples
    return joint[first, :, second]


def _norms(part: Statistic, branch: int) -> Tensor:
    return _block(part, branch, branch).diagonal().clamp_min(1e-30).sqrt()


def _cosines(part: Statistic, first: int, second: int) -> Tensor:
    """Return the cosine of how two branches have changed between every two steps, 0 where one has not."""

    def product(left: int, right: int) -> Tensor:
        block = _block(part, left, right)
        squares = block.diagonal()
        return squares[:, None] + squares[None, :] - block - block.T

    lengths = (product(first, first).clamp_min(0) * product(second, second).clamp_min(0)).sqrt()
    return torch.where(lengths > 1e-30, product(first, second) / lengths.clamp_min(1e-30), 0.0).clamp(-1, 1)


def _method(entry: Entry) -> Method:
    assert isinstance(entry.method, Method)
    return entry.method
