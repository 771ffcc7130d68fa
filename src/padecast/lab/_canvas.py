"""What all pictures share: colours, a figure without pyplot, its title, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from padecast.lab._extras import need

# Okabe and Ito's colours, told apart by colour-blind readers, without the yellow of white paper; wine is Tol's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")
INK, FAINT = "#222222", "#E6E6E6"
DPI = 150
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
    return 0.6 + 0.075 * max(map(len, names), default=0)


def title(figure: Any, text: str) -> None:
    """Write a figure's title at its upper left."""
    width, height = figure.get_size_inches()
    figure.text(0.1 / width, 1 - 0.1 / height, text, ha="left", va="top", fontsize=12, color=INK)


def write(figure: Any, path: Place) -> Place:
    """Write a figure as a PNG, and return where."""
    figure.savefig(path, format="png", facecolor="white", metadata={"Software": "padecast"})
    return path


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


def plain(axis: Any, across: str, up: str) -> None:
    """Give an axis its labels, a faint grid, and no frame at its top and right."""
    axis.set_xlabel(across, color=INK)
    axis.set_ylabel(up, color=INK)
    axis.grid(True, color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=INK)
