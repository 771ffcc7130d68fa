"""Make the calibrations of the demo model that ship with padecast: 20 steps, budgets 5 to 14.

    python benchmarks/calibrations.py --setting hard --unfitted 11,12,13,14 --resume hard.jsonl
    python benchmarks/calibrations.py --setting easy --unfitted 9,11,12,13,14

The budgets of ``--unfitted`` get plans and forecasters chosen in closed loop, but no local search and no fit.

Calibration seeds 30000-30047, of which a third is held out from every fit; none is among the seeds that benchmarks
measure or develop on. Writes src/padecast/zoo/calibrations/digits-SETTING.json.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from common import SETTINGS, progress, task

import padecast
from padecast import calibration, zoo

SEEDS = range(30_000, 30_048)
BATCH = 16


def main() -> None:
    """Calibrate and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=tuple(SETTINGS), action="append", help="one setting alone")
    parser.add_argument("--budgets", default="5,6,7,8,9,10,11,12,13,14")
    parser.add_argument("--unfitted", default="", help="budgets that are chosen quickly, without a fit")
    parser.add_argument("--resume", type=Path, help="keeps what was found, to go on after an interruption")
    parser.add_argument("--out", type=Path, default=Path(zoo.__file__).parent / "calibrations")
    options = parser.parse_args()
    quick = [int(word) for word in options.unfitted.split(",") if word]
    fitted = [n for n in map(int, options.budgets.split(",")) if n not in quick]
    for setting in options.setting or SETTINGS:
        resume = options.resume and options.resume.with_suffix(f".{setting}.jsonl")
        done = made(setting, fitted, calibration.Effort(), resume)
        if quick:
            resume = options.resume and options.resume.with_suffix(f".{setting}.quick.jsonl")
            more = made(setting, quick, calibration.Effort(refined=0, moves=0), resume)
            done = dataclasses.replace(done, choices={**done.choices, **more.choices})
        print(done, flush=True)
        done.save(options.out / f"digits-{setting}.json")


def made(setting: str, budgets: list[int], effort: calibration.Effort, resume: Path | None) -> calibration.Calibration:
    """Calibrate one setting for some budgets."""
    work = task(setting)
    units = int(calibration.estimate(work.steps, budgets, len(SEEDS), branches=2, effort=effort))
    with progress(units, setting) as tell:
        return padecast.calibrate(
            work.pipe,
            lambda pipe, seeds: work.call(pipe, seeds, num_inference_steps=work.steps),
            budgets,
            SEEDS,
            batch=BATCH,
            name=f"digits, {setting}",
            effort=effort,
            resume=resume,
            progress=lambda what, steps: tell(what, steps),
        )


if __name__ == "__main__":
    main()
