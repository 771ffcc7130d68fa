"""docs/solvers.md: fewer steps of better solvers beside forecasts, from what benchmarks.solvers.measure measured.

python -m benchmarks.solvers.page          # writes the page
python -m benchmarks.solvers.page --check  # fails if it is not what results/solvers.json says
"""

from __future__ import annotations

import argparse

from benchmarks.common import DOCS, Document, publish, read, render, split

FILE, PAGE = "solvers.json", DOCS / "solvers.md"
OWN, METHODS = "the pipeline's own solver", ("adaptive", "tc-pade")
NAMES = {
    "euler": "Euler's rule",
    "heun": "Heun's rule, two evaluations a step",
    "dpmpp": "DPM-Solver++ 2M",
    "unipc": "UniPC",
    "deis": "DEIS",
    "adaptive": "`adaptive`",
    "tc-pade": "`tc-pade`",
}


def compose(document: Document) -> str:
    """Return the page; a world is shown once all of it was measured."""
    worlds = {world: rows for world, rows in split(document["rows"], "world").items() if is_whole(rows, document)}
    pairs = [pair for rows in worlds.values() for pair in list_pairs(rows, document["budgets"])]
    return render(
        "solvers/page.md.jinja",
        document=document,
        worlds=worlds,
        names=NAMES,
        own=OWN,
        pick=pick,
        verdicts=judge(pairs),
    )


def is_whole(rows: list[Document], document: Document) -> bool:
    """Return whether every way of a world was measured."""
    return len(rows) == 1 + len(NAMES) * len(document["budgets"])


def pick(rows: list[Document], way: str, budget: int) -> Document:
    """Return the row of a way that was to evaluate the model so often."""
    return next(row for row in rows if (row["way"], row["wanted"]) == (way, budget))


def list_pairs(rows: list[Document], budgets: list[int]) -> list[Document]:
    """Return for every number of evaluations the best solver and the best forecast, by each reference."""
    solvers = [way for way in NAMES if way not in METHODS]
    return [
        {
            reference: tuple(
                max((pick(rows, way, budget) for way in ways), key=lambda row: float(row[reference]["mean"]))
                for ways in (solvers, METHODS)
            )
            for reference in ("own", "converged")
        }
        for budget in budgets
    ]


def judge(pairs: list[Document]) -> Document:
    """Return in how many cells a forecast is nearer than the best solver, and by how much, by each reference."""
    verdicts = {}
    for reference in ("own", "converged"):
        gaps = [cell[reference][1][reference]["mean"] - cell[reference][0][reference]["mean"] for cell in pairs]
        wins = sum(gap > 0 for gap in gaps)
        verdicts[reference] = {"wins": wins, "cells": len(gaps), "low": min(gaps), "high": max(gaps)}
    return verdicts


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    publish({PAGE: compose(read(FILE))}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
