"""Pictures of a comparison: images row by row, plans, and the error after every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from padecast.lab._canvas import FAINT, INK, Place, figure_of, styles_of, write
from padecast.lab._canvas import label as as_text
from padecast.lab._canvas import title as write_title
from padecast.lab._extras import need
from padecast.lab.results import Comparison, Result
from padecast.lab.solvers import is_fewer

TILE, RIGHT, TOP = 0.62, 2.2, 0.62  # inches: a sample, and the margins of a grid
SHARES = {"C": 1.0, "c": 0.5}
Styles = dict[str, tuple[str, str]]
"""Colour and marker of every method."""


def check_installed() -> None:
    """Raise now, before anything has run, if pictures cannot be drawn.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    need("matplotlib", "drawing pictures")


def grid(comparison: Comparison, path: Place, *, columns: int = 12, differences: float = 0.0, title: str = "") -> Place:
    """Draw the samples of every method in a row of its own, under the uncached ones.

    Args:
        comparison: With images.
        path: Where to write the PNG.
        columns: Samples shown at most. Default 12.
        differences: Where it is not 0, under every row its difference from the uncached one, so many times as large
            around grey.
        title: Of the picture.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    rows = list(_rows(comparison, columns, differences))
    high, wide = _strip(rows[0][0]).shape[:2]
    count = len(rows[0][0])
    row, gap = TILE * count * high / wide, 0.05
    left = max(_room(comparison.results), 0.35 + 0.078 * len(f"difference x {differences:g}") if differences else 0)
    width, height = left + TILE * count + RIGHT, TOP + (row + gap) * len(rows)
    figure = figure_of((width, height))
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=left / width, right=1 - RIGHT / width, top=1 - TOP / height, bottom=gap / height, hspace=gap / row
    )
    for axis, (images, name, measured) in zip(axes, rows, strict=True):
        axis.imshow(_strip(images), cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axis.set_axis_off()
        _beside(axis, name, (0, 0.5), -6, fontsize=10)
        _beside(axis, measured, (1, 0.5), 6, fontsize=9, family="monospace")
    _beside(axes[0], " NFE   PSNR   worst", (1, 1.2), 6, fontsize=9, family="monospace")
    write_title(figure, title or str(comparison.settings.get("name", "")))
    return write(figure, path)


def steps(comparisons: Sequence[Comparison], path: Place, *, title: str = "", named: Sequence[str] = ()) -> Place:
    """Draw which steps every method computed, and under it the error of the latents after each, one column a task.

    Args:
        comparisons: One per task, with the same methods in the same order.
        path: Where to write the PNG.
        title: Of the picture.
        named: Methods in the order in which they are given colours, so that several pictures agree; its own by default.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    shown = [[r for r in c.results if r.name != "uncached"] for c in comparisons]
    rows = max(map(len, shown))
    left = max(_room(results) for results in shown)
    plans, width, height = 0.27 * rows, left + 5.2 * len(comparisons), 0.27 * rows + 4.8
    figure = figure_of((width, height))
    ratios = {"height_ratios": [plans, 3.3]}
    panels = figure.subplots(2, len(comparisons), squeeze=False, sharex="col", gridspec_kw=ratios)
    figure.subplots_adjust(
        left=left / width, right=1 - 0.15 / width, bottom=0.55 / height, top=1 - 0.95 / height, hspace=0.07, wspace=0.07
    )
    for column, (comparison, results) in enumerate(zip(comparisons, shown, strict=True)):
        styles = styles_of([*named, *(result.name for result in results)])
        _plans(panels[0, column], results, styles, named=column == 0)
        _errors(panels[1, column], results, styles, int(comparison.settings["steps"]))
        panels[0, column].set_title(as_text(comparison.settings.get("name", "")), fontsize=11, color=INK)
    panels[1, 0].set_ylabel("error of the latents, relative to uncached", color=INK)
    _same_scale(panels[1])
    write_title(figure, title or "Which steps are computed, and the error that the forecasts leave")
    legend = "above: marks are computed steps (faint: in some batches only), dots are forecasts"
    figure.text(0.1 / width, 1 - 0.36 / height, legend, fontsize=9, color="#666666", va="top")
    return write(figure, path)


def label(result: Result) -> str:
    """The name of a row; the number of steps a method was tuned to is in the columns."""
    steps = result.written.removeprefix(f"{result.name},")
    return as_text(f"{result.name} ({steps})" if is_fewer(result.name) else result.name)


def _room(results: Sequence[Result]) -> float:
    """Inches that the names of the rows take."""
    return max(1.1, 0.35 + 0.078 * max(len(label(result)) for result in results))


def _beside(axis: Any, text: str, at: tuple[float, float], points: int, **style: Any) -> None:
    """Write beside an axis, so many points away."""
    align = "left" if points > 0 else "right"
    offset = {"xytext": (points, 0), "textcoords": "offset points", "xycoords": "axes fraction"}
    axis.annotate(text, at, **offset, ha=align, va="center", color=INK, annotation_clip=False, **style)


def _rows(comparison: Comparison, columns: int, differences: float) -> Iterator[tuple[Tensor, str, str]]:
    """Images, what they are, and what was measured, row by row."""
    reference = comparison.images[0][:columns]
    for place, (images, result) in enumerate(zip(comparison.images, comparison.results, strict=True)):
        shown = images[:columns]
        yield shown, label(result), _figures_of(result)
        if place and differences:
            away = (shown.nan_to_num(0.0).float() - reference.float()) * differences / 2 + 0.5
            yield away, f"difference x {differences:g}", ""


def _plans(axis: Any, results: Sequence[Result], styles: Styles, *, named: bool) -> None:
    """Squares for computed steps, as dark as the share of batches that computed them; dots for forecasts."""
    for row, result in enumerate(results):
        colour, marker = styles[result.name]
        if is_fewer(result.name):
            axis.plot(0, row, marker, color=colour, markersize=4.5)
            axis.text(0.4, row, "other steps: only its last error is below", va="center", fontsize=8.5, color="#666666")
            continue
        for step in range(len(result.plans[0])):
            share = sum(SHARES.get(plan[step : step + 1], 0.0) for plan in result.plans) / len(result.plans)
            if share:
                axis.plot(step, row, marker, color=colour, alpha=share, markersize=7, markeredgewidth=0)
            else:
                axis.plot(step, row, ".", color="#BBBBBB", markersize=4)
    axis.set_ylim(len(results) - 0.4, -0.6)
    axis.set_yticks(range(len(results)), [label(r) for r in results] if named else [])
    axis.tick_params(length=0, labelsize=9, colors=INK)
    axis.spines[:].set_visible(False)


def _errors(axis: Any, results: Sequence[Result], styles: Styles, total: int) -> None:
    for result in results:
        colour, marker = styles[result.name]
        values = [(step, error) for step, error in enumerate(result.errors, total - len(result.errors)) if error > 0]
        if not values:
            continue
        axis.plot(*zip(*values, strict=True), color=colour, marker=marker, markersize=4.5, linewidth=1.3)
    axis.set_yscale("log")
    axis.set_xlabel("step", color=INK)
    axis.set_xlim(-0.7, total - 0.3)
    axis.set_xticks(range(0, total, max(total // 10, 1)))
    axis.grid(True, axis="y", color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=INK)


def _same_scale(axes: Sequence[Any]) -> None:
    ticker = need("matplotlib.ticker", "drawing pictures")
    limits = [axis.get_ylim() for axis in axes]
    low, high = max(min(low for low, _ in limits), 1e-6), max(high for _, high in limits)
    for place, axis in enumerate(axes):
        axis.set_ylim(low, high)
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if high < 3e3 * low else (1.0,)))
        axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axis.yaxis.set_minor_locator(ticker.NullLocator())
        axis.tick_params(labelleft=place == 0)


def _figures_of(result: Result) -> str:
    if result.name == "uncached":
        return f"{result.nfe:4.1f}      reference"
    return f"{result.nfe:4.1f}   {result.psnr.mean:4.1f}   {result.psnr.worst:4.1f} dB"


def _strip(images: Tensor) -> Any:
    """Images ``(B, C, H, W)`` side by side with a gap of a sixteenth, ``(H, W, C)`` or grey ``(H, W)``."""
    if images.ndim == 5:
        images = images[:, images.shape[1] // 2]
    images = images.detach().float().cpu().nan_to_num(0.0).clamp(0, 1)
    gap = max(images.shape[-1] // 16, 1)
    padded = torch.nn.functional.pad(images, (0, gap, 0, 0), value=1.0)
    strip = torch.cat(list(padded), dim=-1)[..., :-gap]
    return strip[0].numpy() if strip.shape[0] == 1 else strip[:3].permute(1, 2, 0).numpy()
