"""What learned plans are worth beside methods that learn nothing and calibrations, from results/worlds-*.json."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from benchmarks.common import RESULTS, Document, read
from benchmarks.comparison.pairs import NEITHER, OURS, family
from benchmarks.comparison.tables import budgets, misses, rank
from benchmarks.worlds.titles import FEW, WORLDS
from padecast.lab import Difference, Spread
from padecast.lab.html import is_partial

WAYS = {
    "learned": "learned from one run",
    "learned:runs=4": "learned from four",
    "learned:objective=mean": "learned from one, by the mean",
    "adaptive": "adaptive",
    "tc-pade": "tc-pade",
    "tc-pade:last=false": "tc-pade, last step free",
    "calibrated quick": "calibrated, quick",
    "calibrated normal": "calibrated, normal",
    "calibrated thorough": "calibrated, thorough",
}
OTHER = "best that is not ours"
PAIRS = {
    "one run, against adaptive": ("learned", "adaptive"),
    "one run, against tc-pade": ("learned", "tc-pade"),
    "one run, against tc-pade, last step free": ("learned", "tc-pade:last=false"),
    "one run, against a quick calibration": ("learned", "calibrated quick"),
    "one run, against a normal calibration": ("learned", "calibrated normal"),
    "one run, against a thorough calibration": ("learned", "calibrated thorough"),
    "four runs, against one": ("learned:runs=4", "learned"),
    "one run, low against mean": ("learned", "learned:objective=mean"),
    "quick calibration, against thorough": ("calibrated quick", "calibrated thorough"),
}


def read_worlds() -> dict[str, Document]:
    """Return the one chapter of every world that was measured, by its title; none on few seeds."""
    names = [(title, f"worlds-{world}.json") for world, title in WORLDS.items() if title not in FEW]
    documents = {title: read(name) for title, name in names if (RESULTS / name).is_file()}
    return {title: next(iter(document["chapters"].values())) for title, document in documents.items()}


def list_cells(chapter: Document) -> dict[int, dict[str, Document]]:
    """Return by number of computed steps the rows of our ways, and of the best other method."""
    cells: dict[int, dict[str, Document]] = {}
    for nfe in budgets(chapter):
        rows = rank(chapter, nfe)
        others = [r for r in rows if family(r) not in (*OURS, *NEITHER) and not is_partial(r["name"]) and not misses(r)]
        cells[nfe] = {row["name"]: row for row in rows if row["name"] in WAYS}
        if others:
            cells[nfe][OTHER] = others[0]
    return cells


def pair(chapters: dict[str, Document]) -> Iterator[Document]:
    """Yield the mean lead of one way over another, in PSNR and in its 5th percentile, over all cells that have both."""
    for text, (first, second) in PAIRS.items():
        cells = [cell for chapter in chapters.values() for cell in list_cells(chapter).values()]
        both = [(c[first], c[second]) for c in cells if first in c and second in c and not misses(c[second])]
        if both:
            gaps = [Difference.of(_spread(one), _spread(other)) for one, other in both]
            yield {
                "text": text,
                "cells": len(both),
                "mean": fmean(one["psnr"]["mean"] - other["psnr"]["mean"] for one, other in both),
                "least": min(one["psnr"]["mean"] - other["psnr"]["mean"] for one, other in both),
                "p5": fmean(one["psnr"]["p5"] - other["psnr"]["p5"] for one, other in both),
                "error": fmean(gap.error**2 for gap in gaps if gap) ** 0.5 / len(both) ** 0.5 if all(gaps) else None,
            }


def _spread(row: Document) -> Spread:
    values = row["psnr"]
    return Spread(values["mean"], values["p5"], values["worst"], tuple(values.get("each", ())))
