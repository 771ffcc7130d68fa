"""Make the calibrations of the demo models that ship with padecast.

    python -m benchmarks.calibration.ship --setting hard --unfitted 11,12,13,14 --resume hard.jsonl
    python -m benchmarks.calibration.ship --setting easy --unfitted 9,11,12,13,14
    python -m benchmarks.calibration.ship --model scenes --setting 20 --budgets 6,8,10
    python -m benchmarks.calibration.ship --model scenes --setting 50 --budgets 10,14 --samples 32
    python -m benchmarks.calibration.ship --model motion --setting 20 --budgets 6,8,10 --scouts 8

The budgets of ``--unfitted`` get plans and forecasters chosen in closed loop, but no fit.

Calibration seeds from 30000, 48 or as many as ``--samples`` says, of which a third is held out from every fit; none is
among the seeds that benchmarks measure or develop on, and captions are others too. Writes
src/padecast/zoo/calibrations/MODEL-SETTING.json.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from benchmarks.common import SETTINGS, calibrate, task, task_of_captions
from padecast import calibration, zoo

SEEDS = range(30_000, 30_064)
BATCH = 16
SETTINGS_OF = {"digits": tuple(SETTINGS), "scenes": ("20", "50"), "motion": ("20",)}


def main() -> None:
    """Calibrate and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=tuple(SETTINGS_OF), default="digits")
    parser.add_argument("--setting", action="append", help="one setting alone, such as hard")
    parser.add_argument(
        "--samples", type=int, default=48, help=f"calibration seeds, at most {len(SEEDS)} (%(default)s)"
    )
    parser.add_argument(
        "--scouts",
        type=int,
        default=calibration.Effort.scouts,
        help="samples on which all plans are tried (%(default)s)",
    )
    parser.add_argument("--budgets", default="5,6,7,8,9,10,11,12,13,14")
    parser.add_argument("--unfitted", default="", help="budgets that are chosen, but not fitted")
    parser.add_argument("--keep", action="store_true", help="budgets of the file that are not chosen anew stay")
    parser.add_argument("--resume", type=Path, help="keeps what was found, to go on after an interruption")
    parser.add_argument("--out", type=Path, default=Path(zoo.__file__).parent / "calibrations")
    options = parser.parse_args()
    if not 1 <= options.samples <= len(SEEDS):
        parser.error(f"--samples {options.samples}: there are calibration seeds for 1 to {len(SEEDS)}")
    unfitted = [int(word) for word in options.unfitted.split(",") if word]
    fitted = [n for n in map(int, options.budgets.split(",")) if n not in unfitted]
    for setting in options.setting or SETTINGS_OF[options.model]:
        work = task(setting) if options.model == "digits" else task_of_captions(options.model, int(setting))
        work = dataclasses.replace(work, seeds=tuple(SEEDS[: options.samples]), batch=BATCH)
        branches = 1 if options.model == "scenes" else 2  # FLUX has no second call for guidance
        parts = []
        whole = calibration.Effort(scouts=options.scouts)
        plain = dataclasses.replace(whole, refined=0)
        for budgets, effort, prefix in ((fitted, whole, ""), (unfitted, plain, "unfitted.")):
            resume = options.resume and options.resume.with_suffix(f".{setting}.{prefix}jsonl")
            parts += [calibrate(work, budgets, effort, branches=branches, resume=resume)] if budgets else []
        choices = {budget: choice for part in parts for budget, choice in part.choices.items()}
        path = options.out / f"{options.model}-{setting}.json"
        if options.keep and path.is_file():
            before = calibration.Calibration.load(path)
            same = all(getattr(before, name) == getattr(parts[0], name) for name in ("model", "seeds", "schedule"))
            if not same:
                parser.error(f"--keep: {path} is of another model, other seeds or another schedule; measure all of it.")
            choices = {**before.choices, **choices}
        calibrated = dataclasses.replace(parts[0], choices=dict(sorted(choices.items())))
        print(calibrated, flush=True)
        calibrated.save(path)


if __name__ == "__main__":
    main()
