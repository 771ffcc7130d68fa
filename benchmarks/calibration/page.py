"""docs/experiments.md, docs/images/predicted-measured.png and a table of docs/calibrating.md, from result files.

python -m benchmarks.calibration.page          # writes all
python -m benchmarks.calibration.page --check  # fails if a page is not what calibrated-*.json and price-*.json say
"""

from __future__ import annotations

import argparse
from io import BytesIO
from statistics import fmean

import numpy as np

from benchmarks.common import DOCS, SETTINGS, Document, align, insert, publish, read, render, table
from padecast import files

ROOM = 2.2
"""Decibels between two numbers in the picture; one with less room is left out, as its neighbours tell it."""
PICTURE = DOCS / "images" / "predicted-measured.png"
PLAIN = ("reuse", "lagrange", "taylor:order=1", "chebyshev:blend=0.5", "pade", "tcpade")
"""Forecasters that are not calibrated."""


def measure_psnr(document: Document, name: str, nfe: int = 8, key: str = "mean") -> float:
    """Return the PSNR of one row."""
    (row,) = (row for row in document["results"] if row["name"] == name and row["wanted"] == nfe)
    return float(row["psnr"][key])


def find_best(document: Document, nfe: int) -> float:
    """Return the PSNR of the best uncalibrated forecaster on a calibrated plan."""
    return max(measure_psnr(document, f"{name} on our plan", nfe) for name in PLAIN)


def compare(curve: Document) -> dict[str, Document]:
    """Return predicted and measured PSNR over all budgets of a setting, and how they agree."""
    settings = {}
    for setting in SETTINGS:
        points = curve[setting]["predicted"]
        predicted = np.array([points[n]["psnr"] for n in points])
        measured = np.array([measure_psnr(curve[setting], f"calibrated:{n}", int(n)) for n in points])
        ranks = [np.argsort(np.argsort(values)) for values in (predicted, measured)]
        settings[setting] = {
            "budgets": list(points),
            "predicted": predicted,
            "measured": measured,
            "rank": float(np.corrcoef(*ranks)[0, 1]),
            "below": float(np.mean(predicted - measured)),
            "worst": float(np.max(np.abs(measured - predicted))),
        }
    return settings


def draw(settings: dict[str, Document]) -> bytes:
    """Return the picture of predicted and measured PSNR."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 5.2))
    styles = {"hard": ("#0072B2", "o", (-14, 6)), "easy": ("#D55E00", "s", (7, -11))}
    occupied: list[tuple[float, float]] = []
    for setting, points in settings.items():
        colour, marker, beside = styles[setting]
        x, y = points["predicted"], points["measured"]
        label = f"{setting} (rank correlation {points['rank']:.3f})"
        axis.scatter(x, y, c=colour, marker=marker, label=label, zorder=3)
        for n, a, b in zip(points["budgets"], x, y, strict=True):
            place = a + beside[0] / 14, b + beside[1] / 14
            if all(abs(place[0] - left) + abs(place[1] - low) > ROOM for left, low in occupied):
                occupied.append(place)
                axis.annotate(n, (a, b), textcoords="offset points", xytext=beside, fontsize=9, color=colour)
    low, high = axis.get_xlim()
    axis.plot([low, high], [low, high], color="#7F7F7F", linewidth=1, zorder=1, label="equal")
    axis.set(
        xlabel="predicted: mean PSNR on 48 calibration samples, dB",
        ylabel="measured: mean PSNR on 64 test samples, dB",
        title="Digits, 20 steps: budgets of 5 to 14 computed steps",
    )
    axis.legend(frameon=False)
    axis.grid(color="#E6E6E6")
    axis.spines[["top", "right"]].set_visible(False)
    with BytesIO() as picture:
        figure.savefig(picture, format="png", dpi=120, bbox_inches="tight")
        return picture.getvalue()


def list_prices(document: Document) -> str:
    """Write the table of what calibrations take, and what they are worth."""
    rows = document["rows"]
    budgets = list(next(iter(rows.values()))[0]["psnr"])
    words = [
        f"PSNR in dB on {document['seeds']} seeds that no calibration has seen, mean / 5th percentile over samples, of",
        f"`{document['world']}` in {document['steps']} steps; averaged over calibrations on so many sets of samples.",
        "Price: images' worth of steps that were taken, of those announced.",
    ]
    lines = [
        [
            name,
            str(len(draws)) if draws[0]["price"] else "",
            f"{fmean(row['spent'] for row in draws):.1f} of {draws[0]['price']:.1f}" if draws[0]["price"] else "0",
            *(
                " / ".join(f"{fmean(row['psnr'][n][key] for row in draws):.1f}" for key in ("mean", "p5"))
                for n in budgets
            ),
        ]
        for name, draws in rows.items()
    ]
    head = ["calibration", "sets", "price", *(f"{n} computed" for n in budgets)]
    return "\n".join([*words, "", table(head, lines, align(len(head) - 1)), ""])


def main() -> None:
    """Write or check the pages; draw the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    check = parser.parse_args().check
    curve = read("calibrated-curve.json")
    settings = compare(curve)
    text = render(
        "calibration/page.md.jinja",
        **{part: read(f"calibrated-{part}.json") for part in ("transfer", "fifty", "samples", "planning")},
        curve=curve,
        settings=settings,
        psnr=measure_psnr,
        best=find_best,
    )
    prices = insert(
        DOCS / "calibrating.md", "benchmarks/calibration/page.py", list_prices(read("price-digits-matched.json"))
    )
    publish({DOCS / "experiments.md": text, DOCS / "calibrating.md": prices}, check=check)
    if not check:
        files.write(PICTURE, draw(settings))


if __name__ == "__main__":
    main()
