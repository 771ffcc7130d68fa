"""Pictures and tables of the page of claims."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claims_files import Document, Line, Rows, all_names, mean, names

from padecast.lab._canvas import INK, figure_of, legend_width, plain, styles_of, write
from padecast.lab._canvas import title as write_title


@dataclass(frozen=True)
class Panel:
    """One panel of a picture: lines by name."""

    title: str
    lines: Mapping[str, Line]
    across: str
    up: str


SHOWN = "show what was asked"
DASHED = ("fewer-steps", "uncached", "output")
WIDE, HIGH, LEFT, GAP = 3.7, 3.3, 0.75, 0.15  # inches: of a panel, its margin, and before the legend


def panels(path: Path, title: str, shown: Sequence[Panel], *, columns: int = 3, dashed: Sequence[str] = ()) -> None:
    """Draw panels side by side with one legend.

    With ``dashed``, names are "kind, line": lines of its kinds are dashed, and a line has one colour in all kinds.
    """
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    bare = {name: name.partition(", ")[2] if dashed else name for panel in shown for name in panel.lines}
    styles = styles_of(list(bare.values()))
    legend = legend_width(bare)
    width, height = (LEFT + WIDE) * columns + GAP + legend, 0.5 + (HIGH + 0.9) * rows
    figure = figure_of((width, height))
    handles: dict[str, Any] = {}
    for place, panel in enumerate(shown):
        row, column = divmod(place, columns)
        left, bottom = LEFT + (LEFT + WIDE) * column, height - 0.8 - HIGH - (HIGH + 0.9) * row
        axis = figure.add_axes((left / width, bottom / height, WIDE / width, HIGH / height))
        for name, line in panel.lines.items():
            colour, marker = styles[bare[name]]
            broken = name in DASHED or name.partition(", ")[0] in dashed
            look = {"color": colour, "marker": marker, "linestyle": "--" if broken else "-", "label": name}
            if line:
                (handles[name],) = axis.plot(*zip(*sorted(line), strict=True), **look, markersize=5, linewidth=1.4)
        plain(axis, panel.across, panel.up)
        if panel.up == SHOWN:
            axis.set_ylim(0, 1.05)
        axis.set_title(panel.title, fontsize=10, color=INK)
        across = sorted({x for line in panel.lines.values() for x, _ in line})
        across = across[:: 1 + len(across) // 12]
        crowded = min(b - a for a, b in itertools.pairwise(across)) < (max(across) - min(across)) / 12
        axis.set_xticks(across, [f"{x:g}" for x in across], rotation=60 if crowded else 0)
    place_of = {"loc": "upper left", "bbox_to_anchor": (1 - legend / width, 1 - 0.75 / height)}
    figure.legend(handles.values(), handles.keys(), **place_of, fontsize=8.5, frameon=False, labelcolor=INK)
    write_title(figure, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(figure, path)


def figures(
    found: Document, at: Sequence[float], *, key: str = "psnr", digits: str = "{:.1f}", leave: Sequence[str] = ()
) -> list[str]:
    """Write a row per name, a column per setting and value."""

    def cell(rows: Rows, name: str, value: float) -> str:
        return digits.format(mean(rows, name, value, key)) if name in names(rows) else ""

    chosen = [n for n in all_names(found) if n not in leave]
    rows = [[n, *(cell(one["rows"], n, a) for one in found.values() for a in at)] for n in chosen]
    return table(["PSNR, dB" if key == "psnr" else "", *(f"{s}, {a:g}" for s in found for a in at)], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a Markdown table and the blank line after it."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + [""]
