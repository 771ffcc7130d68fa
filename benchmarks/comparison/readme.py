"""README's table and the picture of docs/comparison.md: few lines, from settings that are like real models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import Document, render
from benchmarks.comparison.pairs import NEITHER, OURS, family
from benchmarks.comparison.tables import CLOSE, rank
from padecast.lab import _canvas as canvas
from padecast.lab.html import is_partial

PLACES = ("Scenes as FLUX", "Digits, matched", "Motion as Wan")
"""Worlds, by their titles."""
COMPUTED = 8
FEWER, BEST = "fewer-steps", "best other"
ROWS = {
    FEWER: "the sampler with 8 steps",
    BEST: "the best published cache, named",
    "adaptive": "**padecast** `adaptive`, its tolerance set for 8 steps",
    "learned": "**padecast**, learned from your first image",
    "calibrated quick": "**padecast**, calibrated with 15 images",
}
LINES = {
    FEWER: ("fewer steps", canvas.COLOURS[6], "--"),
    BEST: ("best published cache", canvas.COLOURS[1], "-"),
    "adaptive": ("padecast, adaptive", canvas.COLOURS[4], "-"),
    "learned": ("padecast, learned", canvas.COLOURS[0], "-"),
}
NUMBERS = (6, 8, 10)
Cells = dict[tuple[str, str], Document]


def choose(worlds: dict[str, Document]) -> dict[str, Document]:
    """Return the one chapter of every world of the table, by its title."""
    return {title: next(iter(worlds[title]["chapters"].values())) for title in PLACES if title in worlds}


def is_other(row: Document) -> bool:
    """Return whether a row is a whole method of others."""
    return family(row) not in (*OURS, *NEITHER, FEWER) and not is_partial(row["name"])


def list_rows(chapter: Document, number: int) -> dict[str, Document]:
    """Return the rows that compute no more than so many steps, by name, and the best of the others."""
    rows = [row for row in rank(chapter, number) if row["nfe"] - number <= CLOSE]
    others = [row for row in rows if is_other(row)]
    return {row["name"]: row for row in rows} | ({BEST: others[0]} if others else {})


def compose(worlds: dict[str, Document]) -> str:
    """Return the table with its text."""
    chapters = choose(worlds)
    cells = {title: list_rows(chapter, COMPUTED) for title, chapter in chapters.items()}
    counts = {title: len(chapter["settings"]["seeds"]) for title, chapter in chapters.items()}
    behind = [title for title, rows in cells.items() if rows["adaptive"]["psnr"]["mean"] < rows[BEST]["psnr"]["mean"]]
    return render(
        "comparison/readme.md.jinja", cells=cells, rows=ROWS, counts=counts, behind=behind, best=BEST, close=CLOSE
    )


def draw(worlds: dict[str, Document], path: Path) -> None:
    """Draw PSNR over computed steps, a panel per world: few lines in colour, all others grey."""
    chapters = choose(worlds)
    width, height, left, gap = 9.4, 3.5, 0.62, 0.42
    panel = (width - left - 1.75 - gap * (len(chapters) - 1)) / len(chapters)
    figure = canvas.figure_of((width, height))
    for place, (title, chapter) in enumerate(chapters.items()):
        x = left + place * (panel + gap)
        axis = figure.add_axes((x / width, 0.5 / height, panel / width, (height - 1.05) / height))
        for points in trace_others(chapter):
            axis.plot(*zip(*points, strict=True), color="#C4C4C4", linewidth=0.9, zorder=1)
        ends = []
        for name, (words, colour, dashes) in LINES.items():
            points = trace(chapter, name)
            if points:
                axis.plot(*zip(*points, strict=True), dashes, color=colour, linewidth=2.2, marker="o", zorder=3)
                ends.append(canvas.End(points[-1][1], words, colour))
        canvas.plain(axis, "computed of 20 steps", "PSNR, dB" if place == 0 else "")
        axis.set_xticks(NUMBERS)
        axis.set_title(title, fontsize=10.5, color=canvas.INK)
        if place == len(chapters) - 1:
            canvas.name_ends(axis, ends, size=9.5)
        else:
            name_absent(axis, ends, list(chapters.values())[place + 1 :])
    canvas.title(figure, "Nearer to the uncached image is higher; grey are other methods and variants")
    path.parent.mkdir(exist_ok=True)
    canvas.write(figure, path)


def trace(chapter: Document, name: str) -> list[tuple[int, float]]:
    """Return the points of a line."""
    rows = {number: list_rows(chapter, number) for number in NUMBERS}
    return [(number, row["psnr"]["mean"]) for number, known in rows.items() if (row := known.get(name))]


def trace_others(chapter: Document) -> Iterator[list[tuple[int, float]]]:
    """Yield the lines of all other methods."""
    for name in dict.fromkeys(row["name"] for row in chapter["rows"]):
        if name not in LINES and len(points := trace(chapter, name)) > 1:
            yield points


def name_absent(axis: Any, ends: list[tuple[float, str, str]], later: Sequence[Document]) -> None:
    """Write names of lines that no later panel has, under their ends."""
    absent = {words for name, (words, *_) in LINES.items() if not any(trace(chapter, name) for chapter in later)}
    for value, words, colour in ends:
        if words in absent:
            look = {"xytext": (4, -14), "textcoords": "offset points", "ha": "right", "va": "top", "fontsize": 9.5}
            axis.annotate(words, (NUMBERS[-1], value), color=colour, **look)
