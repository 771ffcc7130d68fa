"""Picture of a calibration: what every number of computed steps keeps, and its plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from padecast.calibration import Calibration
from padecast.calibration.choice import split
from padecast.lab._canvas import COLOURS, FAINT, INK, figure_of, write
from padecast.lab._canvas import title as write_title
from padecast.lab._extras import need

BAND, HELD = COLOURS[0], COLOURS[1]
LEFT, WIDE, BOTTOM, TOP = 0.75, 4.6, 0.6, 1.15  # inches: margins, and the width of the curve
SQUARE, ROW, LABEL = 0.135, 0.28, 1.15  # inches of a plan: a step, a row, its label
MOST, LEAST = 60, 7.9  # steps of a plan that is still drawn, and the inches that the line under the title takes


def curve(calibration: Calibration, path: Path, *, title: str = "") -> Path:
    """Draw PSNR over computed steps, with the plans beside it where they fit.

    Args:
        calibration: What was found.
        path: Where to write the PNG.
        title: Of the picture.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    budgets, steps = calibration.budgets, calibration.steps
    plans = steps <= MOST
    strip = LABEL + SQUARE * steps + 0.25 if plans else 0.2
    width, height = max(LEFT + WIDE + strip, LEAST), max(4.1, TOP + BOTTOM + ROW * len(budgets))
    figure = figure_of((width, height))
    room = (height - TOP - BOTTOM) / height
    axis = figure.add_axes((LEFT / width, BOTTOM / height, WIDE / width, room))
    _trade_off(axis, calibration)
    if plans:
        size = (SQUARE * steps / width, ROW * len(budgets) / height)
        _plans(figure.add_axes(((LEFT + WIDE + LABEL) / width, 1 - TOP / height - size[1], *size)), calibration)
    write_title(figure, title or f"{calibration.name}: what {steps} steps keep when fewer are computed")
    figure.text(0.1 / width, 1 - 0.36 / height, _legend(calibration, plans), fontsize=9, color="#666666", va="top")
    return write(figure, path)


def _trade_off(axis: Any, calibration: Calibration) -> None:
    """Mean, range and held-out mean over computed steps; above them the speedup."""
    budgets, points = calibration.budgets, calibration.curve()
    samples = [calibration.choices[n].best.psnr.values() for n in budgets]
    low, high = [min(values) for values in samples], [max(values) for values in samples]
    axis.fill_between(budgets, low, high, color=BAND, alpha=0.13, linewidth=0, label="lowest to highest sample")
    axis.vlines(budgets, low, high, color=BAND, alpha=0.35, linewidth=1)
    axis.plot(budgets, [p.psnr for p in points], "o-", color=BAND, markersize=5, label="all samples, mean")
    if split(calibration.seeds)[1]:
        style = {"color": HELD, "markersize": 6, "markerfacecolor": "white", "linewidth": 1.1}
        axis.plot(budgets, [p.held_out for p in points], "D--", label="held out, mean", **style)
    _scales(axis, calibration)
    axis.set_ylabel("PSNR against uncached, dB", color=INK)
    place = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.07), "borderaxespad": 0.0}
    axis.legend(**place, ncols=3, columnspacing=1.2, handlelength=1.6, fontsize=8.5, frameon=False, labelcolor=INK)


def _scales(axis: Any, calibration: Calibration) -> None:
    budgets = calibration.budgets
    ticker = need("matplotlib.ticker", "drawing pictures")
    axis.set_xlim(budgets[0] - 0.6, budgets[-1] + 0.6)
    axis.set_xlabel(f"computed steps of {calibration.steps}", color=INK)
    axis.xaxis.set_major_locator(ticker.FixedLocator(budgets[:: -(-len(budgets) // 12)]))
    axis.grid(True, color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=INK)
    above = axis.secondary_xaxis("top")
    shown = budgets[:: -(-len(budgets) // 8)]
    above.set_xticks(shown, [f"{calibration.steps / n:.3g}x" for n in shown])
    above.tick_params(length=0, labelsize=8.5, colors="#666666", pad=1)
    above.spines[:].set_visible(False)


def _plans(axis: Any, calibration: Calibration) -> None:
    """One row per number of computed steps: squares are computed, dots forecast."""
    budgets = calibration.budgets
    for row, n in enumerate(budgets):
        plan = calibration.choices[n].best.candidate.plan
        computed = [step for step, kind in enumerate(plan) if kind == "C"]
        forecast = [step for step, kind in enumerate(plan) if kind != "C"]
        axis.plot(computed, [row] * len(computed), "s", color=BAND, markersize=7, markeredgewidth=0)
        axis.plot(forecast, [row] * len(forecast), ".", color="#BBBBBB", markersize=4)
    axis.set_xlim(-0.7, calibration.steps - 0.3)
    axis.set_ylim(len(budgets) - 0.5, -0.5)
    axis.set_yticks(range(len(budgets)), [f"{n} computed" for n in budgets])
    axis.set_xticks(range(0, calibration.steps, max(calibration.steps // 10, 1)))
    axis.set_xlabel("step", color=INK)
    axis.tick_params(length=0, labelsize=9, colors=INK)
    axis.spines[:].set_visible(False)


def _legend(calibration: Calibration, plans: bool) -> str:
    held = len(split(calibration.seeds)[1])
    guidance = "" if calibration.guidance is None else f"guidance {calibration.guidance:g}, "
    strips = "; squares are computed steps, dots forecasts" if plans else ""
    return f"{guidance}{len(calibration.seeds)} samples, {held} of them held out; along the top, the speedup{strips}"
