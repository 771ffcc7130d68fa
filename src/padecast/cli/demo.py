"""``padecast demo``: the whole story on scenes, in the setting in which they behave as real models do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
import typer

from padecast._errors import check
from padecast.cli import _tables
from padecast.cli._files import RESULTS, as_json, check_writable, refuse_foreign, staged, write_json
from padecast.cli._pipelines import load
from padecast.cli._shell import progress, stderr, stdout
from padecast.lab import figures, metrics
from padecast.lab.calls import Sampling
from padecast.lab.measure import calls, entered, measure
from padecast.lab.results import Comparison
from padecast.lab.runner import Entry, Task
from padecast.methods import DEFAULT
from padecast.zoo.scenes import grammar
from padecast.zoo.worlds import WORLDS

KIND = "padecast demo"
PIPELINE = "scenes:matched"
METHODS = (
    "adaptive",
    "tc-pade",
    "seacache",
    "seacache-linear",
    "spectrum:warmup=2",
    "taylorseer:warmup=1",
    "fora",
)
BATCH, DEVELOPMENT = 4, tuple(range(10_012, 10_016))
CAPTIONS = 16
"""Of these a dozen seeds draw the first twelve, and methods are tuned on the last four."""


def demo(
    out: Path = typer.Option(Path("padecast-demo"), help="Folder for pictures and numbers."),
    seeds: int = typer.Option(12, min=1, max=1000, help="How many scenes to draw with every method."),
    steps: int = typer.Option(20, min=2, help="Sampler steps."),
    nfe: int = typer.Option(8, min=1, help="Steps that are computed; methods are tuned to it."),
    json: bool = typer.Option(False, "--json", help="Print JSON instead of tables."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Write into a folder of something else."),
) -> None:
    """Draw captions uncached, with fewer steps and with seven methods, the default first: table, pictures, numbers."""
    check(nfe < steps, "--nfe", nfe, f"fewer than the {steps} steps")
    refuse_foreign(out, KIND, overwrite=overwrite)
    check_writable(out)
    figures.check_installed()
    metrics.check_installed()
    pipe = load(PIPELINE, device="cpu")
    name = f"{PIPELINE} (guidance {WORLDS[PIPELINE].guidance:g}, shift {WORLDS[PIPELINE].shift:g})"
    compared = compare(Task(pipe, sampling(), steps, tuple(range(seeds)), min(BATCH, seeds), name, DEVELOPMENT), nfe)
    results = {"kind": KIND, "nfe": nfe, "comparisons": [compared.to_dict()]}
    with staged(out) as folder:
        figures.grid(compared, folder / "images.png", title=f"{name}: {steps} steps, {nfe} of them computed")
        figures.steps([compared], folder / "steps.png")
        write_json(folder / RESULTS, results)
    if json:
        typer.echo(as_json(results))
    else:
        _tables.show(compared, stdout())
    written = f"wrote images.png, steps.png, {RESULTS} to {out}"
    (stderr() if json else stdout()).print(f"\n{written}", highlight=False, markup=False, soft_wrap=True)


def sampling() -> Sampling:
    """Return how scenes are called: for captions of combinations that their training never saw."""
    generator = torch.Generator().manual_seed(0)
    captions = tuple(grammar.draw(generator, held_out=True).caption for _ in range(CAPTIONS))
    return Sampling(captions, guidance=WORLDS[PIPELINE].guidance, arguments={"max_sequence_length": 32})


def compare(task: Task, nfe: int) -> Comparison:
    """Tune the methods to a number of computed steps, and measure them."""
    with progress("tuning", len(METHODS)) as tick:
        entries = [_mark(entry) for entry in entered(task, METHODS, [nfe], progress=tick)]
    with progress("measuring", calls(task, len(entries))) as tick:
        return measure(task, entries, progress=tick)


def _mark(entry: Entry) -> Entry:
    """Say of the default that it is."""
    return dataclasses.replace(entry, name=f"{entry.name} (default)") if entry.name == DEFAULT else entry
