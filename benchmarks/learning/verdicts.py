"""What the experiments of this study came to: figures for the page, from results/trial-*.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.common import Document, read, split

Choice = Callable[[Document], bool]


def compare(rows: Sequence[Document], before: Choice, after: Choice) -> list[Document]:
    """Return a row a world: figures of two ways, means over its budgets.

    Args:
        rows: Of a result file.
        before: Which rows are those of the first way.
        after: Which are those of the second.
    """
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
    drawn = [row for row in rows if row["way"] != "errors"]
    errors = [row for row in rows if row["way"] == "errors"]
    saved = {
        world: 1 - fmean(row["learned, corrected"] / row["learned"] for row in group)
        for world, group in split(errors, "world").items()
    }
    return {
        "rows": compare(drawn, of_way("learned"), of_way("learned, corrected")),
        "lines": compare(drawn, of_way("learned"), of_way("line, retraced")),
        "saved": saved,
    }


def mix() -> Document:
    """Return figures of half and half, and of the stack alone."""
    rows = read("trial-levels.json")["rows"]
    return {
        "rows": compare(rows, of_way(0.0), of_way(0.5)),
        "stack": compare(rows, of_way(0.0), of_way(1.0)),
    }


def watch() -> list[Document]:
    """Return figures of added steps, beside those of plans of as many steps, read between budgets."""
    summaries = []
    for group in split(read("trial-risk.json")["rows"], "world").values():
        planned = [row for row in group if row["way"] == "planned"]
        for row in group:
            if row["way"] == "planned":
                continue
            same = {
                figure: float(np.interp(row["computed"], [p["budget"] for p in planned], [p[figure] for p in planned]))
                for figure in ("mean", "p5", "worst")
            }
            summaries.append({**row, "seeds": row["seeds"][1], "same": same})
    return summaries


def judge() -> list[Document]:
    """Return figures of ``mean``, ``low`` and hindsight on unseen seeds, a row for every world and budget."""
    summaries = []
    for row in read("trial-low.json")["rows"]:
        if row["ways"] == ["mean"] and row["seeds"][0] >= UNSEEN:
            summaries.append({"world": row["world"], "budget": row["budget"], "seeds": row["seeds"][1]})
        if row["seeds"][0] >= UNSEEN:
            summaries[-1][row["ways"][0]] = row
    return summaries


UNSEEN = 40_000
