"""Fewer steps of better solvers beside forecasts, at equal evaluations of the model: results/solvers.json.

    python -m benchmarks.solvers.measure                           # all three worlds: about a quarter of an hour
    python -m benchmarks.solvers.measure digits:matched --seeds 16

Every row is compared twice: with the image of the pipeline's own solver at 20 steps, which forecasts approximate, and
with the image to which all solvers converge, that of 40 steps of Heun's rule, which has no history and evaluates the
model 79 times: a better solver may be nearer to it than 20 steps of the pipeline's own are. Worlds, captions and seeds
are those of benchmarks/experiments; tolerances are turned on development seeds. What is in the result file already is
not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.common import RESULTS, Document, load, progress, provenance, read, write
from padecast import files, lab
from padecast.lab.experiment import read as read_experiment
from padecast.lab.solvers import SOLVERS

FILE = "solvers.json"
WORLDS = {"digits:matched": "digits-matched", "scenes:as-flux": "scenes-as-flux", "motion:matched": "motion-as-wan"}
"""Worlds, and the experiment whose captions and guidance each is drawn with."""
SEEDS = {"digits:matched": (16, 8), "scenes:as-flux": (16, 4), "motion:matched": (16, 4)}
"""Seeds from 20000 on, and how many a call."""
STEPS, BUDGETS, CONVERGED, TUNED = 20, (6, 8, 10), 40, 4
METHODS = ("adaptive", "tc-pade")
OWN = "the pipeline's own solver"


def build_task(world: str, count: int) -> lab.Task:
    """Return what is drawn in a world."""
    experiment = read_experiment(files.locate(f"benchmarks/experiments/{WORLDS[world]}.toml"))
    setting = experiment.settings[0]
    arguments = {name: value for name, value in setting.arguments.items() if name == "max_sequence_length"}
    call = lab.Sampling(setting.prompts, setting.classes, setting.guidance, arguments=arguments)
    seeds, batch = tuple(range(20_000, 20_000 + count)), SEEDS[world][1]
    return lab.Task(load(world), call, STEPS, seeds, batch, world, tuple(range(1000, 1000 + TUNED)), memory={})


def entries(work: lab.Task) -> Iterator[tuple[str, int, lab.Entry]]:
    """Return every way with its number of evaluations."""
    yield OWN, STEPS, lab.Entry.fewer(STEPS, wanted=STEPS)
    for budget in BUDGETS:
        for solver in SOLVERS:
            yield solver, budget, lab.Entry.of(f"fewer-steps:solver={solver}", wanted=budget)
        for method in METHODS:
            yield method, budget, lab.Entry.of(method, wanted=budget)


def draw(work: lab.Task, entry: lab.Entry) -> tuple[Tensor, float]:
    """Return the images of all seeds, and how often the model was evaluated."""
    drawn = [lab.draw(work, entry, seeds) for seeds in work.batches()]
    nfe = sum(part.nfe * part.samples for part in drawn) / sum(part.samples for part in drawn)
    return torch.cat([part.images for part in drawn]), round(nfe, 2)


def figures(images: Tensor, reference: Tensor) -> Document:
    """Return PSNR to a reference: mean, 5th percentile and worst."""
    spread = lab.Spread.of(lab.psnr(images, reference).clamp_max(100.0))
    return {name: round(getattr(spread, name), 2) for name in ("mean", "p5", "worst")}


def measure(world: str, count: int, document: Document, source: Document) -> None:
    """Measure what is missing of a world, and write it row by row."""
    work = build_task(world, count)
    done = {(row["way"], row["wanted"]) for row in document["rows"] if row["world"] == world}
    missing = [each for each in entries(work) if each[:2] not in done]
    if not missing:
        return
    with progress(len(missing) + 2, world) as tell:
        own, _ = draw(work, lab.UNCACHED)
        tell("20 steps")
        converged, _ = draw(work, lab.Entry.of(f"fewer-steps:solver=heun,steps={CONVERGED}"))
        tell("converged")
        for way, budget, entry in missing:
            tuned = lab.tune(work.tuning(), entry, budget) if entry.method else entry
            images, nfe = draw(work, tuned)
            row = {"world": world, "way": way, "wanted": budget, "nfe": nfe, "written": tuned.written}
            row |= {"seeds": count, "own": figures(images, own), "converged": figures(images, converged)}
            document["rows"].append(row)
            write(FILE, {**document, "provenance": source})
            tell(f"{way} at {budget}: {row['own']['mean']:.1f} dB")


def main() -> None:
    """Measure the worlds asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("worlds", nargs="*", choices=[[], *WORLDS], default=[])
    parser.add_argument("--seeds", type=int, help="unseen seeds; 16 if not given")
    options = parser.parse_args()
    shape = {"kind": "padecast solvers", "steps": STEPS, "budgets": BUDGETS, "converged": CONVERGED}
    document = {**shape, "rows": read(FILE)["rows"] if (RESULTS / FILE).is_file() else []}
    source = provenance()
    for world in options.worlds or WORLDS:
        measure(world, options.seeds or SEEDS[world][0], document, source)


if __name__ == "__main__":
    main()
