"""Make the calibrations of the demo model that ship with padecast: 20 steps, budgets 5 to 14.

    python benchmarks/calibrations.py --setting hard --resume hard.jsonl

Calibration seeds 30000-30035, of which a third is held out from every fit; none is among the seeds that benchmarks
measure or develop on. Writes src/padecast/zoo/calibrations/digits-SETTING.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import SETTINGS, progress, task

import padecast
from padecast import calibration, zoo

SEEDS = range(30_000, 30_036)
BATCH = 12


def main() -> None:
    """Calibrate and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=tuple(SETTINGS), action="append", help="one setting alone")
    parser.add_argument("--budgets", default="5,6,7,8,9,10,11,12,13,14")
    parser.add_argument("--resume", type=Path, help="keeps what was found, to go on after an interruption")
    parser.add_argument("--out", type=Path, default=Path(zoo.__file__).parent / "calibrations")
    options = parser.parse_args()
    budgets = [int(word) for word in options.budgets.split(",")]
    for setting in options.setting or SETTINGS:
        work = task(setting)
        work_units = int(calibration.estimate(work.steps, budgets, len(SEEDS), branches=2))
        with progress(work_units, setting) as tell:
            done = padecast.calibrate(
                work.pipe,
                lambda pipe, seeds, sampling=work.call, steps=work.steps: sampling(
                    pipe, seeds, num_inference_steps=steps
                ),
                budgets,
                SEEDS,
                batch=BATCH,
                name=f"digits, {setting}",
                resume=options.resume,
                progress=lambda what, steps, tell=tell: tell(what, steps),
            )
        print(done, flush=True)
        done.save(options.out / f"digits-{setting}.json")


if __name__ == "__main__":
    main()
