"""The ladder as a picture: how far the output changes from step to step, and what an error of one step leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Document
from padecast.lab import _canvas as canvas

SHOWN = {
    "scenes": ("scenes, usual", canvas.COLOURS[7]),
    "scenes:as-flux": ("scenes as FLUX", canvas.COLOURS[1]),
    "digits:matched": ("digits, matched", canvas.COLOURS[2]),
    "motion:as-wan": ("motion as Wan", canvas.COLOURS[3]),
}
"""Few lines: one usual setting, and a matched one of each model."""
REAL = canvas.COLOURS[0]


def draw_ladder(rows: Mapping[str, Document], published: Document, path: Path) -> None:
    """Draw both panels side by side and write them."""
    figure = canvas.figure_of((10.0, 4.2))
    changes, gains = figure.subplots(1, 2)
    real = published["change"]
    changes.plot(
        _shares(len(real["values"])), real["values"], color=REAL, linewidth=2.6, label=f"{real['model']},\npublished"
    )
    laws = {law["model"].partition("-")[0]: law for law in published["gain"]}
    flux = laws["FLUX.1"]
    where = np.arange(50)
    sigmas = 1 - where / 50
    levels = flux["shift"] * sigmas / (1 + (flux["shift"] - 1) * sigmas)
    law = (flux["a"] * ((49 - where) / 49) ** flux["alpha"] + flux["b"]) / levels
    gains.plot(where / 49, law / law[25], color=REAL, linewidth=2.6, label=f"{flux['model']},\npublished fit")
    for world, (name, colour) in SHOWN.items():
        if world in rows:
            row = rows[world]
            changes.plot(_shares(len(row["change"])), row["change"], color=colour, linewidth=1.6, label=name)
            steps = np.array([int(step) for step in row["gain"]])
            values = np.array(list(row["gain"].values()))
            gains.plot(steps / 19, values / np.interp(9.5, steps, values), color=colour, linewidth=1.6, label=name)
    changes.set(yscale="log", xlabel="share of the run", title="Change of the output from step to step")
    gains.set(yscale="log", xlabel="share of the run", title="What an error of the clean image leaves, middle = 1")
    for axis in (changes, gains):
        axis.grid(color=canvas.FAINT)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlim(0, 1)
        axis.title.set_fontsize(11)
    figure.subplots_adjust(0.05, 0.12, 0.86, 0.91, wspace=0.6)
    for axis in (changes, gains):
        ends = [(line, float(np.log10(line.get_ydata()[-1]))) for line in axis.lines]
        low, high = np.log10(axis.get_ylim())
        _name(axis, [canvas.End((end - low) / (high - low), line.get_label(), line.get_color()) for line, end in ends])
    canvas.write(figure, path)


def _name(axis: Any, ends: list[canvas.End]) -> None:
    """Write names beside the ends of lines, which are given as shares of a logarithmic axis."""
    ends.sort()
    places = canvas.spread([end.value for end in ends], 0.062)
    for end, place in zip(ends, places, strict=True):
        style = {"fontsize": 9, "color": end.colour, "va": "center", "annotation_clip": False}
        axis.annotate(end.name, (1.02, place), xycoords="axes fraction", **style)


def _shares(count: int) -> np.ndarray:
    """Return where changes lie in a run of one step more."""
    return np.arange(1, count + 1) / count
