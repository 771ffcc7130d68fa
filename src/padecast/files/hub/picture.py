"""A picture of plans as SVG, which a repository shows and which needs no package: computed steps, and decibels."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

LEFT, MIDDLE, RIGHT, ROW, TOP = 92, 420, 250, 24, 56
"""Pixels: of labels, of steps, of bars; of a row, and above the first."""
BLUE, GREY, INK = "#2563eb", "#c4c4c4", "#333333"


@dataclass(frozen=True)
class Bar:
    """One row of the picture.

    Args:
        plan: A ``C`` for every computed step, a point for every forecast one.
        decibels: How near to uncached images.
    """

    plan: str
    decibels: float


def draw(title: str, note: str, bars: Sequence[Bar]) -> str:
    """Return the picture.

    Args:
        title: Above it.
        note: What decibels are of, below the title.
        bars: Rows, the first on top.

    Example:
        >>> picture = draw("flux", "PSNR, dB", [Bar("C.C.", 40.0)])
        >>> picture.count("<rect"), picture.count("<circle"), "40.0 dB" in picture
        (4, 2, True)
    """
    width, height = LEFT + MIDDLE + RIGHT, TOP + ROW * len(bars) + 12
    most = max((bar.decibels for bar in bars), default=1.0)
    rows = [
        text for place, bar in enumerate(bars) for text in _draw_row(bar, TOP + ROW * (place + 0.5), max(most, 1.0))
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="12" fill="{INK}">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            f'<text x="12" y="22" font-size="15">{html.escape(title)}</text>',
            f'<text x="12" y="41">{html.escape(note)}</text>',
            *rows,
            "</svg>",
            "",
        ]
    )


def _draw_row(bar: Bar, middle: float, most: float) -> list[str]:
    """One plan: how many of how many, squares and dots, a bar."""
    steps, gap = len(bar.plan), MIDDLE / max(len(bar.plan), 1)
    side, begin = min(14.0, 0.75 * gap), LEFT + MIDDLE + 12
    shapes = [_mark(letter, LEFT + gap * (step + 0.5), middle, side) for step, letter in enumerate(bar.plan)]
    length = (RIGHT - 90) * min(max(bar.decibels / most, 0.0), 1.0)
    return [
        f'<text x="12" y="{middle + 4:.1f}">{bar.plan.count("C")} of {steps}</text>',
        *shapes,
        f'<rect x="{begin}" y="{middle - 5:.1f}" width="{length:.1f}" height="10" fill="{BLUE}" opacity="0.35"/>',
        f'<text x="{begin + length + 6:.1f}" y="{middle + 4:.1f}">{bar.decibels:.1f} dB</text>',
    ]


def _mark(letter: str, x: float, y: float, side: float) -> str:
    """A square where a step is computed, else a dot."""
    if letter != "C":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{min(2.5, side / 2):.1f}" fill="{GREY}"/>'
    place = f'x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" height="{side:.1f}"'
    return f'<rect {place} fill="{BLUE}"/>'
