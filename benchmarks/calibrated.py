"""Calibrated plans on the demo model, on 64 seeds that no calibration has seen.

    python benchmarks/calibrated.py            # every part in turn; --part PART for one

Parts, each written to benchmarks/results/calibrated-PART.json:

curve      the shipped calibrations at all budgets, and their plans of 6, 8 and 10 steps under other forecasters
samples    8 computed steps, calibrated on 8 and on 16 samples, and on three sets of 16
transfer   calibrations used at another guidance, another shift, and on classes that they have not seen
fifty      50 steps, 10 and 14 of them computed, against Spectrum
planning   time to plan every budget of 50 steps, and what collecting costs over an uncached run

``benchmarks/calibrated_tables.py`` prints them, and draws predicted over measured PSNR.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from common import SETTINGS, TEST, even, progress, task, write

from padecast import calibrate, calibration, forecasters, lab, policies, zoo
from padecast.calibration.collect import watching
from padecast.calibration.provenance import Provenance
from padecast.forecasters import Refined
from padecast.hooks.quiet import quiet
from padecast.methods import Method

BUDGETS = (6, 8, 10)
ON_PLAN = ("reuse", "lagrange", "taylor:order=1", "chebyshev:blend=0.5", "pade", "tcpade")
LIGHT = calibration.Effort(scouts=4, finalists=4, refined=1)
SETS = {"31000": 31_000, "32000": 32_000, "33000": 33_000}


def curve() -> dict[str, Any]:
    """Measure the shipped calibrations, and what is the plan's and what the weights' part."""
    found = {}
    for setting in SETTINGS:
        work, shipped = task(setting), zoo.calibration("digits", setting)
        entries = [lab.Entry.of(shipped.method(computed=n), wanted=n) for n in shipped.budgets]
        entries += [lab.Entry.of(other, wanted=n) for n in BUDGETS for other in _on_plan(shipped, n)]
        predicted = {point.computed: dataclasses.asdict(point) for point in shipped.curve()}
        found[setting] = {**_measured(work, entries, setting), "predicted": predicted}
    return found


def samples() -> dict[str, Any]:
    """Calibrate on few samples and on other ones."""
    found = {}
    for setting in chosen():
        entries = []
        for name, first in SETS.items():
            for count in (8, 16) if name == "31000" else (16,):
                made = _calibrated(task(setting), [8], range(first, first + count))
                entries.append(_entry(f"{count} samples from {name}", made, 8))
        shipped = zoo.calibration("digits", setting)
        entries.append(_entry(f"shipped, {len(shipped.seeds)} samples", shipped, 8))
        found[setting] = _measured(task(setting), entries, setting)
    return found


def transfer() -> dict[str, Any]:
    """Use calibrations in runs that they were not made for, next to those that were, and to none."""
    easy, hard = (zoo.calibration("digits", setting) for setting in ("easy", "hard"))
    found = {}
    for guidance, shift in ((3.0, 1.0), (5.0, 1.0), (3.0, 3.0), (5.0, 3.0)):
        name = f"guidance {guidance:g}, shift {shift:g}"
        work = dataclasses.replace(task("easy"), call=lab.Sampling(guidance=guidance, shift=shift), name=name)
        entries = [_entry("easy calibration (guidance 3, shift 1)", easy, 8)]
        entries.append(_entry("hard calibration (guidance 5, shift 3)", hard, 8))
        found[name] = _measured(work, [*entries, even(3, 8)], name)
    low, high = (lab.Sampling(guidance=3.0, shift=1.0, classes=tuple(range(a, a + 5))) for a in (0, 5))
    half = dataclasses.replace(task("easy"), call=high, name="classes 5 to 9")
    entries = []
    for name, seen in (("made on classes 0 to 4", low), ("made on classes 5 to 9", high)):
        made = _calibrated(dataclasses.replace(half, call=seen), [8], range(31_000, 31_016))
        entries.append(_entry(f"{name}, 16 samples", made, 8))
    found["classes 5 to 9"] = _measured(half, [*entries, even(3, 8)], "classes")
    return found


def fifty() -> dict[str, Any]:
    """Compare at 50 steps, Spectrum's setting."""
    found = {}
    for setting in chosen():
        work = task(setting, steps=50)
        made = _calibrated(work, [10, 14], range(31_000, 31_016))
        entries = [lab.Entry.fewer(n, wanted=n) for n in (10, 14)]
        entries += [_entry("calibrated", made, n) for n in (10, 14)]
        pairs = (("spectrum-fast", 10), ("spectrum", 14), ("taylorseer:warmup=1,every=4", 14))
        entries += [*(lab.Entry.of(name, wanted=n) for name, n in pairs), even(4, 14, "tc-pade")]
        for n in (10, 14):
            plan = policies.Plan(made.choices[n].best.candidate.plan)
            for written in ("chebyshev:blend=0.5", "tcpade"):
                part = forecasters.REGISTRY.make(written)
                entries.append(lab.Entry.of(Method(f"{written} on our plan", plan, part, "our plan"), wanted=n))
        found[setting] = {**_measured(work, entries, setting), "calibration": str(made)}
    return found


def planning() -> dict[str, Any]:
    """Time the planner, and collection against uncached runs in turn."""
    grid = np.linspace(0, 3, 50)
    rows = np.stack([np.ones(50), grid, np.sin(grid), np.cos(2 * grid), grid**2, 0.1 * np.sin(5 * grid)], axis=1)
    gram = rows @ rows.T + 1e-4 * np.eye(50)
    seconds = {}
    for name, objective in {
        "J0": calibration.Objective(coherent=0.0),
        "half J0, half J1, feedback 1": calibration.Objective(forecasters.Wiener(feedback=1.0)),
        "path, feedback 0.5": calibration.Objective(forecasters.Wiener(feedback=0.5), path=1.0),
    }.items():
        started = time.perf_counter()
        calibration.propose(gram, [0.02] * 50, range(1, 51), objective)
        seconds[name] = time.perf_counter() - started
    started = time.perf_counter()
    calibration.exact_plans(gram, [0.02] * 50, range(1, 51), calibration.Objective(coherent=0.0))
    seconds["exact J0, window 3"] = time.perf_counter() - started
    return {"planner_seconds_50_steps_all_budgets": seconds, "collection": _overhead(task("hard"))}


def chosen() -> tuple[str, ...]:
    """Return the settings that were asked for."""
    return tuple(SETTING) or tuple(SETTINGS)


SETTING: list[str] = []


def _overhead(work: lab.Task, repeats: int = 7) -> dict[str, Any]:
    seeds, times, kept = TEST[:16], {"uncached": [], "exact": [], "projected": []}, {}

    def draw(watch: int | None) -> float:
        started = time.perf_counter()
        with quiet(work.pipe):
            if watch is None:
                work.call(work.pipe, seeds, num_inference_steps=20)
            else:
                with watching(work.pipe, size=watch) as keeper:
                    work.call(work.pipe, seeds, num_inference_steps=20)
                keeper.statistic(16)
                kept[watch] = keeper.bytes
        return time.perf_counter() - started

    draw(None)
    for _ in range(repeats):
        for name, watch in (("uncached", None), ("exact", 0), ("projected", 4093)):
            times[name].append(draw(watch))
    base = median(times["uncached"])
    return {
        "seconds": times,
        "overhead": {name: median(t) / base - 1 for name, t in times.items()},
        "bytes_kept": {"exact": kept[0], "projected to 4093": kept[4093]},
        "bound": "steps * (branches + 1) * samples * size * 4 bytes",
    }


def _on_plan(shipped: calibration.Calibration, budget: int) -> list[Method]:
    """Other forecasters on a calibrated plan, the calibrated one without its fitted offsets among them."""
    own = shipped.method(computed=budget)
    parts: dict[str, Any] = {written: forecasters.REGISTRY.make(written) for written in ON_PLAN}
    if isinstance(own.forecaster, Refined):
        parts["calibrated, before the fit"] = own.forecaster.inner
    return [Method(f"{name} on our plan", own.policy, part, "our plan") for name, part in parts.items()]


def _calibrated(work: lab.Task, budgets: Sequence[int], seeds: Sequence[int]) -> calibration.Calibration:
    units = int(calibration.estimate(work.steps, budgets, len(seeds), branches=2, effort=LIGHT))
    with progress(units, f"calibrating {work.name} on {len(seeds)}") as tell:
        return calibrate(
            work.pipe,
            lambda pipe, drawn: work.call(pipe, drawn, num_inference_steps=work.steps),
            budgets,
            seeds,
            batch=16,
            name=work.name,
            effort=LIGHT,
            progress=lambda what, steps: tell(what, steps),
        )


def _entry(name: str, made: calibration.Calibration, budget: int) -> lab.Entry:
    return lab.Entry.of(dataclasses.replace(made.method(computed=budget), name=name), wanted=budget)


def _measured(work: lab.Task, entries: Sequence[lab.Entry], title: str) -> dict[str, Any]:
    with progress(lab.calls(work, len(entries)), title) as tell:
        return lab.measure(work, entries, progress=tell).to_dict()


PARTS = {"curve": curve, "samples": samples, "transfer": transfer, "fifty": fifty, "planning": planning}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="one part alone")
    parser.add_argument("--setting", choices=tuple(SETTINGS), action="append", help="of samples and fifty, one alone")
    options = parser.parse_args()
    SETTING.extend(options.setting or ())
    for part in options.part or PARTS:
        found = PARTS[part]()
        write(f"calibrated-{part}.json", {"part": part, **found, "provenance": dataclasses.asdict(Provenance.of())})


if __name__ == "__main__":
    main()
