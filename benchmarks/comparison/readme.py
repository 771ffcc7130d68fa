"""README's table and picture of the demo models at their usual settings."""

from __future__ import annotations

from pathlib import Path

from benchmarks.common import Document, render
from benchmarks.comparison.tables import CLOSE
from padecast.lab import _canvas as canvas

PLACES = {"digits, hard": "digits", "scenes, 20": "scenes", "motion, 20": "motion"}
"""Chapters of the result files, one for each model, and what they are called."""
ROWS = {
    "fewer-steps": "fewer steps",
    "fora": "FORA",
    "teacache": "TeaCache",
    "magcache": "MagCache",
    "easycache": "EasyCache",
    "taylorseer": "TaylorSeer",
    "hicache": "HiCache",
    "foca": "FoCa",
    "spectrum": "Spectrum",
    "diffusers.first-block": "FirstBlockCache of diffusers",
    "diffusers.taylorseer": "TaylorSeerCache (attention alone)",
    "cache-dit": "cache-dit",
    "cache-dit.taylorseer": "cache-dit with TaylorSeer",
    "tc-pade": "tc-pade, as it was",
    "adaptive": "adaptive, as it was",
    "calibrated": "**calibrated**",
}
OWN = ("adaptive", "tc-pade", "calibrated")
"""Rows that count without their variants."""


def choose(documents: dict[str, Document]) -> dict[str, Document]:
    """Return one chapter of every model, by the model's name."""
    chapters = {title: chapter for document in documents.values() for title, chapter in document["chapters"].items()}
    return {name: chapters[title] for title, name in PLACES.items() if title in chapters}


def measure(chapters: dict[str, Document]) -> dict[str, dict[tuple[str, int], float]]:
    """Return the mean PSNR by method, model and computed steps: of others' variants the best, of ours as written."""
    figures: dict[str, dict[tuple[str, int], float]] = {name: {} for name in ROWS}
    for model, chapter in chapters.items():
        for row in chapter["rows"]:
            plain = row["name"].partition(":")[0]
            name, cell = row["name"] if plain in OWN else plain, (model, int(row["wanted"]))
            if name in figures and abs(row["nfe"] - row["wanted"]) <= CLOSE:
                figures[name][cell] = max(figures[name].get(cell, 0.0), row["psnr"]["mean"])
    return figures


def compose(documents: dict[str, Document]) -> str:
    """Return the table with its text."""
    chapters = choose(documents)
    return render("comparison/readme.md.jinja", chapters=chapters, figures=measure(chapters), rows=ROWS)


def draw(documents: dict[str, Document], path: Path) -> None:
    """Draw the table: PSNR over computed steps, a panel per model."""
    chapters = choose(documents)
    figures = measure(chapters)
    styles = canvas.styles_of(list(ROWS))
    width, height, panel, left = 0.7 + 4.4 * len(chapters) + 2.6, 5.2, 3.8, 0.7
    figure = canvas.figure_of((width, height))
    for place, model in enumerate(chapters):
        axis = figure.add_axes(((left + 4.4 * place) / width, 0.6 / height, panel / width, (height - 1.3) / height))
        for name, row in figures.items():
            points = sorted((nfe, value) for (where, nfe), value in row.items() if where == model)
            ours = name in OWN
            colour, marker = styles[name]
            look = {"linewidth": 2.6 if ours else 1.1, "markersize": 7 if ours else 4.5, "zorder": 3 if ours else 2}
            dashes = "--" if name == "fewer-steps" or "." in name or name == "cache-dit" else "-"
            label = ROWS[name].replace("*", "")
            places, values = ([point[index] for point in points] for index in (0, 1))
            axis.plot(places, values, dashes, color=colour, marker=marker, label=label, **look)
        canvas.plain(axis, "computed of 20 steps", "PSNR against uncached, mean, dB" if place == 0 else "")
        axis.set_xticks([6, 8, 10])
        axis.set_title(model, fontsize=10, color=canvas.INK)
    axis.legend(loc="upper left", bbox_to_anchor=(1.03, 1.0), fontsize=8.5, frameon=False, borderaxespad=0.0)
    canvas.title(figure, "Fidelity over computed steps; padecast's own in bold")
    path.parent.mkdir(exist_ok=True)
    canvas.write(figure, path)
