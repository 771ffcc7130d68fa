"""Tables of results and of what is registered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from padecast.files import line
from padecast.lab.results import Comparison, Result

WIDE = 115  # columns from which the plan stands in the table itself
LONGEST = 1000  # characters of a cell
BUSY = 1.5  # slowest over fastest call, from which times are called rough


class Rows(Table):
    """A table whose cells are text: names are shown as they are written."""

    def add_row(self, *cells: Any, **style: Any) -> None:
        """Add a row; what is no text is drawn as rich draws it."""
        super().add_row(*(Text(line(cell, LONGEST)) if isinstance(cell, str) else cell for cell in cells), **style)


def new_table(*columns: str, title: str | None = None, gap: int = 2) -> Table:
    """Make a table in the style of all tables here; a column name that begins with ``>`` is set to the right."""
    table = Rows(
        title=None if title is None else Text(line(title)),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),
    )
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    return table


def show(comparison: Comparison, console: Console) -> None:
    """Print a comparison: a table, one section per number of computed steps, and what was tuned."""
    settings, results = comparison.settings, comparison.results
    wide = console.width >= WIDE
    columns = (">NFE", ">PSNR", ">p5", ">worst", ">SSIM", ">seconds", ">speedup", ">ideal", ">eff.")
    table = new_table("method", *(("plan",) if wide else ()), *columns, title=settings["name"], gap=2 if wide else 1)
    for place, result in enumerate(results):
        if (place and result.wanted != results[place - 1].wanted) or place == 1:
            table.add_section()
        table.add_row(result.name, *((result.plans[0],) if wide else ()), *_cells(result), style=_style(result))
    console.print(table)
    console.print(_caption(comparison), style="dim", highlight=False, markup=False)
    fastest, slowest = results[0].seconds_range
    if slowest > BUSY * fastest:
        busy = f"The uncached calls took {fastest:.3g} to {slowest:.3g} s: the machine was busy, so times are rough."
        console.print(busy, style="yellow", highlight=False, markup=False)
    for result in results:
        if result.teaching:
            images = f"{result.teaching} image{'s' if result.teaching > 1 else ''}"
            note = f"{result.name} was taught by {images} of other seeds, drawn before; its calls are planned ones."
            console.print(note, style="dim", highlight=False, markup=False)
    _show_written(results, console, plans=not wide)
    for refusal in comparison.refusals:
        at = "" if refusal.wanted is None else f" at {refusal.wanted:g}"
        console.print(f"{refusal.name}{at} is left out: {refusal.why}", style="yellow", highlight=False, markup=False)


def _cells(result: Result) -> tuple[str, ...]:
    uncached = result.name == "uncached"
    fidelity = (result.psnr.mean, result.psnr.p5, result.psnr.worst)
    return (
        f"{result.nfe:.3g}",
        *("–" if uncached else f"{value:.1f}" for value in fidelity),
        "–" if uncached else f"{result.ssim.mean:.3f}",
        f"{result.seconds:.3g}",
        *("–" if uncached else f"{value:.2f}x" for value in (result.speedup, result.ideal)),
        "–" if uncached else f"{result.efficiency:.0%}",
    )


def _style(result: Result) -> str:
    return "dim" if result.name in ("uncached", "fewer-steps") else ""


def _caption(comparison: Comparison) -> str:
    settings = comparison.settings
    batch = min(settings["batch"], len(settings["seeds"]))
    timed = comparison.results[0].calls_timed
    return (
        f"{settings['steps']} steps, {len(settings['seeds'])} seeds in calls of {batch}. PSNR in dB and SSIM against "
        f"uncached images of the same seeds. Seconds of a call, median of {timed}. Ideal: steps / NFE; "
        "eff.: speedup / ideal."
    )


def _show_written(results: Sequence[Result], console: Console, *, plans: bool) -> None:
    """What was tuned, as it is written to run it again; on a narrow screen with its plan."""
    rows = [r for r in results if r.name not in ("uncached", "fewer-steps") and (plans or r.written != r.name)]
    if not rows:
        return
    table = new_table("as run", *(("plan",) if plans else ()))
    for result in rows:
        table.add_row(result.written, *((result.plans[0],) if plans else ()), style="dim")
    console.print(table)
