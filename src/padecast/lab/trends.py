"""Pictures over what is varied: fidelity over computed steps, and over an option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from math import isfinite
from typing import Any

from padecast.lab._canvas import INK, End, Place, figure_of, label, legend_width, name_ends, plain, styles_of, write
from padecast.lab._canvas import title as write_title
from padecast.lab._extras import need
from padecast.lab.peers import is_foreign
from padecast.lab.results import Result
from padecast.lab.solvers import is_fewer

WIDE, HIGH, LEFT, LINE = 5.2, 4.6, 0.7, 0.19  # inches: the curves, the margin, a line of the legend
MOST, QUIET = 6, "#C4C4C4"
"""Methods that a picture of fidelity names, and the colour of the others."""


def tradeoff(results: Sequence[Result], path: Place, *, title: str = "", named: Sequence[str] = ()) -> Place:
    """Draw mean PSNR over computed steps, a line per method; peers and fewer steps are dashed.

    The best are named at the ends of their lines, see :func:`choose_lines`; the others are grey.

    Args:
        results: Of one task, at several numbers of computed steps.
        path: Where to write the PNG.
        title: Of the picture.
        named: Methods in the order in which they are given colours; by default that of the results.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    names = list(dict.fromkeys(r.name for r in results if r.name != "uncached"))
    styles, shown = styles_of([*named, *names]), choose_lines(results)
    figure, axis = _canvas(shown)
    ends: list[End] = []
    for name in (*(name for name in names if name not in shown), *shown):
        points = sorted((r.nfe, r.psnr.mean) for r in results if r.name == name)
        if name not in shown:
            axis.plot(*zip(*points, strict=True), color=QUIET, linewidth=1, marker=".", markersize=4, zorder=1)
            continue
        colour, marker = (INK, "o") if is_fewer(name) else styles[name]
        foreign = is_fewer(name) or is_foreign(name)
        axis.plot(*zip(*points, strict=True), "--" if foreign else "-", color=colour, marker=marker, **LOOK)
        ends.append(End(points[-1][1], name, colour))
    plain(axis, "computed steps (NFE)", "PSNR against uncached, mean, dB")
    _count_across(axis)
    name_ends(axis, ends)
    rest = len(names) - len(shown)
    write_title(figure, (title or "Fidelity over computed steps") + (f"; grey: {rest} others" if rest else ""))
    return write(figure, path)


def choose_lines(results: Sequence[Result], most: int = MOST) -> list[str]:
    """Return the methods that a picture names: the most faithful of every number of computed steps, and fewer steps.

    Args:
        results: Of one task.
        most: Names without fewer steps. Default 6.

    Returns:
        Names, each once: the first of every number of steps, then the second, and so on; fewer steps last.
    """
    budgets = sorted({r.wanted for r in results}, key=lambda wanted: (wanted is None, wanted or 0))
    ranks = [
        [r.name for r in sorted(results, key=lambda r: -r.psnr.mean) if r.wanted == wanted and _competes(r.name)]
        for wanted in budgets
    ]
    best: dict[str, None] = dict.fromkeys(name for place in zip_longest(*ranks) for name in place if name is not None)
    return [*list(best)[:most], *dict.fromkeys(r.name for r in results if is_fewer(r.name))]


def _competes(name: str) -> bool:
    return name != "uncached" and not is_fewer(name)


def _count_across(axis: Any) -> None:
    """Put ticks at whole numbers, also where all points stand at one."""
    low, high = axis.get_xlim()
    if high - low < 1:
        axis.set_xlim((low + high) / 2 - 1, (low + high) / 2 + 1)
    axis.xaxis.set_major_locator(need("matplotlib.ticker", "drawing pictures").MaxNLocator(integer=True))


def sweep(results: Mapping[str, Sequence[tuple[str, Result]]], option: str, path: Place, *, title: str = "") -> Place:
    """Draw mean PSNR over the values of an option, with the computed steps at every point.

    Args:
        results: Per method, values as they were written and what came of them.
        option: Its name.
        path: Where to write the PNG.
        title: Of the picture.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    places, numeric = _places([value for pairs in results.values() for value, _ in pairs])
    figure, axis = _canvas(list(results))
    for name, (colour, marker) in styles_of(list(results)).items():
        points = sorted((places[value], r.psnr.mean, r.nfe) for value, r in results[name])
        look = {**LOOK, "color": colour, "marker": marker, "linestyle": "-" if numeric else "none"}
        axis.plot([p[0] for p in points], [p[1] for p in points], label=label(name), **look)
        for x, y, nfe in points:
            note = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8, "color": colour}
            axis.annotate(f"{nfe:.3g}", (x, y), **note)
    plain(axis, option, "PSNR against uncached, mean, dB")
    if not numeric:
        axis.set_xticks(list(places.values()), [label(value, 20) for value in places])
    axis.margins(0.08, 0.12)
    _legend(axis)
    write_title(figure, title or f"Option {option}: fidelity, and at every point the computed steps")
    return write(figure, path)


LOOK: dict[str, Any] = {"markersize": 5.5, "linewidth": 1.4}


def _canvas(names: Sequence[str]) -> tuple[Any, Any]:
    """A figure with room for a legend of these names at the right."""
    height, width = max(HIGH, 1.1 + LINE * len(names)), LEFT + WIDE + legend_width(names)
    figure = figure_of((width, height))
    return figure, figure.add_axes((LEFT / width, 0.55 / height, WIDE / width, 1 - 1.05 / height))


def _legend(axis: Any) -> None:
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    axis.legend(**place, fontsize=8.5, frameon=False, labelcolor=INK, handlelength=2.4)


def _places(values: Sequence[str]) -> tuple[dict[str, float], bool]:
    """Return where values stand: numbers where they belong, words side by side; and whether they are numbers."""
    with suppress(ValueError):
        numbers = {value: float(value) for value in values}
        if all(map(isfinite, numbers.values())):
            return numbers, True
    return {value: float(place) for place, value in enumerate(dict.fromkeys(values))}, False
