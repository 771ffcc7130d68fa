"""Search for the schedule and guidance at which a demo world is like real models: results/world-matches.json.

    python -m benchmarks.worlds.matched            # all three models: about half an hour on two cores
    python -m benchmarks.worlds.matched digits     # one, the others stay as they are

Every pair of a grid is measured: plain fewer steps at half the steps, and at 10 of 20 on a plan that is dense at the
start repetition and a line. The pair that meets the most lines of real models is the one; of several, that at which
half the steps lose the most. Development seeds; the settings that ship are in padecast/zoo/worlds.py.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from benchmarks.common import RESULTS, Document, progress, provenance, read, write
from benchmarks.worlds.runs import PLANS, STEPS, figures, load, run
from padecast import zoo
from padecast.forecasters import Lagrange, Reuse
from padecast.policies import Plan
from padecast.zoo.worlds import WORLDS, World, enter

FILE = "world-matches.json"
SHIFTS = (0.05, 0.1, 0.2, 0.25, 1.0, 3.0)
GUIDANCES = {"digits": (3.0, 5.0, 9.0), "scenes": (3.0, 5.0, 7.0), "motion": (3.0, 5.0, 7.0)}
COUNTS = {"digits": 6, "scenes": 3, "motion": 2}
FIRST = 530_000
HALF, ABOVE, GAIN = 20.0, 4.0, (0.5, 3.0)
"""Decibels: fewer steps are below, repetition is above them by, and a line adds to it from and to."""


def measure(model: str, shift: float, guidance: float) -> Document:
    """Return a row of the grid."""
    pipe = enter(zoo.load(model), World(model, shift, guidance))
    _, draw = load(model, pipe=pipe, seeds=range(FIRST, FIRST + COUNTS[model]))
    uncached, plan = draw(), Plan.at(PLANS[STEPS // 2], STEPS)
    fewer = figures(draw(STEPS // 2), uncached)["mean"]
    repetition, line = (
        figures(run(pipe, draw, plan, forecaster)[0], uncached)["mean"] for forecaster in (Reuse(), Lagrange())
    )
    row = {"model": model, "shift": shift, "guidance": guidance, "fewer": fewer}
    row |= {"repetition": round(repetition - fewer, 2), "line": round(line - repetition, 2)}
    return row | {"met": list_met(row)}


def list_met(row: Document) -> list[str]:
    """Return which lines of real models a row of the grid meets."""
    met = {
        "fewer": row["fewer"] < HALF,
        "repetition": row["repetition"] >= ABOVE,
        "line": GAIN[0] <= row["line"] <= GAIN[1],
    }
    return [name for name, is_met in met.items() if is_met]


def best(rows: list[Document]) -> Document:
    """Return the row that meets the most lines; of several, that of the lowest PSNR at half the steps."""
    return max(rows, key=lambda row: (len(row["met"]), -row["fewer"]))


def main() -> None:
    """Measure the grid of the models asked for, and keep what is there of the others."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", choices=[[], *COUNTS], default=[])
    models = parser.parse_args().models or [*COUNTS]
    document = read(FILE) if (RESULTS / FILE).is_file() else {"rows": []}
    rows = [row for row in document["rows"] if row["model"] not in models]
    pairs = [(model, shift, guidance) for model in models for guidance in GUIDANCES[model] for shift in SHIFTS]
    with progress(len(pairs), "grid") as tell:
        for model, shift, guidance in pairs:
            rows.append(measure(model, shift, guidance))
            tell(f"{model}, shift {shift:g}, guidance {guidance:g}: {rows[-1]['fewer']:.1f} dB at half the steps")
    rows.sort(key=lambda row: [*COUNTS].index(row["model"]))
    shipped = {world.model: asdict(world) for name, world in WORLDS.items() if name.endswith(":matched")}
    matches = {model: best([row for row in rows if row["model"] == model]) for model in {row["model"] for row in rows}}
    settings = {"counts": COUNTS, "first": FIRST, "half": HALF, "above": ABOVE, "gain": GAIN, "shipped": shipped}
    write(
        FILE,
        {
            "kind": "padecast demo worlds: the search of matched settings",
            "provenance": provenance(),
            "settings": settings,
            "best": matches,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
