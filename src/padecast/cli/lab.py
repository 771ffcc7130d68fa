"""``padecast lab run``: an experiment, cell by cell, to be interrupted and gone on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import typer

from padecast._errors import InvalidOption, PadecastError, UnwritableFile
from padecast.cli import _options
from padecast.cli._chosen import Chosen, choose
from padecast.cli._files import check_writable
from padecast.cli._pipelines import load
from padecast.cli._shell import FAILED, INTERRUPTED, Command, Failure, ending, pipeline_errors, progress, stderr
from padecast.files import line
from padecast.integrations.ray import Cluster, do
from padecast.lab import figures, metrics
from padecast.lab.cells import Cell, Memory, cells, run
from padecast.lab.experiment import Experiment, Portraits, Source, read
from padecast.lab.pretrained import metrics_of
from padecast.lab.shelf import Shelf
from padecast.methods.plugins import list_plugins

app = typer.Typer(no_args_is_help=True, help="Measure an experiment: pipelines, settings, methods, other caches.")

FILE = typer.Argument(help="An experiment, in TOML.")
OUT = typer.Option(Path("padecast-lab"), help="Folder for finished cells, one JSON file each.")

ONLY = typer.Option([], "--only", help='Cells whose names have these words alone, such as "adaptive at 6"; repeatable.')


@app.callback()
def lab() -> None:
    """Measure an experiment: pipelines, settings, methods, other caches."""


@app.command("run", cls=Command)
@_options.with_plugins
def run_experiment(
    file: Path = FILE,
    out: Path = OUT,
    calibration: str | None = _options.CALIBRATION,
    computed: int | None = _options.COMPUTED,
    speedup: float | None = _options.SPEEDUP,
    decibels: float | None = _options.DECIBELS,
    size: str | None = _options.SIZE,
    frames: int | None = _options.FRAMES,
    negative: str | None = _options.NEGATIVE,
    settings: list[str] = _options.SET,
    offload: str = _options.OFFLOAD,
    again: bool = typer.Option(False, "--again", help="Do cells anew that are there already."),
    only: list[str] = ONLY,
    list_only: bool = typer.Option(False, "--list", help="List the cells that are left, and do nothing."),
    on_ray: bool = typer.Option(
        False, "--ray", help="On a Ray cluster: one worker per GPU, and a lost one loses nothing."
    ),
    address: str = typer.Option("", help="With --ray: of the cluster, such as auto; a local one unless given."),
    workers: int = typer.Option(0, min=0, help="With --ray: how many; as many as the cluster has GPUs unless given."),
) -> None:
    """Do what is left of an experiment; every finished cell is written at once, and later runs skip it.

    Unless the weights, the method's defaults or the calibration that it was done with have changed. With
    --calibration, its plans are measured in place of the methods and caches of the file.
    """
    plan_wish = choose(calibration, computed, speedup, decibels, needs_wish=False)
    experiment = _with_plans(_with(read(file), _options.arguments(size, frames, negative, settings)), plan_wish)
    shelf = Shelf(out, experiment.name)
    figures.check_installed()
    metrics.check_installed()
    if not list_only:
        check_writable(out)
    if not (list_only or on_ray):
        metrics_of(experiment.metrics)
    every = _select(cells(experiment), only)
    left = [cell for cell in every if again or not shelf.holds(cell)]
    if list_only:
        for cell in left:
            typer.echo(line(cell.name, 1000))
        return
    _say(f"{experiment.name}: {len(every)} cells, {_describe_skipped(len(every) - len(left), out)}")
    cluster = Cluster(address or None, workers or None) if on_ray else None
    loading = partial(_load, offload=offload)
    if cluster is None:
        failures = _do(experiment, left, shelf, loading)
    else:
        failures = _do_on_ray(experiment, left, shelf, loading, cluster)
    for failure in failures:
        _say(failure)
    if failures:
        ending(f"{len(failures)} of {len(left)} cells failed; the same command tries them again", FAILED)
    if left:
        _say(f"wrote {len(left)} cells to {out}; see them: padecast report {out}")


def _with(experiment: Experiment, further: dict[str, Any]) -> Experiment:
    """Return an experiment whose settings all have further arguments of the pipeline, over those of its file."""
    if not further:
        return experiment
    settings = [
        dataclasses.replace(setting, arguments={**setting.arguments, **further}) for setting in experiment.settings
    ]
    return dataclasses.replace(experiment, settings=tuple(settings))


def _with_plans(experiment: Experiment, calibrated: Chosen | None) -> Experiment:
    """Return an experiment of the plans of a calibration: the one wished for, or those at its numbers of steps, or all.

    Raises:
        InvalidOption: If the calibration is for another number of steps than every setting, or ships for others.
    """
    if calibrated is None:
        return experiment
    budgets = calibrated.calibration.budgets
    counts = (calibrated.computed,) if calibrated.computed else experiment.nfe or budgets
    alike = [setting for setting in experiment.settings if setting.steps == calibrated.calibration.steps]
    if not alike:
        raise InvalidOption(
            f"--calibration {calibrated.file} is for {calibrated.calibration.steps} steps, and the settings of "
            f"{experiment.name!r} have {', '.join(str(setting.steps) for setting in experiment.settings)}.\n"
            "Calibrate one of those: padecast calibrate PIPELINE --steps ..."
        )
    changed = dataclasses.replace(
        experiment,
        settings=tuple(alike),
        calibrations=(calibrated.file,),
        nfe=counts,
        methods=(),
        peers=(),
        sweeps=(),
        portraits=Portraits(),
    )
    if not any(cell.chosen.startswith("calibrated:") for cell in cells(changed)):
        raise InvalidOption(
            f"--calibration {calibrated.file} ships for a setting of that name, and {experiment.name!r} has "
            f"{', '.join(repr(setting.name) for setting in alike)}.\nName the setting so, or give a file."
        )
    return changed


def _select(every: list[Cell], words: list[str]) -> list[Cell]:
    """Return the cells whose names have any of these words; all without words.

    Raises:
        InvalidOption: No cell has one of them.
    """
    for word in words:
        if not any(word in cell.name for cell in every):
            raise InvalidOption(
                f"--only {word!r} is in the name of no cell.\n"
                "Names are like 'digits, hard: tc-pade at 8'; --list shows those that are left."
            )
    return [cell for cell in every if not words or any(word in cell.name for word in words)]


def _do(experiment: Experiment, left: list[Cell], shelf: Shelf, loading: Loading) -> list[str]:
    """Do cells one after the other; returns a line for each that failed. A disk that is full ends them all."""
    loaded, memory = lru_cache(maxsize=1)(loading), Memory()
    failures: list[str] = []
    with progress(experiment.name, sum(cell.calls for cell in left)) as tick:
        for place, cell in enumerate(left):
            try:
                document = _do_cell(cell, loaded, tick, memory)
                if isinstance(document, str):
                    failures.append(f"{cell.name}: {document}")
                else:
                    shelf.put(cell, document)
            except KeyboardInterrupt:
                written = place - len(failures)
                ending(f"interrupted; {written} of {len(left)} cells were written: run it again to go on", INTERRUPTED)
            except OSError as error:  # of our own writing: the pipeline has no part in it
                for failure in failures:
                    _say(failure)
                _end_for_disk(error, place - len(failures), len(left))
    return failures


def _do_cell(cell: Cell, loaded: Any, tick: Callable[[str], None], memory: Memory) -> dict[str, Any] | str:
    """Do one cell; what went wrong in it comes back in words.

    Raises:
        UnwritableFile: If the disk is full.
    """
    try:
        with pipeline_errors():
            return run(cell, loaded, lambda word: tick(f"{cell.name}: {word}"), memory)
    except UnwritableFile:
        raise
    except (Failure, PadecastError) as error:
        return str(error)


def _end_for_disk(error: OSError, written: int, count: int) -> None:
    first, _, rest = str(error).partition("\n")
    note = f"{written} of {count} cells were written and stay: the same command goes on from there."
    ending("\n".join(part for part in (first, note, rest) if part), FAILED)


def _do_on_ray(experiment: Experiment, left: list[Cell], shelf: Shelf, loading: Loading, cluster: Cluster) -> list[str]:
    """Do cells on a Ray cluster; returns a line for each that failed."""
    failures: list[str] = []
    with progress(experiment.name, len(left)) as tick:
        try:
            failures = do(left, shelf, loading, cluster, lambda cell: tick(cell.name), list_plugins())
        except KeyboardInterrupt:
            ending("interrupted; what was finished is written: run it again to go on", INTERRUPTED)
        except UnwritableFile as error:
            _end_for_disk(error, sum(shelf.holds(cell) for cell in left), len(left))
    return failures


Loading = Callable[[Source], Any]


def _load(source: Source, offload: str = "none") -> Any:
    return load(source.source, device=source.device, dtype=source.dtype, offload=offload)


def _describe_skipped(count: int, out: Path) -> str:
    return f"{count} of them finished before in {out} and skipped" if count else "none of them finished before"


def _say(text: str) -> None:
    stderr().print(text, highlight=False, markup=False, soft_wrap=True)
