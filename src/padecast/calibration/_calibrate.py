"""The front door of calibration: from a pipeline and a call to a file with a plan for every budget."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from padecast._errors import CalibrationMismatch, InvalidOption, PadecastWarning, check
from padecast.calibration.allowance import EFFORTS, Allowance, plan_all
from padecast.calibration.calibration import Calibration
from padecast.calibration.choice import OTHERS, SCOUTS, Effort, choose, split
from padecast.calibration.collect import watching
from padecast.calibration.journal import Journal, Kept
from padecast.calibration.matching import Schedule
from padecast.calibration.proposals import RULES, adaptive_plans, proposals
from padecast.calibration.provenance import Provenance
from padecast.calibration.sharing import note_base
from padecast.calibration.statistic import DIGITS, Statistic
from padecast.calibration.trials import OBJECTIVES, Bench, Distance, Progress, check_once, name_of, quietly
from padecast.handles.handle import check_unused
from padecast.targets.pipelines import fingerprint, guidance_of, models_of


def calibrate(
    pipe: Any,
    call: Callable[..., Any],
    budgets: Iterable[int] = (6, 8, 10),
    seeds: Iterable[int] = range(16),
    *,
    batch: int | None = None,
    span: str = "output",
    name: str = "",
    effort: str | Effort | Allowance = "quick",
    objective: str | Distance = "mean",
    sketch: int | None = None,
    resume: str | Path | None = None,
    progress: Progress = quietly,
) -> Calibration:
    """Find the best plan and weights for every budget, with this model and this sampler.

    Draws seeds uncached and takes the inner products of the residuals; lets them propose plans; and lets the real
    sampler choose among plans and forecasters, with a third of the seeds held out. A thorough one fits the winner's
    weights too. What it takes is told to ``progress`` after the first run, and by :func:`padecast.calibration.price`
    before.

    Args:
        pipe: A diffusers pipeline of a described class.
        call: ``call(pipe, seed)`` draws one sample and returns its image, a floating-point tensor in [0, 1]. With
            ``batch``, ``call(pipe, seeds)`` draws a list of seeds and returns one image each. Steps, guidance and
            size are the call's own, the same for every seed; prompts may vary with the seed.
        budgets: Numbers of computed steps to plan for. Default 6, 8 and 10.
        seeds: Calibration samples. Default 0 to 15, of which a quick calibration takes the first 4, and a normal one
            12; fitted weights gain from 24 or more.
        batch: Seeds per call. By default calls are given a single seed.
        span: What of the model is forecast. Default ``"output"``, what it returns; block lists are what
            :func:`padecast.targets.find` names.
        name: For messages and pictures. Default the pipeline's class.
        effort: ``"quick"`` takes at most 15 images' worth of steps for three budgets (default), ``"normal"`` 150, and
            ``"thorough"`` thousands. Or how much is tried, :class:`padecast.calibration.Effort`, or may be spent,
            :class:`padecast.calibration.Allowance`.
        objective: What is chosen by: ``"mean"`` PSNR over samples (default); ``"low"``, its 10th percentile; or a
            distance of images from uncached ones, such as ``padecast.lab.pretrained.load_distance("lpips")``.
        sketch: Dimensions of a seeded random projection of the residuals; 0 for none. By default they are projected to
            65521 where they would take more than 256 MiB.
        resume: A file that keeps what has been found; the same call after an interruption goes on from it. Delete it
            once the calibration is saved. By default an interrupted calibration is lost.
        progress: Told after every call what was done and how many uncached samples' worth of steps it took.

    Returns:
        The calibration. Of a single sample it comes with a warning.

    Raises:
        InvalidOption: If a budget is out of range, seeds repeat, effort or objective are unknown, or the call does not
            return images.
        UnsupportedModel: If no stack of blocks is known in the model.
        AlreadyAccelerated: If something accelerates the pipeline.
        CalibrationMismatch: If ``resume`` keeps another calibration.

    Example:
        >>> import torch
        >>> from padecast import zoo
        >>> pipe = zoo.load("digits")
        >>> def call(pipe, seed):
        ...     noise = torch.Generator().manual_seed(seed)
        ...     return pipe([seed % 10], num_inference_steps=2, generator=noise, output_type="pt").images
        >>> calibrate(pipe, call, budgets=[1], seeds=range(2)).method(computed=1).policy.nfe
        1
    """
    samples, counts = tuple(seeds), tuple(sorted(set(budgets)))
    level = effort if isinstance(effort, str) else "custom"
    effort = effort_of(effort)
    _check_objective(objective)
    check_unused(pipe)
    check(0 < len(set(samples)) == len(samples), "seeds", list(samples), "one seed or more, each once")
    if isinstance(effort, Allowance):
        samples = samples[: effort.looks]
    if len(samples) == 1:
        warnings.warn(
            f"one calibration sample, seed {samples[0]}: its PSNR says nothing of other samples.\n"
            "Usual cause: a first try. Give 16 samples or more: seeds=range(16), on the command line --seeds 0-15",
            PadecastWarning,
            stacklevel=2,
        )
    check(batch is None or batch >= 1, "batch", batch, "1 or more, or none for calls of a single seed")
    check(bool(counts) and counts[0] >= 1, "budgets", list(counts), "one or more, each 1 or more")
    dtype = str(getattr(models_of(pipe)[0], "dtype", ""))
    heading = {
        "model": {**_model(pipe), "span": span},
        "seeds": list(samples),
        "budgets": list(counts),
        "batch": batch,
        "sketch": sketch,
        "dtype": dtype,
        "effort": asdict(effort),
        "objective": name_of(objective),
        "forecasters": [*SCOUTS, *OTHERS],
    }
    journal = Journal(None if resume is None else Path(resume), heading)
    bench = Bench(
        pipe,
        call,
        samples,
        batch,
        span,
        progress,
        scores=journal.scores,
        saved=journal.score,
        fitted=journal.fitted,
        fit_saved=journal.fit,
        objective=objective,
    )
    first = collect(bench, journal, sketch, bench.batches(samples)[:1])
    steps, branches = first.schedule.steps, len(first.statistic.branches)
    check(counts[-1] <= steps, "budgets", list(counts), f"1 to {steps}, the steps of the run")
    cost = price(effort, counts, samples, steps, branches)
    progress(f"about {cost:.0f} images' worth of steps, some {-(-cost * bench.seconds[0] // 60):.0f} minutes", 0.0)
    statistic, schedule, size = collect(bench, journal, sketch)
    if isinstance(effort, Allowance):
        parts = [journal.statistics[seed,].statistic for seed in samples]
        choices = plan_all(bench, parts, statistic, schedule.strides, counts, effort)
    else:
        if not journal.scouted:
            journal.scout(adaptive_plans(bench, counts, split(samples)[0][: effort.scouts]))
        plans = proposals(statistic, schedule.strides, counts, journal.scouted)
        choices = {count: choose(bench, statistic, plans[count], effort) for count in counts}
    return Calibration(
        name=name or type(pipe).__name__,
        model={**_model(pipe), "span": span},
        schedule=schedule,
        guidance=guidance_of(pipe),
        dtype=dtype.removeprefix("torch."),
        seeds=samples,
        held_out=split(samples)[1],
        statistic=statistic,
        sketch={"size": size, "seed": 0},
        choices=choices,
        provenance={**asdict(Provenance.of(pipe)), **note_base(pipe)},
        effort=level,
        objective=name_of(objective),
        price=round(cost, 1),
    )


def collect(
    bench: Bench, journal: Journal, sketch: int | None = None, batches: Sequence[tuple[int, ...]] | None = None
) -> Kept:
    """Draw all seeds uncached, or some batches, and take the inner products; what a journal has is taken from it.

    Returns:
        The statistic, the sampler's grid, and the dimensions of the projection that was used (0 for none).

    Raises:
        InvalidOption: If the grid differs between calls, or a call does not run the whole schedule.
    """
    total: Kept | None = None
    for seeds in bench.batches(bench.seeds) if batches is None else batches:
        entries = [journal.statistics.get((seed,)) for seed in seeds]
        if None in entries or not bench.references:  # the first are drawn in any case
            fresh = _watch(bench, seeds, sketch)
            for seed, entry, part in zip(seeds, entries, fresh, strict=True):
                _compare(entry, part)
                journal.statistic((seed,), part)
        for seed in seeds:
            part = journal.statistics[seed,]
            if total is not None and part.schedule != total.schedule:
                raise InvalidOption(
                    f"the sampler's grid differs between seeds {bench.seeds[0]} and {seed}.\n"
                    "Usual cause: a call that changes steps, shift or image size with the seed. Plans belong to one "
                    "schedule: calibrate them apart."
                )
            whole = part.statistic if total is None else total.statistic + part.statistic
            total = Kept(whole, part.schedule, max(part.size, 0 if total is None else total.size))
    assert total is not None
    return total._replace(statistic=Statistic.from_dict(total.statistic.to_dict()))


def _watch(bench: Bench, seeds: Sequence[int], sketch: int | None) -> list[Kept]:
    with watching(bench.pipe, bench.span, sketch) as keeper:
        images = bench.draw(seeds)
    check_once(keeper.runs)
    bench.noise = keeper.noise
    statistics = keeper.statistics(len(seeds))
    tensors = [tensor for part in statistics for tensor in (part.joint, part.output, part.shares)]
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise InvalidOption(
            f"what the blocks added for seeds {', '.join(map(str, seeds))} is not finite, so nothing can be learnt.\n"
            "Usual cause: a model that overflows in float16. Calibrate in bfloat16, or leave those seeds out."
        )
    bench.keep(seeds, images)
    bench.progress("uncached", float(len(seeds)))
    schedule = Schedule.of(bench.pipe.scheduler, keeper.strides)
    plain = [Statistic.from_dict(statistic.to_dict(DIGITS)) for statistic in statistics]  # as a journal keeps them
    return [Kept(statistic, schedule, keeper.size) for statistic in plain]


def _compare(entry: Kept | None, fresh: Kept) -> None:
    """Raise if the first samples, drawn anew, are not those that a journal keeps."""
    if entry is None:
        return
    before, after = entry.statistic, fresh.statistic
    same = before.joint.shape == after.joint.shape and entry.schedule == fresh.schedule
    if not same or float((before.joint - after.joint).norm()) > ALIKE * float(before.joint.norm()):
        raise CalibrationMismatch(
            "the first samples are not those that this calibration was begun with.\n"
            "Usual cause: another prompt, guidance, shift or number of steps than when it was interrupted. Give "
            "another file for resume, or delete this one to begin anew."
        )


ALIKE = 1e-3


def effort_of(effort: str | Effort | Allowance) -> Effort | Allowance:
    """Return how much is tried, by its name or as it is.

    Raises:
        InvalidOption: If there is no effort of that name.
    """
    if not isinstance(effort, str):
        check(
            isinstance(effort, Effort | Allowance), "effort", effort, f"an Effort, or {', '.join(map(repr, EFFORTS))}"
        )
        return effort
    check(effort in EFFORTS, "effort", effort, f"{', '.join(map(repr, EFFORTS))}, or an Effort")
    return EFFORTS[effort]


def _check_objective(objective: str | Distance) -> None:
    if objective == "lpips":
        raise InvalidOption(
            "objective='lpips' needs a network, which the library does not load by itself.\n"
            'Give the distance, of padecast-lab: objective=padecast.lab.pretrained.load_distance("lpips"); on the '
            "command line: --objective lpips"
        )
    check(callable(objective) or objective in OBJECTIVES, "objective", objective, "'mean', 'low', or a distance")


def price(
    effort: str | Effort | Allowance = "quick",
    budgets: Iterable[int] = (6, 8, 10),
    seeds: Iterable[int] = range(16),
    steps: int = 20,
    branches: int = 1,
) -> float:
    """Return how many images' worth of steps a calibration takes: computed steps of one sample, over steps.

    Of an :class:`Allowance` it is the most that is taken, and of an :class:`Effort` an estimate.

    Args:
        effort: As for :func:`calibrate`, and so are budgets and seeds.
        budgets: Numbers of computed steps.
        seeds: Samples.
        steps: Of a run.
        branches: Calls or parts of a batch that a step has, one for each conditioning; fits take the longer.

    Raises:
        InvalidOption: If there is no effort of that name.

    Example:
        >>> round(price(), 1), round(price("normal"), 1), round(price("thorough"))
        (14.8, 150.0, 3152)
    """
    effort, counts, samples = effort_of(effort), sorted(set(budgets)), len(tuple(seeds))
    if isinstance(effort, Allowance):
        samples = min(samples, effort.looks)
        return samples + effort.shrink(counts, samples, steps)[1] * sum(counts) / steps
    return _estimate(effort, counts, samples, steps, branches)


def _estimate(effort: Effort, budgets: Sequence[int], seeds: int, steps: int, branches: int) -> float:
    fit, held = split(tuple(range(seeds)))
    few = min(effort.scouts, len(fit))
    work = float(seeds) + (4 + len(budgets) / 2) * len(RULES) * few
    for computed in budgets:
        trials = few * (len(SCOUTS) * PLANS + 3 * len(OTHERS)) + effort.finalists * len(fit)
        trials += effort.moves * (few * 2 * computed + 2 * len(fit))
        work += (trials + 2 * len(held) + seeds) * computed / steps
        work += effort.refined * fitting_work(steps, computed, seeds, branches, effort)
    return work


def fitting_work(steps: int, computed: int, seeds: int, branches: int, effort: Effort) -> float:
    """Return about how many uncached samples' worth of steps it takes to fit the weights of one plan.

    Example:
        >>> 20 < fitting_work(20, 8, 16, 1, Effort()) < 200
        True
    """
    slots = branches * effort.refinement.window * max(min(computed, steps - computed) - 1, 1)
    samples = len(split(tuple(range(seeds)))[0])
    return effort.refinement.rounds * (0.6 * slots + 4) * samples * computed / steps


PLANS = 14
"""Distinct plans that are proposed for a budget, about."""


def _model(pipe: Any) -> dict[str, str]:
    model = models_of(pipe)[0]
    return {"class": type(model).__name__, "config": fingerprint(model), "pipeline": type(pipe).__name__}
