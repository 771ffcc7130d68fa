"""Calibrated plans on the demo model, on 64 seeds that no calibration has seen.

    python -m benchmarks.calibration.measure   # every part in turn; --part PART for one

Parts, each written to benchmarks/results/calibrated-PART.json:

curve      the shipped calibrations at all budgets, and their plans of 6, 8 and 10 steps under other forecasters
samples    8 computed steps, calibrated on 8 and on 16 samples, and on three sets of 16
transfer   calibrations used at another guidance, another shift, and on classes that they have not seen
fifty      50 steps, 10 and 14 of them computed, against Spectrum
planning   time to plan every budget of 50 steps, and what collecting costs over an uncached run

benchmarks.calibration.page writes docs/experiments.md from them.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.calibration.page import PLAIN
from benchmarks.common import SETTINGS, TEST, Document, calibrate, even, progress, provenance, task, write
from padecast import calibration, forecasters, lab, policies, zoo
from padecast.calibration.collect import watching
from padecast.forecasters import Refined
from padecast.hooks.quiet import quiet
from padecast.methods import Method

BUDGETS = (6, 8, 10)
LIGHT = calibration.Effort(scouts=4, finalists=4, refined=1)
FEW = tuple(range(31_000, 31_016))
SETS = ((31_000, 8), (31_000, 16), (32_000, 16), (33_000, 16))
"""First seed and number of samples."""


def measure_curve() -> Document:
    """Measure the shipped calibrations, and what is the plan's and what the weights' part."""
    document = {}
    for setting in SETTINGS:
        work, shipped = task(setting), zoo.calibration("digits", setting)
        entries = [lab.Entry.of(shipped.method(computed=n), wanted=n) for n in shipped.budgets]
        entries += [lab.Entry.of(other, wanted=n) for n in BUDGETS for other in _on_plan(shipped, n)]
        predicted = {point.computed: dataclasses.asdict(point) for point in shipped.curve()}
        document[setting] = {**_measure(work, entries, setting), "predicted": predicted}
    return document


def measure_samples(settings: Sequence[str]) -> Document:
    """Calibrate on few samples and on other ones."""
    document = {}
    for setting in settings:
        entries = []
        for first, count in SETS:
            calibrated = calibrate(task(setting, seeds=tuple(range(first, first + count))), [8], LIGHT)
            entries.append(_entry(f"{count} samples from {first}", calibrated, 8))
        shipped = zoo.calibration("digits", setting)
        entries.append(_entry(f"shipped, {len(shipped.seeds)} samples", shipped, 8))
        document[setting] = _measure(task(setting), entries, setting)
    return document


def measure_transfer() -> Document:
    """Use calibrations in runs that they were not made for, next to those that were, and to none."""
    easy, hard = (zoo.calibration("digits", setting) for setting in ("easy", "hard"))
    document = {}
    for guidance, shift in ((3.0, 1.0), (5.0, 1.0), (3.0, 3.0), (5.0, 3.0)):
        name = f"guidance {guidance:g}, shift {shift:g}"
        work = dataclasses.replace(task("easy"), call=lab.Sampling(guidance=guidance, shift=shift), name=name)
        entries = [_entry("easy calibration (guidance 3, shift 1)", easy, 8)]
        entries.append(_entry("hard calibration (guidance 5, shift 3)", hard, 8))
        document[name] = _measure(work, [*entries, even(3, 8)], name)
    low, high = (lab.Sampling(guidance=3.0, shift=1.0, classes=tuple(range(a, a + 5))) for a in (0, 5))
    half = dataclasses.replace(task("easy"), call=high, name="classes 5 to 9")
    entries = []
    for name, seen in (("made on classes 0 to 4", low), ("made on classes 5 to 9", high)):
        calibrated = calibrate(dataclasses.replace(half, call=seen, seeds=FEW), [8], LIGHT)
        entries.append(_entry(f"{name}, 16 samples", calibrated, 8))
    document["classes 5 to 9"] = _measure(half, [*entries, even(3, 8)], "classes")
    return document


def measure_fifty(settings: Sequence[str]) -> Document:
    """Compare at 50 steps, Spectrum's setting."""
    document = {}
    for setting in settings:
        work = task(setting, steps=50)
        calibrated = calibrate(dataclasses.replace(work, seeds=FEW), [10, 14], LIGHT)
        entries = [lab.Entry.fewer(n, wanted=n) for n in (10, 14)]
        entries += [_entry("calibrated", calibrated, n) for n in (10, 14)]
        pairs = (("spectrum-fast", 10), ("spectrum", 14), ("taylorseer:warmup=1,every=4", 14))
        entries += [*(lab.Entry.of(name, wanted=n) for name, n in pairs), even(4, 14, "tc-pade")]
        for n in (10, 14):
            plan = policies.Plan(calibrated.choices[n].best.candidate.plan)
            for written in ("chebyshev:blend=0.5", "tcpade"):
                part = forecasters.REGISTRY.make(written)
                entries.append(lab.Entry.of(Method(f"{written} on our plan", plan, part, "our plan"), wanted=n))
        document[setting] = {**_measure(work, entries, setting), "calibration": str(calibrated)}
    return document


def measure_planning() -> Document:
    """Time the planner, and collection against uncached runs in turn."""
    grid = np.linspace(0, 3, 50)
    rows = np.stack([np.ones(50), grid, np.sin(grid), np.cos(2 * grid), grid**2, 0.1 * np.sin(5 * grid)], axis=1)
    gram = rows @ rows.T + 1e-4 * np.eye(50)
    wiener, plain, seconds = forecasters.Wiener, calibration.Objective(coherent=0.0), {}
    for name, plan, objective in (
        ("J0", calibration.propose, plain),
        ("half J0, half J1, feedback 1", calibration.propose, calibration.Objective(wiener(feedback=1.0))),
        ("path, feedback 0.5", calibration.propose, calibration.Objective(wiener(feedback=0.5), path=1.0)),
        ("exact J0, window 3", calibration.exact_plans, plain),
    ):
        started = time.perf_counter()
        plan(gram, [0.02] * 50, range(1, 51), objective)
        seconds[name] = time.perf_counter() - started
    return {"planner_seconds_50_steps_all_budgets": seconds, "collection": _measure_overhead(task("hard"))}


def _measure_overhead(work: lab.Task, repeats: int = 7) -> Document:
    seeds, times, sizes = TEST[:16], {"uncached": [], "exact": [], "projected": []}, {}

    def draw(watch: int | None) -> float:
        started = time.perf_counter()
        with quiet(work.pipe):
            if watch is None:
                work.call(work.pipe, seeds, num_inference_steps=20)
            else:
                with watching(work.pipe, size=watch) as keeper:
                    work.call(work.pipe, seeds, num_inference_steps=20)
                keeper.statistic(16)
                sizes[watch] = keeper.bytes
        return time.perf_counter() - started

    draw(None)
    for _ in range(repeats):
        for name, watch in (("uncached", None), ("exact", 0), ("projected", 4093)):
            times[name].append(draw(watch))
    base = median(times["uncached"])
    return {
        "seconds": times,
        "overhead": {name: median(t) / base - 1 for name, t in times.items()},
        "bytes_kept": {"exact": sizes[0], "projected to 4093": sizes[4093]},
        "bound": "steps * (branches + 1) * samples * size * 4 bytes",
    }


def _on_plan(shipped: calibration.Calibration, budget: int) -> list[Method]:
    """Other forecasters on a calibrated plan, the calibrated one without its fitted offsets among them."""
    method = shipped.method(computed=budget)
    parts: dict[str, Any] = {written: forecasters.REGISTRY.make(written) for written in PLAIN}
    if isinstance(method.forecaster, Refined):
        parts["calibrated, before the fit"] = method.forecaster.inner
    return [Method(f"{name} on our plan", method.policy, part, "our plan") for name, part in parts.items()]


def _entry(name: str, shipped: calibration.Calibration, budget: int) -> lab.Entry:
    return lab.Entry.of(dataclasses.replace(shipped.method(computed=budget), name=name), wanted=budget)


def _measure(work: lab.Task, entries: Sequence[lab.Entry], title: str) -> Document:
    with progress(lab.calls(work, len(entries)), title) as tell:
        return lab.measure(work, entries, progress=tell).to_dict()


PARTS: dict[str, Callable[[Sequence[str]], Document]] = {
    "curve": lambda _: measure_curve(),
    "samples": measure_samples,
    "transfer": lambda _: measure_transfer(),
    "fifty": measure_fifty,
    "planning": lambda _: measure_planning(),
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="one part alone")
    parser.add_argument("--setting", choices=tuple(SETTINGS), action="append", help="of samples and fifty, one alone")
    options = parser.parse_args()
    for part in options.part or PARTS:
        document = PARTS[part](options.setting or tuple(SETTINGS))
        write(f"calibrated-{part}.json", {"part": part, **document, "provenance": provenance()})


if __name__ == "__main__":
    main()
