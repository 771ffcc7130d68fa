"""Picture of a lesson: how alike what the steps added is, how large it is, and the plans that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from padecast.lab._canvas import COLOURS, DPI, FAINT, INK, Place, figure_of, write
from padecast.lab._canvas import label as as_text
from padecast.lab._canvas import title as write_title
from padecast.lab._extras import need
from padecast.lessons import Lesson, Look, Planner
from padecast.lessons.display import count, name
from padecast.lessons.planner import Proposal

LEFT, RIGHT, TOP, BOTTOM = 1.15, 1.75, 1.2, 0.5  # inches around the panels
SIDE, STEP, NORMS, ROW, GAP = 5.6, 0.28, 0.95, 0.27, 0.16  # inches: most of the image, of a step; panels, rows, gaps
SHARES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
"""Numbers of computed steps whose plans are drawn unless others are asked for, as shares of the steps."""
TICKS, MOST = 10, 6
LABEL = 0.42
"""Inches of a noise level in figures."""
MARKS = (-0.9, -0.5, 0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999)
"""Correlations that are marked beside the colours."""
GREY = "#666666"


def choose_budgets(steps: int) -> tuple[int, ...]:
    """Return the numbers of computed steps whose plans are shown, 2 or more and below all.

    Example:
        >>> choose_budgets(20), choose_budgets(2)
        ((4, 5, 6, 7, 8, 10, 12), (1,))
    """
    return tuple(sorted({min(max(round(share * steps), 2), max(steps - 1, 1)) for share in SHARES}))


def propose(lesson: Lesson, look: Look, budgets: Sequence[int] = (), objective: str = "mean") -> dict[int, Proposal]:
    """Return the plans of a lesson at the grid of a look.

    Args:
        lesson: What was learnt.
        look: Whose grid.
        budgets: Numbers of computed steps; see :func:`choose_budgets`.
        objective: See :class:`padecast.lessons.Planner`.

    Raises:
        InvalidOption: If a number of computed steps is out of range.
    """
    return Planner.of(lesson, look.noise, objective).plans(budgets or choose_budgets(look.steps))


def draw_lesson(
    lesson: Lesson, look: Look, path: Place, *, proposals: Mapping[int, Proposal] | None = None, title: str = ""
) -> Place:
    """Draw what a lesson saw at one grid: correlations of steps, their norms, and plans below, on one axis of steps.

    Args:
        lesson: What was learnt.
        look: Whose grid.
        path: Where to write the PNG.
        proposals: Plans that are drawn; those of :func:`propose` by default.
        title: Of the picture.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    plans = propose(lesson, look) if proposals is None else proposals
    side = min(SIDE, max(STEP * look.steps, 2.4))
    width = max(LEFT + side + RIGHT, 7.0)
    heights = {"image": side, "norms": NORMS, "plans": ROW * len(plans)}
    height = TOP + BOTTOM + sum(heights.values()) + GAP * (len(heights) - 1)
    figure, lower = figure_of((width, height)), height - TOP
    axes = {}
    for panel, size in heights.items():
        lower -= size
        axes[panel] = figure.add_axes((LEFT / width, lower / height, side / width, size / height))
        axes[panel].set_xlim(-0.5, look.steps - 0.5)
        lower -= GAP
    bar = figure.add_axes(((LEFT + side + 0.15) / width, (height - TOP - side) / height, 0.13 / width, side / height))
    _correlations(figure, axes["image"], bar, look)
    _norms(axes["norms"], look)
    _plans(axes["plans"], plans, look.steps)
    write_title(figure, title or f"Lesson of {name(lesson)}")
    figure.text(0.1 / width, 1 - 0.37 / height, _legend(look), fontsize=9, color=GREY, va="top", linespacing=1.4)
    return write(figure, path)


def _correlations(figure: Any, axis: Any, bar: Any, look: Look) -> None:
    """Cosines of what every two steps added; both axes are steps, marked by their noise levels."""
    gram = look.mean()
    length = np.sqrt(np.clip(gram.diagonal(), 1e-300, None))
    nines = _count_nines(gram / length[:, None] / length[None, :])
    high = max(1.0, float(nines[~np.eye(len(nines), dtype=bool)].max(initial=1.0)))
    image = axis.imshow(nines, cmap="viridis", vmin=nines.min(), vmax=high, interpolation="nearest", aspect="auto")
    places = _places(look.steps)
    levels = [f"{look.levels[place]:.2g}" for place in places]
    axis.set_yticks(places, levels)
    axis.set_ylabel("noise level", color=INK)
    crowded = len(places) * LABEL > axis.get_window_extent().width / DPI
    axis.set_xticks(places, levels, rotation=90 if crowded else 0)
    axis.xaxis.tick_top()
    axis.tick_params(labelsize=8.5, colors=INK, length=2, pad=1)
    marks = [mark for mark in MARKS if nines.min() - 0.05 <= _count_nines(mark) <= high + 0.05]
    figure.colorbar(image, cax=bar, ticks=[float(_count_nines(mark)) for mark in marks])
    bar.set_yticklabels([f"{mark:g}" for mark in marks])
    bar.set_ylabel("correlation of what two steps add", color=INK, fontsize=9)
    bar.tick_params(labelsize=8.5, colors=INK, length=2)


def _count_nines(cosines: Any) -> Any:
    """Return minus the decimal logarithm of what is missing to 1: what makes plans differ is small beside 1."""
    return -np.log10(np.maximum(1 - np.asarray(cosines, dtype=np.float64), 10.0**-MOST))


def _norms(axis: Any, look: Look) -> None:
    """Root mean square of what every step added, of single samples and of all."""
    for sample in look.singles:
        axis.plot(np.sqrt(np.clip(sample.diagonal(), 0, None)), color=COLOURS[4], linewidth=0.8, alpha=0.7)
    axis.plot(np.sqrt(np.clip(look.mean().diagonal(), 0, None)), "o-", color=COLOURS[0], markersize=3, linewidth=1.4)
    axis.set_ylabel("size", color=INK)
    axis.set_ylim(0, 1.15 * max(np.sqrt(np.clip(sample.diagonal(), 0, None)).max() for sample in look.singles) or 1)
    axis.set_xticks([])
    axis.yaxis.set_major_locator(need("matplotlib.ticker", "drawing pictures").MaxNLocator(3))
    axis.grid(True, axis="y", color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8.5, colors=INK)


def _plans(axis: Any, proposals: Mapping[int, Proposal], steps: int) -> None:
    """One row per number of computed steps: squares are computed, dots forecast; beside it what is expected."""
    size = min(7.0, 0.62 * 72 * min(SIDE, STEP * steps) / steps)
    for row, proposal in enumerate(proposals.values()):
        forecast = [step for step in range(steps) if step not in proposal.steps]
        axis.plot(
            proposal.steps, [row] * len(proposal.steps), "s", color=COLOURS[0], markersize=size, markeredgewidth=0
        )
        axis.plot(forecast, [row] * len(forecast), ".", color="#BBBBBB", markersize=min(size, 4))
        text = f"{steps / len(proposal.steps):.2f}x, about {proposal.decibels:.0f} dB"
        offset = {"xytext": (6, 0), "textcoords": "offset points", "xycoords": axis.get_yaxis_transform()}
        axis.annotate(text, (1, row), **offset, va="center", fontsize=8.5, color=INK, annotation_clip=False)
    axis.set_ylim(len(proposals) - 0.5, -0.5)
    axis.set_yticks(range(len(proposals)), [f"{budget} computed" for budget in proposals])
    axis.set_xticks(_places(steps))
    axis.set_xlabel("step", color=INK)
    axis.tick_params(length=0, labelsize=8.5, colors=INK)
    axis.spines[:].set_visible(False)


def _places(steps: int) -> list[int]:
    return list(range(0, steps, -(-steps // TICKS)))


def _legend(look: Look) -> str:
    what = "what the sampler was given" if look.kind == "guided" else look.kind
    seen = f"{look.steps} steps, {count(look.samples, 'sample')} of {count(look.runs, 'run')}; {what}"
    return f"{as_text(seen, 120)}\nbelow: squares are computed steps, dots forecasts, and decibels an estimate"
