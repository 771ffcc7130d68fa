"""``padecast demo``: the whole story on digits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from padecast import zoo
from padecast._errors import CalibrationMismatch, check
from padecast.cli import _tables
from padecast.cli._files import RESULTS, as_json, check_writable, refuse_foreign, staged, write_json
from padecast.cli._pipelines import load
from padecast.cli._shell import progress, stderr, stdout
from padecast.lab import figures, metrics
from padecast.lab.calls import Sampling
from padecast.lab.measure import calls, entered, measure
from padecast.lab.results import Comparison
from padecast.lab.runner import Entry, Task

KIND = "padecast demo"
METHODS = ("adaptive", "tc-pade", "tc-pade-published", "spectrum", "taylorseer", "fora", "linear")
SETTINGS = {"hard": Sampling(guidance=5.0, shift=3.0), "easy": Sampling(guidance=3.0, shift=1.0)}
BATCH, DEVELOPMENT = 4, tuple(range(10_000, 10_008))


def demo(
    out: Path = typer.Option(Path("padecast-demo"), help="Folder for pictures and numbers."),
    seeds: int = typer.Option(16, min=1, max=1000, help="How many digits to draw with every method."),
    steps: int = typer.Option(20, min=2, help="Sampler steps."),
    nfe: int = typer.Option(8, min=1, help="Steps that are computed; methods are tuned to it."),
    json: bool = typer.Option(False, "--json", help="Print JSON instead of tables."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Write into a folder of something else."),
) -> None:
    """Draw digits uncached, with fewer steps, as calibrated and with seven methods: tables, pictures, numbers."""
    check(nfe < steps, "--nfe", nfe, f"fewer than the {steps} steps")
    refuse_foreign(out, KIND, overwrite=overwrite)
    check_writable(out)
    figures.check_installed()
    metrics.check_installed()
    pipe = load("digits", device="cpu")
    tasks = [
        Task(pipe, sampling, steps, tuple(range(seeds)), min(BATCH, seeds), _title(name, sampling), DEVELOPMENT)
        for name, sampling in SETTINGS.items()
    ]
    shipped = calibrated(steps, nfe)
    compared = [compared_at(task, nfe, shipped.get(name)) for name, task in zip(SETTINGS, tasks, strict=True)]
    results = {"kind": KIND, "nfe": nfe, "comparisons": [comparison.to_dict() for comparison in compared]}
    with staged(out) as folder:
        for name, comparison in zip(SETTINGS, compared, strict=True):
            title = f"Digits, {comparison.settings['name']}: {steps} steps, {nfe} of them computed"
            figures.grid(comparison, folder / f"images-{name}.png", title=title)
        figures.steps(compared, folder / "steps.png")
        write_json(folder / RESULTS, results)
    if json:
        typer.echo(as_json(results))
    else:
        console = stdout()
        for comparison in compared:
            _tables.show(comparison, console)
    written = ", ".join([*(f"images-{name}.png" for name in SETTINGS), "steps.png", RESULTS])
    (stderr() if json else stdout()).print(f"\nwrote {written} to {out}", highlight=False, markup=False, soft_wrap=True)


def compared_at(task: Task, nfe: int, shipped: Entry | None = None) -> Comparison:
    """Tune the methods to a number of computed steps, and measure them, and what was calibrated beside them."""
    setting = task.name.split()[0]
    with progress(f"{setting}: tuning", len(METHODS)) as tick:
        fewer, *tuned = entered(task, METHODS, [nfe], progress=tick)
    entries = [fewer, *([] if shipped is None else [shipped]), *tuned]
    with progress(f"{setting}: measuring", calls(task, len(entries))) as tick:
        return measure(task, entries, progress=tick)


def calibrated(steps: int, nfe: int) -> dict[str, Entry]:
    """Enter the plan that ships for every setting; none, with a line that says why, unless there is one for each."""
    try:
        shipped = {setting: zoo.calibration("digits", setting) for setting in SETTINGS}
    except CalibrationMismatch as error:
        return _left_out(str(error).partition("\n")[0])
    for setting, calibration in shipped.items():
        if steps != calibration.steps or nfe not in calibration.budgets:
            budgets = ", ".join(map(str, calibration.budgets))
            return _left_out(f"{setting} digits are calibrated for {budgets} computed of {calibration.steps} steps")
    methods = {setting: calibration.method(computed=nfe) for setting, calibration in shipped.items()}
    return {
        setting: Entry.of(dataclasses.replace(method, name="calibrated"), wanted=nfe)
        for setting, method in methods.items()
    }


def _left_out(reason: str) -> dict[str, Entry]:
    stderr().print(f"calibrated is left out: {reason}", highlight=False, markup=False, soft_wrap=True)
    return {}


def _title(name: str, sampling: Sampling) -> str:
    return f"{name} (guidance {sampling.guidance:g}, shift {sampling.shift:g})"
