"""``padecast compare``: methods at given numbers of computed steps, on one pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import typer

from padecast.cli import _options, _tables
from padecast.cli._files import RESULTS, as_json, check_writable, refuse_existing, staged, write_json
from padecast.cli._pipelines import load
from padecast.cli._shell import pipeline_errors, progress, stderr, stdout
from padecast.lab import figures
from padecast.lab.measure import calls, entered, measure, with_fewer_steps
from padecast.lab.results import Comparison
from padecast.lab.runner import Entry, Task

DEFAULT_METHODS = ["adaptive,tc-pade,spectrum,taylorseer,fora"]


def compare(
    pipeline: str = _options.PIPELINE,
    methods: list[str] = typer.Option(DEFAULT_METHODS, "--methods", help="Methods, separated by commas."),
    nfe: list[str] = typer.Option([], "--nfe", help="Computed steps to tune methods to, such as 6,8,10."),
    seeds: list[str] = _options.SEEDS,
    development: list[str] = typer.Option([], "--tune-seeds", help="Other seeds, to tune on; one batch by default."),
    prompt: list[str] = _options.PROMPT,
    classes: list[str] = _options.CLASS,
    steps: int = _options.STEPS,
    guidance: float | None = _options.GUIDANCE,
    shift: float | None = _options.SHIFT,
    batch: int | None = _options.BATCH,
    repeats: int = typer.Option(1, min=1, help="How often every call is timed."),
    paired: bool = typer.Option(False, "--paired", help="Time an uncached call before every single one."),
    out: Path | None = typer.Option(None, help="Folder for pictures and numbers."),
    device: str | None = _options.DEVICE,
    dtype: str | None = _options.DTYPE,
    json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
    overwrite: bool = _options.OVERWRITE,
) -> None:
    """Compare methods on the same seeds with the uncached run, and always with fewer sampler steps."""
    chosen = [Entry.of(name) for text in methods for name in _options.names(text)]
    budgets = _options.numbers(nfe, "nfe") if nfe else ()
    drawn, tuned = _options.numbers(seeds, "seed"), _options.numbers(development, "tune-seeds") if development else ()
    sampling = _options.sampling(prompt, classes, guidance, shift)
    if out is not None:
        refuse_existing(out, _files(budgets), overwrite=overwrite)
        check_writable(out)
        figures.check_installed()
    pipe = load(pipeline, device=device, dtype=dtype)
    task = Task(pipe, sampling, steps, drawn, _options.batch_of(pipe, batch), pipeline, tuned)
    sampling.conditions(pipe, drawn)  # what the pipeline cannot take is said before it runs
    with pipeline_errors():
        compared = run(task, [entry.written for entry in chosen], budgets, repeats=repeats, paired=paired)
    if out is not None:
        write(compared, budgets, out)
    if json:
        typer.echo(as_json(compared.to_dict()))
    else:
        _tables.show(compared, stdout())
    if out is not None:
        stderr().print(f"wrote {', '.join(_files(budgets))} to {out}", highlight=False, markup=False, soft_wrap=True)


def run(task: Task, methods: Sequence[str], budgets: Sequence[int], *, repeats: int, paired: bool) -> Comparison:
    """Tune and measure, and show how far it is."""
    if budgets:
        with progress("tuning", len(methods) * len(budgets)) as tick:
            entries = entered(task, methods, budgets, progress=tick)
    else:
        entries = entered(task, methods, ())
    with progress("measuring", calls(task, len(entries), repeats=repeats, paired=paired)) as tick:
        measured = measure(task, entries, repeats=repeats, paired=paired, progress=tick)
    return measured if budgets else with_fewer_steps(task, measured, repeats=repeats, paired=paired)


def write(compared: Comparison, budgets: Sequence[int], out: Path) -> None:
    """Write numbers and pictures, one pair of pictures per number of computed steps."""
    with staged(out) as folder:
        for wanted in budgets or (None,):
            part, ending = compared.at(wanted) if wanted else compared, f"-{wanted}" if wanted else ""
            of = f", {wanted} of them computed" if wanted else ""
            title = f"{compared.settings['name']}: {compared.settings['steps']} steps{of}"
            figures.grid(part, folder / f"images{ending}.png", title=title)
            figures.steps(
                [dataclasses.replace(part, settings={**part.settings, "name": title})], folder / f"steps{ending}.png"
            )
        write_json(folder / RESULTS, compared.to_dict())


def _files(budgets: Sequence[int]) -> list[str]:
    endings = [f"-{wanted}" for wanted in budgets] or [""]
    return [*(f"{kind}{ending}.png" for kind in ("images", "steps") for ending in endings), RESULTS]
