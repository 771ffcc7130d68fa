"""What the experiments of this study came to: figures for the page, from results/trial-*.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from benchmarks.common import Document, read, split
from padecast.lessons.extrapolation import ENOUGH

Choice = Callable[[Document], bool]


def measured(rows: Sequence[Document], ways: Sequence[Choice]) -> list[Document]:
    """Return the rows of the cells in which all ways were measured."""
    cells: dict[Any, list[Document]] = {}
    for row in rows:
        cells.setdefault((row["world"], row["budget"]), []).append(row)
    whole = [group for group in cells.values() if all(any(map(way, group)) for way in ways)]
    return [row for group in whole for row in group]


def compare(rows: Sequence[Document], before: Choice, after: Choice) -> list[Document]:
    """Return a row a world: figures of two ways, means over its budgets.

    Args:
        rows: Of a result file.
        before: Which rows are those of the first way.
        after: Which are those of the second.
    """
    rows = measured(rows, [before, after])
    return [
        {
            "world": world,
            "seeds": group[0]["seeds"][1],
            "budgets": sorted({row["budget"] for row in group if before(row)}),
            **{
                f"{name}_{figure}": fmean(row[figure] for row in group if choice(row))
                for name, choice in (("before", before), ("after", after))
                for figure in ("mean", "p5", "computed")
            },
        }
        for world, group in split(rows, "world").items()
    ]


def of_way(way: Any) -> Choice:
    """Return which rows are those of a way."""
    return lambda row: bool(row["way"] == way)


def correct() -> Document:
    """Return figures of in-run correction, and how much less forecasts err."""
    rows = read("trial-correction.json")["rows"]
    drawn = [row for row in rows if "mean" in row]
    errors = [row for row in rows if row["way"] == "errors"]
    saved = {
        world: 1 - fmean(row["learned, corrected"] / row["learned"] for row in group)
        for world, group in split(errors, "world").items()
    }
    lines = compare(drawn, of_way("learned"), of_way("line, retraced"))
    for line in lines:
        known = [row for row in rows if row["way"] == "lesson" and row["world"] == line["world"]]
        line["chosen"] = sum(row["line"] < ENOUGH * row["learned"] for row in known)
        line["errors"] = [row["line"] / row["learned"] for row in known]
    return {
        "rows": compare(drawn, of_way("learned"), of_way("learned, corrected")),
        "lines": [line for line in lines if not line["world"].startswith("motion")],
        "saved": saved,
    }


def mix() -> Document:
    """Return figures of half and half, and of the stack alone."""
    rows = read("trial-levels.json")["rows"]
    return {"rows": compare(rows, of_way(0.0), of_way(0.5)), "stack": compare(rows, of_way(0.0), of_way(1.0))}


def gain(rows: Sequence[Document]) -> float:
    """Return the mean gain of all cells, in dB; worlds count by their budgets."""
    cells = sum(len(row["budgets"]) for row in rows)
    return sum((row["after_mean"] - row["before_mean"]) * len(row["budgets"]) for row in rows) / cells
