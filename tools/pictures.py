"""Draws docs/images/how-it-works.svg: from the hook to the forecast, and which steps are computed.

python tools/pictures.py             # write it
python tools/pictures.py --check     # say whether it is as it would be drawn

The plan and the curve under it are computed: those of `tc-pade` with 8 of 20 steps, for latents as large as those of
FLUX.1-dev at 1024 x 1024 pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from padecast._noise import Noise  # noqa: E402
from padecast._steps import Position  # noqa: E402
from padecast.policies import Spaced  # noqa: E402
from padecast.policies.spaced import choose_steps  # noqa: E402
from padecast.zoo.worlds import FLUX_SHIFT  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "how-it-works.svg"
STEPS, COMPUTED, SIZE = 20, 8, 128 * 128 * 16
WIDE, HIGH = 960, 580
INK, QUIET, LINE = "#222222", "#666666", "#999999"
DARK, LIGHT, PAPER, WARM = "#1b7f79", "#cfe8e5", "#ffffff", "#d55e00"


def noise() -> Noise:
    """Return the noise levels of FLUX.1-dev at 1024 x 1024 pixels."""
    plain = [1 - step / STEPS for step in range(STEPS + 1)]
    sigmas = tuple(FLUX_SHIFT * s / (1 + (FLUX_SHIFT - 1) * s) for s in plain)
    return Noise(tuple(1 - s for s in sigmas), sigmas, SIZE)


def places() -> tuple[float, ...]:
    """Return where every step lies between noise (1) and image (0), as the rule sees it."""
    at = Position(0, STEPS, 0.0, noise=noise())
    return Spaced(every=(STEPS - 1) / (COMPUTED - 1)).places(at, 0, COMPUTED)


def plan() -> str:
    """Return which steps the rule computes."""
    computed = choose_steps(places()[:-1], COMPUTED)
    return "".join("C" if step in computed else "." for step in range(STEPS))


# Elements -------------------------------------------------------------------------------------------------------------


def write(
    x: float, y: float, text: str, *, size: int = 14, fill: str = INK, at: str = "middle", bold: bool = False
) -> str:
    """Write a line of text."""
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{at}"{weight}>{escape(text)}</text>'
    )


def box(
    x: float, y: float, wide: float, high: float, *, fill: str = PAPER, edge: str = LINE, dash: bool = False
) -> str:
    """Draw a rectangle."""
    dashes = ' stroke-dasharray="4 3"' if dash else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="4" fill="{fill}" stroke="{edge}"{dashes}/>'
    )


def label(x: float, y: float, wide: float, text: str, *, fill: str = PAPER, ink: str = INK, dash: bool = False) -> str:
    """Draw a box with a word in it."""
    return box(x, y, wide, 34, fill=fill, dash=dash) + write(x + wide / 2, y + 22, text, fill=ink)


def arrow(*points: tuple[float, float], stroke: str = QUIET) -> str:
    """Draw a line with a head."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.5" marker-end="url(#head)"/>'


# Parts ----------------------------------------------------------------------------------------------------------------


def draw_run() -> Iterator[str]:
    """Draw the plan of a run, and under it how much of the way from noise to image is left."""
    left, side, top = 60, 42, 62
    yield write(left, 28, "One run: 20 steps, 8 computed", at="start", size=17, bold=True)
    yield write(left, 49, "dark: computed; light: forecast", at="start", fill=QUIET)
    for step, letter in enumerate(plan()):
        x = left + step * side
        yield box(x, top, side - 6, side - 6, fill=DARK if letter == "C" else LIGHT, edge=DARK)
        yield write(x + (side - 6) / 2, top + 24, str(step), fill=PAPER if letter == "C" else DARK, size=13)
    low, high = top + 142, top + 52
    points = [(left + (side - 6) / 2 + step * side, low - (low - high) * p) for step, p in enumerate(places()[:-1])]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{line}" fill="none" stroke="{WARM}" stroke-width="2"/>'
    for (x, y), letter in zip(points, plan(), strict=True):
        fill = WARM if letter == "C" else PAPER
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{WARM}" stroke-width="1.5"/>'
    yield write(left - 8, high + 5, "noise", at="end", fill=WARM, size=13)
    yield write(left - 8, low + 5, "image", at="end", fill=WARM, size=13)
    yield write(
        900, high + 5, "how much noise there is to see: computed steps divide its height evenly", at="end", fill=WARM
    )


def draw_computed() -> Iterator[str]:
    """Draw a computed step."""
    x, y = 60, 262
    yield write(x, y, "A computed step", at="start", size=17, bold=True)
    yield label(x, y + 20, 170, "latents")
    yield arrow((x + 85, y + 54), (x + 85, y + 78))
    yield label(x, y + 80, 170, "hook", fill=LIGHT)
    yield arrow((x + 85, y + 114), (x + 85, y + 138))
    yield box(x, y + 140, 170, 78, fill=DARK, edge=DARK)
    yield write(x + 85, y + 175, "the model runs,", fill=PAPER)
    yield write(x + 85, y + 195, "all its blocks", fill=PAPER)
    yield arrow((x + 85, y + 218), (x + 85, y + 258))
    yield label(x, y + 260, 170, "output, to the sampler")
    yield arrow((x + 170, y + 179), (x + 235, y + 179), (x + 235, y + 75), (x + 268, y + 75))
    yield write(x + 219, y + 199, "what it added", fill=QUIET, size=12)
    yield write(x + 219, y + 215, "is remembered", fill=QUIET, size=12)


def draw_memory() -> Iterator[str]:
    """Draw what is remembered, how it lies to one another, and the weights that come of it."""
    x, y = 330, 262
    yield write(x + 150, y, "Memory", size=17, bold=True)
    yield box(x, y + 20, 300, 274, fill="#f7f7f7")
    yield write(x + 150, y + 46, "residuals, newest first", fill=QUIET, size=13)
    for place in range(3):
        yield label(x + 26 + 86 * place, y + 56, 76, f"R{'₁₂₃'[place]}", fill=DARK, ink=PAPER)
    yield arrow((x + 90, y + 90), (x + 90, y + 116))
    for row in range(3):
        for column in range(3):
            shade = ("#1b7f79", "#5aa6a1", "#9accc8")[abs(row - column)]
            yield box(x + 54 + 24 * column, y + 118 + 24 * row, 22, 22, fill=shade, edge=PAPER)
    yield write(x + 142, y + 140, "Gram matrix:", at="start", size=13)
    yield write(x + 142, y + 158, "how alike they are", at="start", fill=QUIET, size=13)
    yield write(x + 142, y + 176, "⟨Rⱼ, Rₖ⟩", at="start", fill=QUIET, size=13)
    yield arrow((x + 90, y + 192), (x + 90, y + 218))
    yield label(x + 26, y + 220, 248, "forecaster: weights w₁ w₂ w₃", fill=LIGHT)
    yield write(x + 150, y + 276, "from the matrix, and from when they were", fill=QUIET, size=13)


def draw_forecast() -> Iterator[str]:
    """Draw a forecast step."""
    x, y = 730, 262
    yield write(x, y, "A forecast step", at="start", size=17, bold=True)
    yield label(x, y + 20, 170, "latents")
    yield arrow((x + 85, y + 54), (x + 85, y + 78))
    yield label(x, y + 80, 170, "hook", fill=LIGHT)
    yield arrow((x + 85, y + 114), (x + 85, y + 138))
    yield box(x, y + 140, 170, 78, fill=LIGHT, edge=DARK)
    yield write(x + 85, y + 170, "w₁R₁ + w₂R₂ + w₃R₃", fill=DARK)
    yield write(x + 85, y + 198, "the model does not run", fill=QUIET, size=13)
    yield arrow((x + 85, y + 218), (x + 85, y + 258))
    yield label(x, y + 260, 170, "output, to the sampler")
    yield arrow((x - 126, y + 237), (x - 60, y + 237), (x - 60, y + 179), (x - 2, y + 179))


def draw() -> str:
    """Return the picture."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" '
        'font-family="Helvetica, Arial, DejaVu Sans, sans-serif" role="img" aria-labelledby="title">'
        '<title id="title">From the hook to the forecast</title>'
        '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{QUIET}"/></marker></defs>'
    )
    parts = [box(0, 0, WIDE, HIGH, edge=PAPER), *draw_run(), *draw_computed(), *draw_memory(), *draw_forecast()]
    return "\n".join([head, *parts, "</svg>", ""])


def main() -> int:
    """Write the picture, or check it."""
    picture = draw()
    if "--check" not in sys.argv[1:]:
        PICTURE.write_text(picture, encoding="utf-8")
    elif PICTURE.read_text(encoding="utf-8") != picture:
        print("docs/images/how-it-works.svg is not as it would be drawn.\nDraw it: python tools/pictures.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
