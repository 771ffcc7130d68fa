"""A picture of every statement: what its verdict counts, at smooth settings and in matched ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.claims.readings import IDENTICAL, STATEMENTS, SWEEP, TAYLOR, Part, Statement
from benchmarks.claims.rows import EVERY, LENGTHS, THRESHOLDS
from benchmarks.claims.verdicts import DECIBELS, RELATIVE, Reading
from padecast.lab._canvas import COLOURS, FAINT, INK, figure_of, plain, write
from padecast.lab._canvas import title as write_title

WIDTH = 7.0
GREY = "#6B6B6B"
PLACES = {"smooth": "smooth", "matched": "matched", "dense": "matched, dense plans"}
LOOKS = {"smooth": (GREY, "o"), "matched": (COLOURS[0], "s"), "dense": (COLOURS[1], "^")}
"""Colour and marker of every place, so that neither is needed to tell them apart."""
NAMES = {
    "hard": "digits, hard",
    "easy": "digits, easy",
    "scenes": "scenes, smooth",
    "digits:matched": "digits, matched",
    "scenes:matched": "scenes, matched",
}
STYLES = {"smooth": "--", "matched": "-", "dense": ":"}


@dataclass(frozen=True)
class Line:
    """A line of a panel, named at its end.

    Args:
        name: Beside its last point.
        points: Of it.
        colour: Of line and name.
        marker: Of its points.
        style: Of the line.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    marker: str = "o"
    style: str = "-"


@dataclass(frozen=True)
class Panel:
    """A panel of lines.

    Args:
        across: What lies across.
        up: What lies up.
        lines: By any order.
        ticks: What is written across.
        zero: Whether a line at zero is drawn.
    """

    across: str
    up: str
    lines: Sequence[Line]
    ticks: Sequence[float]
    zero: bool = False


def draw_gains(path: Path, title: str, across: str, readings: Mapping[str, list[Reading]], margin: float) -> None:
    """Draw every comparison as a point: right of the grey band it holds, left of it it fails."""
    texts = list(dict.fromkeys(reading.text for rows in readings.values() for reading in rows if reading.counts))
    lanes = [(text, where) for text in texts for where in readings if _gains(readings[where], text)]
    height, room = 1.35 + 0.2 * len(lanes) + 0.12 * len(texts), 0.35 + 0.072 * max(map(len, texts))
    figure = figure_of((WIDTH, height))
    axis = figure.add_axes((room / WIDTH, 0.55 / height, 1 - (room + 0.2) / WIDTH, 1 - 1.25 / height))
    axis.axvspan(-margin, margin, color=FAINT, linewidth=0)
    axis.axvline(0, color=INK, linewidth=0.8)
    place, ticks = 0.0, []
    for text in texts:
        shown = [where for lane, where in lanes if lane == text]
        ticks.append(place - 0.1 * (len(shown) - 1))
        for where in shown:
            colour, marker = LOOKS[where]
            gains = _gains(readings[where], text)
            fill = "none" if where == "smooth" else colour
            look = {"color": colour, "marker": marker, "markerfacecolor": fill, "linestyle": "", "markersize": 5.5}
            axis.plot(gains, [place] * len(gains), alpha=0.85, **look)
            place -= 0.2
        place -= 0.12
    plain(axis, "", "")
    figure.text(1 - 0.15 / WIDTH, 0.12 / height, across, ha="right", va="bottom", color=INK)
    axis.set_yticks(ticks, texts, fontsize=9)
    axis.set_ylim(place + 0.2, 0.2)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    _name_places(figure, [where for where in readings if any(where == lane for _, lane in lanes)])
    write_title(figure, title)
    write(figure, path)


def _gains(readings: Iterable[Reading], text: str) -> tuple[float, ...]:
    return next((reading.gains for reading in readings if reading.text == text), ())


def _name_places(figure: Any, places: Sequence[str]) -> None:
    """Write under the title which points are whose, in their colour."""
    width, height = figure.get_size_inches()
    left = 0.12
    for where in places:
        colour, marker = LOOKS[where]
        fill = "none" if where == "smooth" else colour
        axis = figure.add_axes((left / width, 1 - 0.56 / height, 0.16 / width, 0.16 / height))
        axis.plot([0], [0], color=colour, marker=marker, markerfacecolor=fill, markersize=6)
        axis.set_axis_off()
        words = {"ha": "left", "va": "center", "fontsize": 9.5, "color": colour}
        figure.text((left + 0.22) / width, 1 - 0.48 / height, PLACES[where], **words)
        left += 0.55 + 0.082 * len(PLACES[where])


def draw_lines(path: Path, title: str, panels: Sequence[Panel], *, room: float = 1.0) -> None:
    """Draw panels of lines side by side, each line named at its end.

    Args:
        path: Where to write the PNG.
        title: Of the picture.
        panels: One or two.
        room: Inches right of every panel, for names.
    """
    height, left = 3.1, 0.6
    wide = WIDTH / len(panels)
    figure = figure_of((WIDTH, height))
    for number, panel in enumerate(panels):
        box = ((wide * number + left) / WIDTH, 0.5 / height, (wide - left - room) / WIDTH, 1 - 0.95 / height)
        axis = figure.add_axes(box)
        plain(axis, panel.across, panel.up)
        if panel.zero:
            axis.axhline(0, color=INK, linewidth=0.8)
        lines = [line for line in panel.lines if line.points]
        for line in lines:
            look = {"color": line.colour, "marker": line.marker, "linestyle": line.style, "markersize": 4.5}
            axis.plot(*zip(*line.points, strict=True), linewidth=1.5, **look)
        axis.set_xticks(panel.ticks, [f"{x:g}" for x in panel.ticks])
        _name_ends(axis, lines, apart=0.155 / (height - 0.95))
    write_title(figure, title)
    write(figure, path)


def _name_ends(axis: Any, lines: Sequence[Line], apart: float) -> None:
    """Write every line's name right of its last point, in its colour, with so much of the axis between two."""
    low, high = axis.get_ylim()
    places: list[float] = []
    for line in sorted(lines, key=lambda line: line.points[-1][1]):
        place = (line.points[-1][1] - low) / (high - low)
        places.append(max(place, places[-1] + apart) if places else place)
        axis.annotate(
            line.name,
            (1.02, places[-1]),
            xycoords="axes fraction",
            va="center",
            fontsize=8.5,
            color=line.colour,
            annotation_clip=False,
        )


def style(setting: str, where: str) -> dict[str, str]:
    """Return how the lines of a setting look: grey at smooth settings, dotted on dense plans."""
    scenes = setting.startswith("scenes")
    colour = GREY if where == "smooth" else COLOURS[1 if scenes else 0]
    return {"colour": colour, "marker": "s" if scenes else "o", "style": STYLES[where]}


def draw_threshold(path: Path, statement: Statement) -> None:
    """Draw what thresholds cost and bring."""
    panels = []
    for key, up in (("computed", "computed steps of 20"), ("psnr", "mean PSNR, dB")):
        lines = []
        for where, part in statement.parts.items():
            for setting in part.settings:
                low, high = THRESHOLDS[0], THRESHOLDS[-1]
                points = [(r["at"], fmean(r[key])) for r in part.rows(setting) if low <= r["at"] <= high]
                shown = [(x, y) for x, y in points if key == "computed" or y < IDENTICAL]
                lines.append(Line(NAMES[setting], shown, **style(setting, where)))
        panels.append(Panel("threshold θ", up, lines, THRESHOLDS))
    draw_lines(path, "tc-pade-fast over its threshold (dashed: smooth settings)", panels, room=1.25)


def draw_lengths(path: Path, statement: Statement) -> None:
    """Draw TaylorSeer over fewer steps, in runs of several lengths."""
    lines = []
    for where, part in statement.parts.items():
        for setting in part.settings:
            alone = part.alone(setting)
            points = [(n, gain) for n in LENGTHS for gain in alone.gain(TAYLOR[0], "fewer-steps", [n])]
            name = f"{NAMES[setting]}, dense plans" if where == "dense" else NAMES[setting]
            lines.append(Line(name, points, **style(setting, where)))
    panel = Panel("steps of the run", "PSNR over fewer steps, dB", lines, LENGTHS, zero=True)
    draw_lines(
        path, "TaylorSeer, order 1, over a sampler with as many steps (dashed: smooth settings)", [panel], room=1.95
    )


def draw_intervals(path: Path, part: Part) -> None:
    """Draw forecasters on even plans."""
    looks = dict(zip(part.names(), ((COLOURS[k], "os^D"[k]) for k in range(4)), strict=False))
    panels = []
    for setting in part.settings:
        rows = {name: [row for row in part.rows(setting) if row["name"] == name] for name in looks}
        lines = [
            Line(name, [(row["at"], fmean(row["psnr"])) for row in rows[name]], *look) for name, look in looks.items()
        ]
        panels.append(Panel(f"every N-th step computed; {NAMES[setting]}", "mean PSNR, dB", lines, EVERY))
    draw_lines(path, "Even plans of 20 steps", panels, room=1.6)


def draw(folder: Path) -> None:
    """Draw every picture of the page."""
    gains = "gain in mean PSNR, dB (grey: a tie; right of it: holds)"
    titles = {
        "predict": (
            "Residual against output: error saved",
            "share of the error saved (grey: a tie; right of it: holds)",
            RELATIVE,
        ),
        "rational": ("Padé against Taylor, orders 1 and 2", gains, DECIBELS),
        "spans": ("The whole stack against parts of it", gains, DECIBELS),
        "fifty": ("Spectrum against TaylorSeer", gains, DECIBELS),
    }
    for statement in STATEMENTS:
        path = folder / f"claims-{statement.part}.png"
        if statement.part in titles:
            title, across, margin = titles[statement.part]
            draw_gains(path, title, across, statement.readings, margin)
        else:
            (draw_threshold if statement.part == "threshold" else draw_lengths)(path, statement)
    intervals = SWEEP.parts
    if "matched" in intervals:
        draw_intervals(folder / "claims-intervals.png", intervals["matched"])
