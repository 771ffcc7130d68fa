"""Tables, claims and a picture of calibrated plans, drawn from result files and from nothing else.

    python benchmarks/calibrated_tables.py

reads benchmarks/results/calibrated-*.json, digits-hard.json and digits-easy.json, and writes
docs/images/predicted-measured.png. What is not measured yet is left out.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from padecast import files

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "predicted-measured.png"
PUBLISHED = ("reuse", "taylorseer order 1", "taylorseer order 2", "spectrum")
WANTED = {  # over the best published, over adaptive
    "hard": {6: (4.0, 3.0), 8: (6.0, 3.0), 10: (6.0, 3.0)},
    "easy": {6: (0.0, 3.0), 8: (6.0, 3.0), 10: (6.0, 3.0)},
}
Document = dict[str, Any]


def load(name: str) -> Document | None:
    """Return a result file, if there is one."""
    path = RESULTS / f"{name}.json"
    return files.read_json(path) if path.exists() else None


def row(document: Document, name: str, wanted: int | None = None) -> Document:
    """Return one row of a comparison."""
    (found,) = (r for r in document["results"] if r["name"] == name and r["wanted"] == wanted)
    return found


def best(document: Document, wanted: int, names: tuple[str, ...]) -> Document:
    """Return the best of several rows by mean PSNR."""
    return max((row(document, name, wanted) for name in names), key=lambda r: r["psnr"]["mean"])


def spread(result: Document) -> list[str]:
    """Mean, 5th percentile and worst sample."""
    return [f"{result['psnr'][k]:.1f}" for k in ("mean", "p5", "worst")]


def gains(curve: Document, console: Console) -> None:
    """Calibrated against everything else at the same number of computed steps."""
    for setting, wanted in WANTED.items():
        others, own = load(f"digits-{setting}"), curve[setting]
        assert others is not None
        table = Table(
            "computed", "method", "mean", "5th pct", "worst", "plan", title=f"digits, {setting}, 64 test seeds"
        )
        for n, (published_gain, adaptive_gain) in wanted.items():
            calibrated = row(own, f"calibrated:{n}", n)
            published, adaptive = best(others, n, PUBLISHED), row(others, "adaptive", n)
            unfitted = [r for r in own["results"] if r["wanted"] == n and r["name"].endswith("on our plan")]
            plan = max((r for r in unfitted if "before" not in r["name"]), key=lambda r: r["psnr"]["mean"])
            before = [r for r in unfitted if "before" in r["name"]]
            for name, r in (
                ("fewer-steps", row(others, "fewer-steps", n)),
                (f"best published: {published['name']}", published),
                ("adaptive", adaptive),
                (f"best uncalibrated {plan['name']}", plan),
                *((b["name"], b) for b in before),
                ("calibrated", calibrated),
            ):
                table.add_row(str(n), name, *spread(r), r["plans"][0])
            table.add_section()
            compared = (("best published", published, published_gain), ("adaptive", adaptive, adaptive_gain))
            for what, over, least in compared:
                gain = calibrated["psnr"]["mean"] - over["psnr"]["mean"]
                verdict = "yes" if gain >= least else "NO "
                console.print(f"{verdict} {setting} {n}: {gain:+.2f} dB over {what} (wanted {least:+g})")
            of_plan = plan["psnr"]["mean"] - adaptive["psnr"]["mean"]
            of_weights = calibrated["psnr"]["mean"] - plan["psnr"]["mean"]
            console.print(f"    of which the plan {of_plan:+.2f} (over adaptive), the weights {of_weights:+.2f}")
        console.print(table)


def predicted(curve: Document, console: Console) -> None:
    """Predicted over measured PSNR, with the correlation of ranks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 5.2))
    for setting, colour, marker in (("hard", "#0072B2", "o"), ("easy", "#D55E00", "s")):
        beside = (-14, 5) if setting == "hard" else (6, -8)
        points = curve[setting]["predicted"]
        x = np.array([points[n]["psnr"] for n in points])
        held = np.array([points[n]["held_out"] for n in points])
        y = np.array([row(curve[setting], f"calibrated:{n}", int(n))["psnr"]["mean"] for n in points])
        rank = spearman(x, y)
        console.print(
            f"{setting}: ranks of predicted and measured PSNR over {len(x)} budgets correlate at {rank:.3f}; "
            f"measured - predicted {np.mean(y - x):+.2f} dB on average, worst {np.max(np.abs(y - x)):.2f}; "
            f"against the held-out third {np.mean(y - held):+.2f}"
        )
        axis.scatter(x, y, c=colour, marker=marker, label=f"{setting} (rank correlation {rank:.3f})", zorder=3)
        for n, a, b in zip(points, x, y, strict=True):
            axis.annotate(n, (a, b), textcoords="offset points", xytext=beside, fontsize=8, color=colour)
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
        files.write(PICTURE, picture.getvalue())
    console.print(f"written: {PICTURE.name}")


def spearman(one: np.ndarray, two: np.ndarray) -> float:
    """Correlation of ranks."""
    ranks = [np.argsort(np.argsort(values)) for values in (one, two)]
    return float(np.corrcoef(*ranks)[0, 1])


def plain(document: Document, title: str, console: Console) -> None:
    """Print the rows of every comparison in a document."""
    for name, comparison in document.items():
        if not isinstance(comparison, dict) or "results" not in comparison:
            continue
        table = Table("method", "computed", "mean", "5th pct", "worst", "plan", title=f"{title}: {name}")
        for r in comparison["results"][1:]:
            table.add_row(r["name"], f"{r['nfe']:.2f}", *spread(r), r["plans"][0])
        console.print(table)


def planning(document: Document, console: Console) -> None:
    """Print what planning and collecting cost."""
    for name, seconds in document["planner_seconds_50_steps_all_budgets"].items():
        console.print(f"{'yes' if seconds < 2 else 'NO '} all budgets of 50 steps, {name}: {seconds:.2f} s")
    collection = document["collection"]
    for name in ("exact", "projected"):
        share = collection["overhead"][name]
        console.print(f"{'yes' if share < 0.1 else 'NO '} collection, {name}: {share:+.1%} of the uncached time")
    console.print(f"bytes kept: {collection['bytes_kept']}; bound {collection['bound']}")


def main() -> None:
    """Print everything that there is."""
    console = Console(width=150)
    curve = load("calibrated-curve")
    if curve is not None:
        gains(curve, console)
        predicted(curve, console)
    for part, title in (
        ("samples", "calibration samples"),
        ("transfer", "runs it was not made for"),
        ("fifty", "50 steps"),
    ):
        document = load(f"calibrated-{part}")
        if document is not None:
            plain(document, title, console)
    document = load("ideas-shrink")
    if document is not None:
        for kind in ("own", "flexible"):
            plain({n: document[n][kind] for n in ("hard", "easy") if n in document}, kind, console)
    document = load("ideas-richer")
    if document is not None:
        for r in document["rows"]:
            console.print(
                f"{' + '.join(r['offsets'])} ({r['count']}): {r['gain_fit']:+.2f} fit, {r['gain_judged']:+.2f} judged"
            )
    document = load("calibrated-planning")
    if document is not None:
        planning(document, console)


if __name__ == "__main__":
    main()
