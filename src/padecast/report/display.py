"""How a report looks where there is room: a table of all steps, and in a notebook its plan as squares."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from padecast.session.record import NOTES

COLUMNS = {"seconds": 7, "stability": 9, "disagreement": 12, "gain": 5, "weight_sum": 10}  # and how wide they are
MEANINGS = {
    "seconds": "of all calls of the model at this step",
    "stability": "0 to 2; how straight the residuals go: 2 is a straight line, 1 a right angle",
    "disagreement": "how far the forecast is from plain repetition, as a share of the newest residual",
    "gain": "by how much errors of the remembered residuals enter the forecast: 1 for repetition, more for a line",
    "weight sum": "1, but for ridge regressions, whose forecasts are drawn towards zero",
}
COMPUTED, FORECAST, UNVISITED = "#1b7f79", "#cfe8e5", "transparent"
COLOURS = {"C": COMPUTED, ".": FORECAST, " ": UNVISITED}
WORDS = {"C": "computed", ".": "forecast", " ": "not visited"}


def table(steps: Sequence[Any]) -> list[str]:
    """Return the lines of a table of steps, and what its columns mean.

    Args:
        steps: What a report has of each; see :class:`padecast.report.StepReport`.
    """
    titles = (name.replace("_", " ").rjust(width) for name, width in COLUMNS.items())
    head = f"step            {'  '.join(titles)}  notes"
    return [head, *map(_row, steps), "", *(f"{name}: {meaning}" for name, meaning in MEANINGS.items())]


def _row(step: Any) -> str:
    cells = {name: _cell(name, getattr(step, name)).rjust(width) for name, width in COLUMNS.items()}
    notes = "; ".join(f"{branch}: {NOTES.get(why, why)}" for branch, why in step.notes.items())
    word = "computed" if step.computed else "forecast"
    return f"{step.index:4d}  {word}  {'  '.join(cells.values())}  {notes}".rstrip()


def _cell(name: str, value: float | None) -> str:
    """Write a number; a time that was not taken is none."""
    if value is None or (name == "seconds" and not value):
        return "-"
    return f"{value:.3f}" if name == "seconds" else f"{value:.2f}"


def block(title: str, plan: str, lines: Sequence[str]) -> str:
    """Return a plan and lines of text as HTML that needs nothing else.

    Args:
        title: In bold.
        plan: ``C`` computed, ``.`` forecast, a space for a step that was not visited.
        lines: Text, one line each.

    Example:
        >>> block("a <b>", "C.", ["2 steps"]).count("<span")
        2
    """
    text = "<br>".join(html.escape(line) for line in lines)
    return (
        f"<div><b>{html.escape(title)}</b><div style='line-height:1.2;margin:4px 0'>{squares(plan)}</div>{text}</div>"
    )


def squares(plan: str) -> str:
    """Return a plan as a row of squares, dark where a step is computed."""
    return "".join(map(_square, range(len(plan)), plan))


def _square(index: int, letter: str) -> str:
    colour, word = COLOURS.get(letter, UNVISITED), WORDS.get(letter, "")
    return (
        f"<span title='step {index}: {word}' style='display:inline-block;width:12px;height:12px;margin:1px;"
        f"background:{colour};border:1px solid {COMPUTED}'></span>"
    )
