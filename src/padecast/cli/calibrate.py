"""``padecast calibrate``: the best plan and weights for every number of computed steps, found once and kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json as plain
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from padecast import calibration, files
from padecast._errors import UnwritableFile, check
from padecast.calibration import Calibration, Effort
from padecast.calibration.collect import watching
from padecast.calibration.provenance import device_name
from padecast.calibration.trials import Distance
from padecast.cli import _options, plan
from padecast.cli._files import as_json, check_writable, refuse_existing
from padecast.cli._pipelines import load
from padecast.cli._shell import INTERRUPTED, ending, pipeline_errors, progress, say_duration, stderr, stdout
from padecast.lab import curve, figures
from padecast.lab.pretrained import load_distance
from padecast.lab.runner import UNCACHED, Task, draw

SHARES = (0.3, 0.4, 0.5)
"""Budgets that are calibrated unless others are asked for, as shares of the steps."""
TIMED = 4
"""Samples that are timed before, at most."""


class Level(str, Enum):
    """How much is tried."""

    quick = "quick"
    normal = "normal"
    thorough = "thorough"


class Objective(str, Enum):
    """What plans are chosen by."""

    mean = "mean"
    low = "low"
    lpips = "lpips"


@dataclass(frozen=True)
class Order:
    """What is calibrated, how hard, and where it goes."""

    task: Task
    budgets: tuple[int, ...]
    effort: str
    objective: str
    span: str
    sketch: int | None
    name: str
    out: Path

    @property
    def journal(self) -> Path:
        """Where everything found so far is kept; another command has another, so that no two are mixed."""
        options = [self.task.settings(), self.budgets, self.effort, self.objective, self.span, self.sketch]
        code = hashlib.sha256(plain.dumps(options, default=str).encode()).hexdigest()[:8]
        return self.out.with_name(f"{self.out.stem}-{code}.part.jsonl")

    @property
    def picture(self) -> Path:
        """Where the trade-off is drawn."""
        return self.out.with_suffix(".png")


def calibrate(
    pipeline: str = _options.PIPELINE,
    budgets: list[str] = typer.Option([], "--budgets", help="Computed steps, such as 6,8,10; 30, 40 and 50 % if none."),
    seeds: list[str] = typer.Option(["0-15"], "--seed", "--seeds", help="Samples: 0-15 or 0-3,8; a third is held out."),
    prompt: list[str] = _options.PROMPT,
    prompts_file: Path | None = typer.Option(
        None, exists=True, dir_okay=False, readable=True, help="More prompts, one per line."
    ),
    classes: list[str] = _options.CLASS,
    steps: int = _options.STEPS,
    guidance: float | None = _options.GUIDANCE,
    shift: float | None = _options.SHIFT,
    batch: int | None = _options.BATCH,
    size: str | None = _options.SIZE,
    frames: int | None = _options.FRAMES,
    negative: str | None = _options.NEGATIVE,
    settings: list[str] = _options.SET,
    effort: Level = typer.Option(Level.quick, help="At most 15 or 150 images' worth for three budgets, or thousands."),
    objective: Objective = typer.Option(
        Objective.mean, help="Choose by the mean PSNR, by its 10th percentile (low), or by LPIPS."
    ),
    span: str = typer.Option("output", help="What is forecast: the output, or block lists; see padecast models."),
    sketch: int | None = typer.Option(None, min=0, help="Dimensions residuals are projected to; 0 keeps them exact."),
    name: str = typer.Option("", help="For messages and pictures; the pipeline's class by default."),
    out: Path = typer.Option(Path("calibration.json"), help="File to write; a picture of the same name goes beside."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say how long it would take."),
    device: str | None = _options.DEVICE,
    dtype: str | None = _options.DTYPE,
    offload: str = _options.OFFLOAD,
    json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
    overwrite: bool = _options.OVERWRITE,
) -> None:
    """Find the best plan and weights for every number of computed steps, once per model and sampler."""
    drawn, counts = _options.numbers(seeds, "seed"), _budgets(budgets, steps)
    further = _options.arguments(size, frames, negative, settings)
    sampling = _options.sampling([*prompt, *_lines(prompts_file)], classes, guidance, shift, further)
    _refuse(out, overwrite=overwrite)
    figures.check_installed()
    distance: str | Distance = load_distance("lpips") if objective is Objective.lpips else objective.value
    pipe = load(pipeline, device=device, dtype=dtype, offload=offload)
    task = Task(pipe, sampling, steps, drawn, _options.batch_of(pipe, batch), pipeline)
    order = Order(task, counts, effort.value, objective.value, span, sketch, name, out)
    sampling.conditions(pipe, drawn)  # what the pipeline cannot take is said before it runs
    with pipeline_errors():
        work = announce(order)
    if dry_run:
        return
    with keeping(order):
        result = find_plans(order, distance, *work)
        write(result, order)
    if json:
        typer.echo(as_json(plan.described(result)))
    else:
        plan.show(result, stdout())
    _say(f"wrote {order.out} and {order.picture}")
    for text in uses(result, order):
        _say(text)


def uses(result: Calibration, order: Order) -> list[str]:
    """Return how the file is used: in Python, on the command line, and to see more of it."""
    computed, file = result.budgets[len(result.budgets) // 2], str(order.out)
    load_it = f"padecast.Calibration.load({plain.dumps(file)})"
    return [
        f"use it:  with padecast.accelerate(pipe, {load_it}, computed={computed}) as run: ...",
        f"or:      padecast generate {order.task.name} --calibration {shlex.quote(file)} --computed {computed} ...",
        f"see it:  padecast plan {shlex.quote(file)}",
    ]


def announce(order: Order) -> tuple[float, float]:
    """Time a few steps and say what the calibration takes; returns its price, and what of it was paid before.

    Both in images' worth of steps.
    """
    task, seeds = order.task, order.task.batches()[0][:TIMED]
    with watching(task.pipe, order.span, order.sketch) as keeper:
        draw(task, dataclasses.replace(UNCACHED, steps=2), seeds[:1])
    branches = len(keeper.statistic(1).branches)
    short, long = (draw(task, dataclasses.replace(UNCACHED, steps=steps), seeds).seconds for steps in (2, 4))
    each = (short + (task.steps - 2) * max(long - short, 0.0) / 2) / len(seeds)
    work = calibration.price(order.effort, order.budgets, task.seeds, task.steps, branches)
    device = device_name(getattr(task.pipe, "device", None))
    _say(f"about {work:.0f} images' worth of steps, some {say_duration(work * each)} ({each:.2g} s each, {device})")
    if order.journal.exists():
        _say(f"less, because it goes on from {order.journal}")
    return work, count_kept_work(order, branches)


def count_kept_work(order: Order, branches: int) -> float:
    """Return about how much work an interrupted calibration keeps, in uncached samples.

    A journal that cannot be read keeps none: whether it can be gone on with is said where that is tried.
    """
    try:
        lines = [line for _, line in files.read_lines(order.journal)][1:]
    except (OSError, ValueError):  # a damaged file is a ValueError too
        return 0.0
    return sum(_worth(line, order, branches) for line in lines if isinstance(line, dict))


def _worth(line: dict[str, Any], order: Order, branches: int) -> float:
    task, written = order.task, str(line.get("trial", line.get("fit", "")))
    computed, steps = written.partition(" ")[0].count("C"), task.steps
    if "fit" in line:
        effort = calibration.EFFORTS[order.effort]
        thorough = effort if isinstance(effort, Effort) else Effort()
        return calibration.fitting_work(steps, computed, len(task.seeds), branches, thorough)
    if isinstance(line.get("psnr"), dict):
        return len(line["psnr"]) * computed / steps
    return float(len(line["seeds"])) if isinstance(line.get("seeds"), list) else 0.0


def find_plans(order: Order, objective: str | Distance, work: float, before: float = 0.0) -> Calibration:
    """Calibrate, and show how far it is; an interrupted one says how it goes on."""
    task = order.task
    try:
        total = max(round(work), 1)
        with progress("calibrating", total, min(int(before), total)) as tick, pipeline_errors():
            return calibration.calibrate(
                task.pipe,
                lambda pipe, seeds: task.call(pipe, seeds, num_inference_steps=task.steps),
                order.budgets,
                task.seeds,
                batch=task.batch,
                span=order.span,
                name=order.name,
                effort=order.effort,
                objective=objective,
                sketch=order.sketch,
                resume=order.journal,
                progress=by_samples(tick),
            )
    except KeyboardInterrupt:
        note = f"what was found is kept in {order.journal}"
        ending(f"interrupted; {note}\nThe same command goes on from there.", INTERRUPTED)
        raise


@contextmanager
def keeping(order: Order) -> Iterator[None]:
    """Say where what was found is kept when a file cannot be written."""
    try:
        yield
    except UnwritableFile as error:
        note = f"What was found is kept in {order.journal}: the same command goes on from there."
        whole = f"The calibration itself is whole: {order.out}"
        raise UnwritableFile(f"{error}\n{note if order.journal.exists() else whole}") from error


def write(result: Calibration, order: Order) -> None:
    """Write the file, which needs no journal from then on, and then draw the picture."""
    result.save(order.out)
    order.journal.unlink(missing_ok=True)
    curve.curve(result, order.picture)


def by_samples(tick: Callable[[str], None]) -> Callable[[str, float], None]:
    """Tick once for every whole uncached sample's worth of steps.

    Example:
        >>> done = by_samples(print)
        >>> done("trial", 0.4), done("trial", 0.6)
        trial
        (None, None)
    """
    total = 0.0

    def add(what: str, steps: float) -> None:
        nonlocal total
        before, total = total, total + steps
        for _ in range(int(total + 1e-9) - int(before + 1e-9)):
            tick(what)

    return add


def _budgets(written: Sequence[str], steps: int) -> tuple[int, ...]:
    default = {max(round(share * steps), 1) for share in SHARES}
    counts = _options.numbers(written, "budgets") if written else tuple(sorted(default))
    check(min(counts) >= 1 and max(counts) < steps, "--budgets", list(counts), f"1 or more, below the {steps} steps")
    return counts


def _lines(path: Path | None) -> list[str]:
    text = "" if path is None else files.read_text(path)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _refuse(out: Path, *, overwrite: bool) -> None:
    check(out.suffix == ".json" and not os.path.isdir(out), "--out", str(out), "a file name that ends in .json")
    refuse_existing(out.parent, [out.name, out.with_suffix(".png").name], overwrite=overwrite)
    check_writable(out.parent)


def _say(text: str) -> None:
    stderr().print(text, highlight=False, markup=False, soft_wrap=True)
