"""What all pictures share: colours, a figure without pyplot, its title, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from padecast import files
from padecast.lab._extras import need

# Okabe and Ito's colours, told apart by colour-blind readers, without the yellow of white paper; wine is Tol's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")
INK, FAINT = "#222222", "#E6E6E6"
DPI, LABEL = 150, 60  # and the characters of a name that are shown
Place = TypeVar("Place", bound=Path | BytesIO)


def figure_of(size: tuple[float, float]) -> Any:
    """Make a figure without pyplot, whose global state and windows a library leaves alone."""
    figure = need("matplotlib.figure", "drawing pictures").Figure(figsize=size, dpi=DPI)
    need("matplotlib.backends.backend_agg", "drawing pictures").FigureCanvasAgg(figure)
    return figure


def legend_width(names: Iterable[str]) -> float:
    """Return how many inches a legend of these names takes, its marks included, in its small print.

    Example:
        >>> round(legend_width(["fora", "tc-pade"]), 3)
        1.125
    """
    return 0.6 + 0.075 * max(map(len, map(label, names)), default=0)


def label(text: object, most: int = LABEL) -> str:
    """Return a name so that a picture shows it as it is written: no formula, on one line, in letters that the font has.

    Args:
        text: A name of a file, of any length and with any characters.
        most: Characters that are shown. Default 60.

    Example:
        >>> print(label("from $5 to $10"), label("two\\nlines"))
        from \\$5 to \\$10 two\\nlines
    """
    shown = "".join(letter if ord(letter) in _letters() else files.escape(letter) for letter in files.line(text, most))
    shown = (shown if len(shown) <= most else f"{shown[: most - 1]}…").replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # a legend leaves out what begins with an underscore


def title(figure: Any, text: str) -> None:
    """Write a figure's title at its upper left."""
    width, height = figure.get_size_inches()
    figure.text(0.1 / width, 1 - 0.1 / height, label(text, 160), ha="left", va="top", fontsize=12, color=INK)


def write(figure: Any, path: Place) -> Place:
    """Write a figure as a PNG, and return where.

    Raises:
        UnwritableFile: If the disk is full, or the file cannot be written for another reason.
    """
    with BytesIO() as picture:
        figure.savefig(picture, format="png", facecolor="white", metadata={"Software": "padecast"})
        if isinstance(path, Path):
            files.write(path, picture.getvalue())
        else:
            path.write(picture.getvalue())
    return path


@cache
def _letters() -> frozenset[int]:
    """Code points of the letters that the font of pictures has."""
    manager = need("matplotlib.font_manager", "drawing pictures")
    return frozenset(manager.get_font(manager.findfont(manager.FontProperties())).get_charmap())


def styles_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give every name a colour and a marker, no two the same, however many pictures they are in.

    Example:
        >>> styles_of(["a", "b", "a"])
        {'a': ('#0072B2', 'o'), 'b': ('#D55E00', 's')}
    """
    count = len(COLOURS)
    return {
        name: (COLOURS[k % count], MARKERS[(k + k // count) % count]) for k, name in enumerate(dict.fromkeys(names))
    }


class End(NamedTuple):
    """The end of a line, which its name stands beside."""

    value: float
    name: str
    colour: str


def name_ends(axis: Any, ends: Sequence[End], *, size: float = 9.0) -> None:
    """Write names right of an axis beside the ends of their lines, apart from one another, in their colours.

    Args:
        axis: Whose lines are drawn already.
        ends: Where they end, at the right.
        size: Of the letters, in points. Default 9.
    """
    low, high = axis.get_ylim()
    room = axis.get_figure().get_size_inches()[1] * axis.get_position().height
    values = [(end.value - low) / (high - low) for end in sorted(ends)]
    for end, place in zip(sorted(ends), spread(values, 1.35 * size / 72 / room), strict=True):
        style = {"fontsize": size, "color": end.colour, "va": "center", "annotation_clip": False}
        axis.annotate(label(end.name), (1.02, place), xycoords="axes fraction", **style)


def spread(values: Sequence[float], apart: float) -> list[float]:
    """Return ascending values moved so far that each is so far from the next, and all about where they were.

    Example:
        >>> [round(value, 2) for value in spread([0.5, 0.5, 0.9], 0.1)]
        [0.45, 0.55, 0.9]
    """
    groups: list[tuple[list[float], float]] = []  # the values of a group, and where its first one stands
    for value in values:
        members, first = [value], value
        while groups and groups[-1][1] + apart * len(groups[-1][0]) > first:
            members = groups.pop()[0] + members
            first = sum(one - apart * place for place, one in enumerate(members)) / len(members)
        groups.append((members, first))
    return [first + apart * place for members, first in groups for place in range(len(members))]


def plain(axis: Any, across: str, up: str) -> None:
    """Give an axis its labels, a faint grid, and no frame at its top and right."""
    axis.set_xlabel(label(across), color=INK)
    axis.set_ylabel(label(up), color=INK)
    axis.grid(True, color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=INK)
