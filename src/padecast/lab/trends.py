"""Pictures over what is varied: fidelity over computed steps, and over an option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any

from padecast.lab._canvas import INK, Place, figure_of, label, legend_width, plain, styles_of, write
from padecast.lab._canvas import title as write_title
from padecast.lab._extras import need
from padecast.lab.peers import is_foreign
from padecast.lab.results import Result
from padecast.lab.solvers import is_fewer

WIDE, HIGH, LEFT, LINE = 5.2, 4.6, 0.7, 0.19  # inches: the curves, the margin, a line of the legend


def tradeoff(results: Sequence[Result], path: Place, *, title: str = "", named: Sequence[str] = ()) -> Place:
    """Draw mean PSNR over computed steps, a line per method; peers and fewer steps are dashed.

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
    styles = styles_of([*named, *names])
    figure, axis = _canvas(names)
    for name in names:
        points = sorted((r.nfe, r.psnr.mean) for r in results if r.name == name)
        colour, marker = styles[name]
        foreign = is_fewer(name) or is_foreign(name)
        look = {**LOOK, "color": colour, "marker": marker, "label": label(name)}
        axis.plot(*zip(*points, strict=True), "--" if foreign else "-", **look)
    plain(axis, "computed steps (NFE)", "PSNR against uncached, mean, dB")
    axis.xaxis.set_major_locator(need("matplotlib.ticker", "drawing pictures").MaxNLocator(integer=True))
    _legend(axis)
    write_title(figure, title or "Fidelity over computed steps")
    return write(figure, path)


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
