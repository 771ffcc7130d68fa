"""Sections of the page of worlds, from the result files of world_parts.py, matched.py and variants.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any

from common import RESULTS

from padecast import files

Document = dict[str, Any]


def crossed(rows: Iterable[Document], down: str, across: str, cell: Callable[[Document], str]) -> list[str]:
    """Return a table of rows by one key and another."""
    rows = list(rows)
    heads = list(dict.fromkeys(str(row[across]) for row in rows))
    lines = [f"| {down} | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name in dict.fromkeys(row[down] for row in rows):
        found = {str(row[across]): cell(row) for row in rows if row[down] == name}
        lines.append(f"| {name} | {' | '.join(found.get(head, '') for head in heads)} |")
    return lines


def both(row: Document) -> str:
    """Return mean and worst."""
    return f"{row['mean']:.1f} / {row['worst']:.1f}"


LEVELS = {
    "output": "output",
    "clean": "clean image",
    "full": "whole stack",
    "difference": "output less latents",
    "double": "double blocks",
    "single": "single blocks",
}


def setting_of(row: Document) -> str:
    """Return the column of a row of levels."""
    return f"{row['computed']}, {row['way']}"


def parts_of(name: str, title: str, told: str) -> list[str]:
    """Return the section of a part of world_parts.py; nothing if it was not measured."""
    path = RESULTS / f"world-{name}.json"
    if not path.is_file():
        return []
    document = files.read_json(path)
    lines = [f"## {title}", "", told, "", f"`{document['provenance']['command']}`. Mean / worst PSNR over samples.", ""]
    rows = document["rows"]
    for model in dict.fromkeys(row["model"] for row in rows):
        chosen = [row for row in rows if row["model"] == model]
        lines += [f"**{model}**", ""]
        if name == "levels":
            named = [{**row, "level": LEVELS[row["span"]], "setting": setting_of(row)} for row in chosen]
            lines += [*crossed([row for row in named if row["guided"]], "level", "setting", both), ""]
            lines += ["Without guidance:", ""]
            lines += [*crossed([row for row in named if not row["guided"]], "level", "setting", both), ""]
            costs = {row["span"]: (row["history_bytes"], row["cost"]) for row in chosen}
            lines += ["| level | history, bytes | a forecast step over a computed one |", "|---|---:|---:|"]
            lines += [f"| {LEVELS[span]} | {size:,} | {cost:.1%} |" for span, (size, cost) in costs.items()] + [""]
        elif name == "solvers":
            named = [{**row, "setting": f"{row['way']}, {row['computed']}"} for row in chosen]
            lines += [*crossed(named, "solver", "setting", both), ""]
        else:
            lines += [*crossed(chosen, "way", "computed", both), ""]
    return lines


DAMPINGS = (0, 2, 8, 32)
TRIED = (
    *("repetition", "line", "parabola", "Taylor, order 2", "Hermite", "Chebyshev", "Padé [1/1]", "Padé [0/1]"),
    *(
        f"TC-Padé, damping {damping}, feedback {feedback}"
        for feedback in ("0", "1", "1.5")
        for damping in (0, 2, 8, 32)
    ),
)


def variants() -> list[str]:
    """Return the section of what was tried of forecasters; nothing if it was not measured."""
    path = RESULTS / "variants.json"
    if not path.is_file():
        return []
    document = files.read_json(path)
    rows = {(row["forecaster"], row["over"]): row for row in document["rows"] if row["plan"] == "dense"}
    cells = [name for name in document["rows"][0] if "," in name]
    base = {cell: rows["repetition", "steps"][cell][0] for cell in cells}
    lines = [
        "## What was tried of forecasters",
        "",
        f"{len(document['rows'])} variants on recorded runs of the matched worlds under Euler: a forecaster, the",
        "abscissae that it extrapolates over, and a plan. The error of the last latents is the sum of what forecasts",
        "are off, the first order of what the sampler does. Shown is, on plans that are dense at the start, how many",
        f"decibels a variant is above repetition in the mean over {len(cells)} cells (three worlds at 6, 8 and 10",
        "computed), and in brackets in its worst cell. Nothing is gone through again here. The rest is in the file.",
        "",
        f"`{document['provenance']['command']}`, `benchmarks/results/variants.json`.",
        "",
        "| forecaster | over step indices | over noise levels | over their roots |",
        "|---|---:|---:|---:|",
    ]
    for name in TRIED:
        row = [rows[name, over] for over in ("steps", "levels", "roots")]
        gains = [[of[cell][0] - base[cell] for cell in cells] for of in row]
        lines.append(f"| {name} | " + " | ".join(f"{fmean(gain):+.1f} ({min(gain):+.1f})" for gain in gains) + " |")
    return [*lines, ""]


MET = {"fewer": "fewer steps", "repetition": "repetition", "line": "line"}


def matches() -> list[str]:
    """Return the section of the search of matched settings; nothing if it was not measured."""
    path = RESULTS / "world-matches.json"
    if not path.is_file():
        return []
    document = files.read_json(path)
    settings, shipped = document["settings"], document["settings"]["shipped"]
    lines = [
        "## How matched settings were found",
        "",
        "Every schedule and guidance of a grid was measured, on development seeds "
        f"({', '.join(f'{count} of {model}' for model, count in settings['counts'].items())}): plain",
        "fewer steps at 10 of 20; repetition on a plan that is dense at the start, less that; a line, less repetition.",
        "In bold is what ships. Lines of real models that are met are counted: below "
        f"{settings['half']:g} dB, {settings['above']:g} dB or more,",
        f"and {settings['gain'][0]:g} to {settings['gain'][1]:g} dB.",
        "",
        f"`{document['provenance']['command']}`, `benchmarks/results/world-matches.json`.",
        "",
    ]
    for model in dict.fromkeys(row["model"] for row in document["rows"]):
        rows = [row for row in document["rows"] if row["model"] == model]
        ships, best = shipped[model], document["best"][model]
        lines += [
            f"**{model}**: the most lines and the greatest loss of fewer steps at shift {best['shift']:g}, guidance "
            f"{best['guidance']:g} ({len(best['met'])} met).",
            "",
            "| shift | guidance | fewer steps | repetition | line | met |",
            "|---:|---:|---:|---:|---:|---|",
        ]
        for row in rows:
            bold = "**" if (row["shift"], row["guidance"]) == (ships["shift"], ships["guidance"]) else ""
            met = ", ".join(MET[name] for name in row["met"])
            lines.append(
                f"| {bold}{row['shift']:g}{bold} | {bold}{row['guidance']:g}{bold} | {row['fewer']:.1f} "
                f"| {row['repetition']:+.1f} | {row['line']:+.1f} | {met} |"
            )
        lines.append("")
    return lines
