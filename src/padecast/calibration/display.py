"""How a calibration looks where it is printed, and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

from padecast.files import line
from padecast.report.display import squares

if TYPE_CHECKING:
    from padecast.calibration.calibration import Calibration

COLUMNS = ("computed", "speedup", "PSNR", "held out", "plan")


def write_title(calibration: Calibration) -> str:
    """Return whose the plans are, on one line."""
    return f"{line(calibration.name)}: {calibration.steps} steps, {len(calibration.seeds)} calibration samples"


def list_rows(calibration: Calibration) -> Iterator[tuple[str, ...]]:
    """Give one row for every number of computed steps, fewest first; the last cell is the plan."""
    for point in calibration.curve():
        plan = calibration.choices[point.computed].best.candidate.plan
        yield str(point.computed), f"{point.speedup:.2f}x", f"{point.psnr:.1f}", f"{point.held_out:.1f}", plan


def describe(calibration: Calibration) -> str:
    """Return the table for a terminal."""
    lines = [
        f"{computed:>8}  {speedup:>7}  {psnr:>5}  {held_out:>8}  {plan}"
        for computed, speedup, psnr, held_out, plan in (COLUMNS, *list_rows(calibration))
    ]
    return "\n".join([write_title(calibration), *lines])


def write_html(calibration: Calibration) -> str:
    """Return the table as HTML that needs nothing else, plans as squares."""
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    body = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{squares(plan)}</td></tr>"
        for *cells, plan in list_rows(calibration)
    )
    return f"<div><b>{html.escape(write_title(calibration))}</b><table><tr>{head}</tr>{body}</table></div>"
