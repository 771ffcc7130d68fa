"""Times that are compared with one another: runs made in turn in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from padecast.lab.timing import synchronize


def seconds(run: Callable[[], Any], repeats: int = 1) -> float:
    synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize()
    return (time.perf_counter() - started) / repeats


def alternating(runs: dict[str, Callable[[], Any]], least: float) -> dict[str, float]:
    """Return median seconds of runs made in turn, each long enough to be timed, for so many seconds in all."""
    once = {name: (run(), seconds(run))[1] for name, run in runs.items()}
    inner = {name: max(1, int(2e-3 / once[name])) for name in runs}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    stop = time.perf_counter() + least
    while len(next(iter(taken.values()))) < 7 or time.perf_counter() < stop:
        for name, run in runs.items():
            taken[name].append(seconds(run, inner[name]))
    return {name: median(values) for name, values in taken.items()}
