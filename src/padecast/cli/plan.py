"""``padecast plan``: what a calibration has found, and the plan that fulfils a wish."""

from __future__ import annotations

import json as plain
import os
import re
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from padecast import zoo
from padecast._errors import InvalidOption
from padecast.calibration import Calibration
from padecast.calibration.choice import split
from padecast.cli._files import as_json
from padecast.cli._shell import stdout
from padecast.cli._tables import new_table
from padecast.files import line, locate
from padecast.files.hub.address import SCHEME
from padecast.lab.metrics import Spread

COLUMNS = (">computed", ">speedup", ">PSNR", ">p5", ">worst", ">held out")
NUMBERS = 54  # columns that the numbers take
FILE = typer.Argument(
    help="A calibration file, hub:ORG/NAME, or one that ships with a demo model: "
    "digits:hard, digits:easy, scenes:20, scenes:50, motion:20."
)


def plan(
    file: str = FILE,
    computed: int | None = typer.Option(None, min=1, help="Exactly so many computed steps."),
    speedup: float | None = typer.Option(None, help="Steps over computed steps, at least this."),
    decibels: float | None = typer.Option(None, "--db", help="Mean PSNR on the calibration samples, at least this."),
    json: bool = typer.Option(False, "--json", help="Print JSON for scripts."),
) -> None:
    """Show the trade-off that a calibration has found, or the plan that fulfils one wish."""
    calibration, python = find_calibration(file)
    if computed is None and speedup is None and decibels is None:
        if json:
            return typer.echo(as_json(described(calibration)))
        return show(calibration, stdout())
    count = _budget(calibration, computed, speedup, decibels, json=json)
    details: dict[str, Any] = {
        **row(calibration, count),
        "python": f"with padecast.accelerate(pipe, {python}, computed={count}) as run: ...",
    }
    if decibels is not None:
        details["verdict"] = calibration.verdict(decibels)
    if json:
        return typer.echo(as_json(details))
    for text in _lines(details, calibration.steps):
        _say(text)


def _budget(
    calibration: Calibration, computed: int | None, speedup: float | None, decibels: float | None, *, json: bool
) -> int:
    """Return the number of computed steps that a wish comes to; the verdict on decibels is said, reached or not."""
    judged = decibels is not None and computed is None and speedup is None and not json
    if judged and decibels is not None:
        _say(calibration.verdict(decibels))
    try:
        return calibration.budget(computed=computed, speedup=speedup, decibels=decibels)
    except InvalidOption as error:
        if not judged:
            raise
        first, _, _ = str(error).partition("\n")  # what is there was said by the verdict
        raise InvalidOption(f"{first}\nCalibrate further budgets, or ask for what there is.") from None


def find_calibration(file: str) -> tuple[Calibration, str]:
    """Read a calibration; returns it and how Python code gets at it.

    Raises:
        UnknownName: If a demo model or a setting of it is not known.
        CalibrationMismatch: If the file cannot be read or is no calibration.
        HubError: If it is in a repository that cannot be read.
    """
    shipped = re.fullmatch(r"([\w-]+):([\w-]+)", file)
    if shipped and not os.path.exists(file):
        name, setting = shipped.groups()
        return zoo.calibration(name, setting), f'padecast.zoo.calibration("{name}", "{setting}")'
    if file.startswith(SCHEME):
        return Calibration.from_pretrained(file), f"padecast.Calibration.from_pretrained({plain.dumps(file)})"
    return Calibration.load(locate(file, "calibration")), f"padecast.Calibration.load({plain.dumps(file)})"


def row(calibration: Calibration, computed: int) -> dict[str, Any]:
    """Return the plan of one number of computed steps, as plain data.

    Example:
        >>> calibration = zoo.calibration("digits", "hard")
        >>> row(calibration, 8)["speedup"]
        2.5
    """
    choice = calibration.choices[computed]
    best = choice.best.candidate
    values = Spread.of(list(choice.best.psnr.values()))
    return {
        "computed": computed,
        "speedup": calibration.steps / computed,
        "psnr": {"mean": values.mean, "p5": values.p5, "worst": values.worst},
        "held_out": choice.held_out if split(calibration.seeds)[1] else None,
        "plan": best.plan,
        "forecaster": best.key.partition(" ")[2],
    }


def described(calibration: Calibration) -> dict[str, Any]:
    """Return the whole trade-off as plain data, without the inner products."""
    return {
        "name": calibration.name,
        "steps": calibration.steps,
        "guidance": calibration.guidance,
        "samples": len(calibration.seeds),
        "held_out_samples": len(split(calibration.seeds)[1]),
        "plans": [row(calibration, computed) for computed in calibration.budgets],
    }


def show(calibration: Calibration, console: Console) -> None:
    """Print the trade-off as a table; on a narrow screen plans and forecasters come in one of their own."""
    rows = [row(calibration, computed) for computed in calibration.budgets]
    wide = console.width >= NUMBERS + calibration.steps + max(len(r["forecaster"]) for r in rows)
    table = new_table(*COLUMNS, *(("plan", "forecaster") if wide else ()), title=_title(calibration))
    for r in rows:
        table.add_row(*_cells(r), *(_write_plan(r) if wide else ()))
    console.print(table)
    if not wide:
        named = new_table(">computed", "plan", "forecaster")
        for r in rows:
            named.add_row(str(r["computed"]), *_write_plan(r))
        console.print(named)
    console.print(_caption(calibration), style="dim", highlight=False, markup=False)


def _cells(r: dict[str, Any]) -> tuple[str, ...]:
    fidelity = (*r["psnr"].values(), r["held_out"])
    return (str(r["computed"]), f"{r['speedup']:.2f}x", *("–" if v is None else f"{v:.1f}" for v in fidelity))


def _write_plan(r: dict[str, Any]) -> tuple[Text, Text]:
    return Text(line(r["plan"], 10_000)), Text(line(r["forecaster"]))


def _title(calibration: Calibration) -> str:
    guidance = "" if calibration.guidance is None else f", guidance {calibration.guidance:g}"
    return f"{calibration.name}: {calibration.steps} steps{guidance}"


def _caption(calibration: Calibration) -> str:
    held = len(split(calibration.seeds)[1])
    outside = f"held out: mean over the {held} that nothing was fitted to" if held else "none is held out"
    return (
        f"PSNR in dB against uncached images, mean, 5th percentile and lowest over {len(calibration.seeds)} "
        f"calibration samples; {outside}. Speedup: steps / computed steps, of the denoiser at best."
    )


def _lines(details: dict[str, Any], steps: int) -> list[str]:
    psnr, held = details["psnr"], details["held_out"]
    outside = "" if held is None else f", held out {held:.1f} dB"
    return [
        f"plan        {details['plan']}",
        f"computed    {details['computed']} of {steps} steps",
        f"speedup     {details['speedup']:.2f}x, of the denoiser at best",
        f"PSNR        {psnr['mean']:.1f} dB expected{outside}, lowest sample {psnr['worst']:.1f} dB",
        f"forecaster  {details['forecaster']}",
        f"Python      {details['python']}",
    ]


def _say(text: str) -> None:
    stdout().print(text, highlight=False, markup=False, soft_wrap=True)
