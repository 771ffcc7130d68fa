"""What it takes to plan every budget of a run: results/planning.json, seconds of the processor.

    python -m benchmarks.learning.planning     # 20, 50 and 100 steps, one thread

Plans are those of an analytic lesson of 8 samples. Seconds are the processor's, the least of the searches, and do not
count what other processes take; nothing is remembered from one search to the next.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import argparse
import time
from collections.abc import Sequence

from benchmarks.common import provenance, write
from padecast.lessons import Planner
from padecast.lessons.analytic import make_look
from padecast.lessons.planner import OBJECTIVES

SAMPLES, SIZE = 8, 16_384.0


def measure(steps: int, objective: str, repeats: int) -> float:
    """Return the seconds of the processor that all budgets of a run take."""
    look, seconds = make_look(steps, size=SIZE, samples=SAMPLES), []
    for _ in range(repeats):
        planner = Planner(look.singles, look.noise, objective)
        start = time.process_time()
        planner.plans()
        seconds.append(time.process_time() - start)
    return min(seconds)


def measure_all(lengths: Sequence[int], repeats: int) -> list[dict[str, object]]:
    """Return a row for every length of run and objective."""
    rows = []
    for steps in lengths:
        for objective in OBJECTIVES:
            seconds = round(measure(steps, objective, repeats), 2)
            rows.append({"steps": steps, "objective": objective, "budgets": steps, "seconds": seconds})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, nargs="*", default=[20, 50, 100])
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    rows = measure_all(arguments.steps, arguments.repeats)
    write("planning.json", {"samples": SAMPLES, "load": os.getloadavg()[0], "rows": rows, "provenance": provenance()})


if __name__ == "__main__":
    main()
