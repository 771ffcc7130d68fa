"""``padecast compare``: methods at given numbers of computed steps, on one pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import typer

from padecast._errors import InvalidOption
from padecast.cli import _options, _tables
from padecast.cli._chosen import Chosen, choose
from padecast.cli._files import RESULTS, as_json, check_writable, refuse_existing, staged, write_json
from padecast.cli._pipelines import load
from padecast.cli._shell import pipeline_errors, progress, stderr, stdout
from padecast.lab import figures, metrics
from padecast.lab.measure import calls, entered, measure, with_fewer_steps
from padecast.lab.results import Comparison
from padecast.lab.runner import Entry, Task
from padecast.lab.solvers import FEWER

DEFAULT_METHODS = ["adaptive,tc-pade,spectrum,taylorseer,fora"]


def compare(
    pipeline: str = _options.PIPELINE,
    methods: list[str] = typer.Option(DEFAULT_METHODS, "--methods", help="Methods, separated by commas."),
    calibration: str | None = _options.CALIBRATION,
    computed: int | None = _options.COMPUTED,
    speedup: float | None = _options.SPEEDUP,
    decibels: float | None = _options.DECIBELS,
    nfe: list[str] = typer.Option([], "--nfe", help="Computed steps to tune methods to, such as 6,8,10."),
    seeds: list[str] = _options.SEEDS,
    development: list[str] = typer.Option([], "--tune-seeds", help="Other seeds, to tune on; one batch by default."),
    prompt: list[str] = _options.PROMPT,
    classes: list[str] = _options.CLASS,
    steps: int = _options.STEPS,
    guidance: float | None = _options.GUIDANCE,
    shift: float | None = _options.SHIFT,
    batch: int | None = _options.BATCH,
    size: str | None = _options.SIZE,
    frames: int | None = _options.FRAMES,
    negative: str | None = _options.NEGATIVE,
    settings: list[str] = _options.SET,
    repeats: int = typer.Option(1, min=1, help="How often every call is timed."),
    paired: bool = typer.Option(False, "--paired", help="Time an uncached call before every single one."),
    out: Path | None = typer.Option(None, help="Folder for pictures and numbers."),
    device: str | None = _options.DEVICE,
    dtype: str | None = _options.DTYPE,
    offload: str = _options.OFFLOAD,
    json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
    overwrite: bool = _options.OVERWRITE,
) -> None:
    """Compare methods on the same seeds with the uncached run, and always with fewer sampler steps."""
    budgets = _options.numbers(nfe, "nfe") if nfe else ()
    calibrated = choose(calibration, computed, speedup, decibels, needs_wish=not budgets)
    entries = _enter(methods)
    _check_wish(calibrated, budgets)
    drawn, tuned = _options.numbers(seeds, "seed"), _options.numbers(development, "tune-seeds") if development else ()
    further = _options.arguments(size, frames, negative, settings)
    sampling = _options.sampling(prompt, classes, guidance, shift, further)
    if out is not None:
        refuse_existing(out, _files(budgets), overwrite=overwrite)
        check_writable(out)
        figures.check_installed()
    metrics.check_installed()
    pipe = load(pipeline, device=device, dtype=dtype, offload=offload)
    task = Task(pipe, sampling, steps, drawn, _options.batch_of(pipe, batch), pipeline, tuned)
    sampling.conditions(pipe, drawn)  # what the pipeline cannot take is said before it runs
    with pipeline_errors():
        compared = run(task, [e.written for e in entries], budgets, calibrated, repeats=repeats, paired=paired)
    if out is not None:
        write(compared, budgets, out)
    if json:
        typer.echo(as_json(compared.to_dict()))
    else:
        _tables.show(compared, stdout())
    if out is not None:
        stderr().print(f"wrote {', '.join(_files(budgets))} to {out}", highlight=False, markup=False, soft_wrap=True)


def run(
    task: Task,
    methods: Sequence[str],
    budgets: Sequence[int],
    calibrated: Chosen | None = None,
    *,
    repeats: int,
    paired: bool,
) -> Comparison:
    """Tune and measure, and show how far it is."""
    plans = _plans(task, calibrated, budgets)
    if budgets:
        with progress("tuning", len(methods) * len(budgets)) as tick:
            entries = entered(task, methods, budgets, progress=tick)
    else:
        entries = entered(task, methods, ())
    entries = _with(plans, entries)
    with progress("measuring", calls(task, len(entries), repeats=repeats, paired=paired)) as tick:
        measured = measure(task, entries, repeats=repeats, paired=paired, progress=tick)
    return measured if budgets else with_fewer_steps(task, measured, repeats=repeats, paired=paired)


def _enter(methods: Sequence[str]) -> list[Entry]:
    """Read the methods.

    Raises:
        InvalidOption: If there is none: a table of nothing takes as long as one of one method.
    """
    entries = [Entry.of(name) for text in methods for name in _options.names(text)]
    if not entries:
        raise InvalidOption(
            f"--methods {', '.join(map(repr, methods))} names no method.\n"
            "Usual cause: a variable of the shell that is empty. Leave it out, or write --methods adaptive,tc-pade"
        )
    return entries


def _check_wish(calibrated: Chosen | None, budgets: Sequence[int]) -> None:
    """Raise if a wish and numbers of computed steps are given both, or the calibration has no plan for one of them."""
    if calibrated is None or not budgets:
        return
    if calibrated.computed is not None:
        raise InvalidOption(
            f"--computed, --speedup or --decibels chooses one plan, and --nfe {','.join(map(str, budgets))} as well.\n"
            "Leave the wish out: with --nfe a calibration is measured at those numbers of computed steps."
        )
    for nfe in budgets:
        calibrated.calibration.budget(computed=nfe)


def _plans(task: Task, calibrated: Chosen | None, budgets: Sequence[int]) -> list[Entry]:
    """Return the plans of a calibration that are compared, once it is known to be made for such a run."""
    if calibrated is None:
        return []
    entries = [calibrated.entry(nfe) for nfe in budgets or (None,)]
    calibrated.check(task, calibrated.computed or budgets[0])
    return entries


def _with(plans: Sequence[Entry], entries: Sequence[Entry]) -> list[Entry]:
    """Put every plan of a calibration before the methods at the same number of computed steps."""
    if not any(entry.wanted for entry in entries):
        return [*plans, *entries]
    joined: list[Entry] = []
    for entry in entries:
        joined.append(entry)
        if entry.name == FEWER:
            joined += [plan for plan in plans if plan.wanted == entry.wanted]
    return joined


def write(compared: Comparison, budgets: Sequence[int], out: Path) -> None:
    """Write numbers and pictures, one pair of pictures per number of computed steps."""
    with staged(out) as folder:
        for nfe in budgets or (None,):
            part, ending = compared.at(nfe) if nfe else compared, f"-{nfe}" if nfe else ""
            of = f", {nfe} of them computed" if nfe else ""
            title = f"{compared.settings['name']}: {compared.settings['steps']} steps{of}"
            figures.grid(part, folder / f"images{ending}.png", title=title)
            figures.steps(
                [dataclasses.replace(part, settings={**part.settings, "name": title})], folder / f"steps{ending}.png"
            )
        write_json(folder / RESULTS, compared.to_dict())


def _files(budgets: Sequence[int]) -> list[str]:
    endings = [f"-{nfe}" for nfe in budgets] or [""]
    return [*(f"{kind}{ending}.png" for kind in ("images", "steps") for ending in endings), RESULTS]
