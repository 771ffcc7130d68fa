"""What all pictures share: colours, a figure without pyplot, its title, and how it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from padecast.lab._extras import need

# Okabe and Ito's colours, told apart by colour-blind readers, without the yellow of white paper; wine is Tol's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")
INK, FAINT = "#222222", "#E6E6E6"


def figure_of(size: tuple[float, float]) -> Any:
    """Make a figure without pyplot, whose global state and windows a library leaves alone."""
    figure = need("matplotlib.figure", "drawing pictures").Figure(figsize=size, dpi=150)
    need("matplotlib.backends.backend_agg", "drawing pictures").FigureCanvasAgg(figure)
    return figure


def title(figure: Any, text: str) -> None:
    """Write a figure's title at its upper left."""
    width, height = figure.get_size_inches()
    figure.text(0.1 / width, 1 - 0.1 / height, text, ha="left", va="top", fontsize=12, color=INK)


def write(figure: Any, path: Path) -> Path:
    """Write a figure as a PNG, and return its path."""
    figure.savefig(path, facecolor="white", metadata={"Software": "padecast"})
    return path
