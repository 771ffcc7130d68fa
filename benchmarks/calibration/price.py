"""What a calibration of every effort takes, and what it is worth: PSNR on seeds that it has not seen.

    python -m benchmarks.calibration.price                                  # quick and normal, digits:matched
    python -m benchmarks.calibration.price --effort quick --draws 4         # on four sets of samples
    python -m benchmarks.calibration.price --effort thorough
    python -m benchmarks.calibration.price --world scenes:as-flux --seeds 12 --batch 4
    python -m benchmarks.calibration.price --world scenes:as-flux --keep        # calibrates, and measures nothing

Writes benchmarks/results/price-WORLD.json, row by row: the uncalibrated rule, and every effort on sets of samples of
its own, over which figures are averaged. Rows that are there are not measured again, and a calibration that was
interrupted goes on from runs/price-*.jsonl. With --keep it writes benchmarks/calibrations/WORLD-STEPS-EFFORT.json in
place of that, which experiments measure beside other methods. benchmarks.calibration.page writes the table of
docs/calibrating.md from the file of digits:matched.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import padecast
from benchmarks.common import (
    CALLS,
    DEVELOPMENT,
    RESULTS,
    TEST,
    Document,
    captions,
    load,
    progress,
    provenance,
    read,
    write,
)
from padecast import lab, zoo
from padecast.calibration import EFFORTS, Calibration, price
from padecast.zoo.worlds import WORLDS

BUDGETS = {20: (6, 8, 10), 50: (9, 13, 21)}
CALIBRATIONS = Path(__file__).parents[1] / "calibrations"
SHIPPED = {"digits:matched": (20, "normal"), "scenes:as-flux": (20, "normal"), "motion:as-wan": (20, "quick")}
"""Which of them ship with the demo models."""
FIRST, COUNT = 30_000, 16
"""Calibration samples of a set; a quick calibration takes the first few."""
RULE = "uncalibrated rule"


def build_task(world: str, seeds: tuple[int, ...], batch: int, steps: int) -> lab.Task:
    """Return the task of a world; guidance and shift are its pipeline's own."""
    model = world.partition(":")[0]
    if model == "digits":
        call = lab.Sampling()
    else:
        prompts = captions(model, 64, held_out=False)
        arguments = {name: value for name, value in CALLS[model]["arguments"].items() if name == "max_sequence_length"}
        call = lab.Sampling(prompts, arguments=arguments)
    return lab.Task(load(world), call, steps, seeds, batch, name=world, development=DEVELOPMENT)


def calibrate(work: lab.Task, effort: str, draw: int, budgets: Sequence[int]) -> tuple[Calibration, Document]:
    """Calibrate on a set of samples, and return what that took besides."""
    spent, started = list[float](), time.perf_counter()
    samples = range(FIRST + draw * COUNT, FIRST + (draw + 1) * COUNT)
    resume = Path("runs") / f"price-{work.name.replace(':', '-')}-{effort}-{draw}.jsonl"
    with progress(int(price(effort, budgets, samples, work.steps, 2)), f"{work.name}, {effort}") as tell:

        def note(what: str, images: float) -> None:
            spent.append(images)
            tell(what, images)

        made = padecast.calibrate(
            work.pipe,
            lambda pipe, seeds: work.call(pipe, seeds, num_inference_steps=work.steps),
            budgets,
            samples,
            batch=work.batch,
            effort=effort,
            resume=resume,
            progress=note,
        )
    return made, {"price": made.price, "spent": sum(spent), "seconds": time.perf_counter() - started}


def measure(work: lab.Task, methods: dict[int, lab.Entry]) -> Document:
    """Return PSNR by number of computed steps."""
    with progress(lab.calls(work, len(methods)), work.name) as tell:
        results = lab.measure(work, list(methods.values()), timed=False, flops=False, progress=tell).results
    rows = {result.wanted: result for result in results if result.wanted is not None}
    figures = ("mean", "p5", "worst")
    return {str(n): {"nfe": rows[n].nfe, **{name: getattr(rows[n].psnr, name) for name in figures}} for n in methods}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--world", choices=tuple(WORLDS), default="digits:matched")
    parser.add_argument("--effort", choices=tuple(EFFORTS), action="append", help="one alone; quick and normal if none")
    parser.add_argument("--draws", type=int, default=1, help="sets of calibration samples (%(default)s)")
    parser.add_argument("--seeds", type=int, default=32, help="unseen seeds that are measured (%(default)s)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--keep", action="store_true", help="write the calibrations, and measure nothing")
    parser.add_argument("--budgets", type=int, nargs="*", help="with --keep: these alone")
    options = parser.parse_args()
    budgets = options.budgets or BUDGETS[options.steps]
    work = build_task(options.world, TEST[: options.seeds], options.batch, options.steps)
    if options.keep:
        for effort in options.effort or ("quick", "normal"):
            made, row = calibrate(work, effort, 0, budgets)
            made.save(CALIBRATIONS / f"{options.world.replace(':', '-')}-{options.steps}-{effort}.json")
            if SHIPPED.get(options.world) == (options.steps, effort):
                made.save(zoo.CALIBRATIONS / f"{options.world.replace(':', '-')}.json")
            print(effort, row, flush=True)
        return
    name = f"price-{options.world.replace(':', '-')}.json"
    document: Document = read(name) if (RESULTS / name).is_file() else {}
    shape = {"world": options.world, "steps": options.steps, "seeds": options.seeds, "batch": options.batch}
    if any(document.get(key) != value for key, value in shape.items()):
        document = {**shape, "rows": {}}
    pairs = [(effort, draw) for effort in options.effort or ("quick", "normal") for draw in range(options.draws)]
    for effort, draw in ((RULE, 0), *pairs):
        rows = document["rows"].setdefault(effort, [])
        if len(rows) > draw:
            continue
        if effort == RULE:
            rule = {n: f"tc-pade:every={(work.steps - 1) / (n - 1)!r}" for n in budgets}
            row = {"price": 0.0, "spent": 0.0}
            entries = {n: lab.Entry.of(rule[n], wanted=n) for n in budgets}
        else:
            made, row = calibrate(work, effort, draw, budgets)
            row |= {"plans": {str(n): made.choices[n].best.candidate.key for n in budgets}}
            entries = {n: lab.Entry.of(made.method(computed=n), wanted=n) for n in budgets}
        rows.append({**row, "psnr": measure(work, entries)})
        write(name, {**document, "provenance": provenance(work.pipe)})


if __name__ == "__main__":
    main()
