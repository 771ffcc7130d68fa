"""Make the calibrations of the demo models that ship with padecast.

    python benchmarks/calibrations.py --setting hard --unfitted 11,12,13,14 --resume hard.jsonl
    python benchmarks/calibrations.py --setting easy --unfitted 9,11,12,13,14
    python benchmarks/calibrations.py --model scenes --setting 20 --budgets 6,8,10
    python benchmarks/calibrations.py --model scenes --setting 50 --budgets 10,14 --samples 32
    python benchmarks/calibrations.py --model motion --setting 20 --budgets 6,8,10 --scouts 8

The budgets of ``--unfitted`` get plans and forecasters chosen in closed loop, but no fit.

Calibration seeds from 30000, 48 or as many as ``--samples`` says, of which a third is held out from every fit; none is
among the seeds that benchmarks measure or develop on, and captions are others too. Writes
src/padecast/zoo/calibrations/MODEL-SETTING.json.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from common import SETTINGS, captioned, progress, task

import padecast
from padecast import calibration, lab, zoo

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
        work = task(setting) if options.model == "digits" else captioned(options.model, int(setting))
        work = dataclasses.replace(work, seeds=tuple(SEEDS[: options.samples]), batch=BATCH)
        found = []
        whole = calibration.Effort(scouts=options.scouts)
        plain = dataclasses.replace(whole, refined=0)
        for budgets, effort, part in ((fitted, whole, ""), (unfitted, plain, "unfitted.")):
            resume = options.resume and options.resume.with_suffix(f".{setting}.{part}jsonl")
            found += [made(work, budgets, effort, resume)] if budgets else []
        choices = {budget: choice for one in found for budget, choice in one.choices.items()}
        path = options.out / f"{options.model}-{setting}.json"
        if options.keep and path.is_file():
            before = calibration.Calibration.load(path)
            same = all(getattr(before, name) == getattr(found[0], name) for name in ("model", "seeds", "schedule"))
            if not same:
                parser.error(f"--keep: {path} is of another model, other seeds or another schedule; measure all of it.")
            choices = {**before.choices, **choices}
        done = dataclasses.replace(found[0], choices=dict(sorted(choices.items())))
        print(done, flush=True)
        done.save(path)


def made(
    work: lab.Task, budgets: list[int], effort: calibration.Effort, resume: Path | None
) -> calibration.Calibration:
    """Calibrate one setting for some budgets."""
    branches = 1 if work.name.startswith("scenes") else 2  # FLUX has no second call for guidance
    units = int(calibration.estimate(work.steps, budgets, len(work.seeds), branches=branches, effort=effort))
    with progress(units, work.name) as tell:
        return padecast.calibrate(
            work.pipe,
            lambda pipe, seeds: work.call(pipe, seeds, num_inference_steps=work.steps),
            budgets,
            work.seeds,
            batch=work.batch,
            name=work.name,
            effort=effort,
            resume=resume,
            progress=lambda what, steps: tell(what, steps),
        )


if __name__ == "__main__":
    main()
