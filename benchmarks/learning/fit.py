"""Which constants of the planner tell good plans from better ones: results/planner-trials.json, planner-fit.json.

    python -m benchmarks.learning.fit --collect scenes:as-flux runs/price-scenes-as-flux-normal-0.jsonl
    python -m benchmarks.learning.fit --draw motion:as-wan        # plans like those of the rule: half an hour on a core
    python -m benchmarks.learning.fit        # tries all constants on what was collected

Calibrations try many plans of one number of computed steps in closed loop, on samples whose matrices they have. So
predicted and measured decibels can be compared sample by sample among plans that are all good, which random plans do
not show. Those samples are calibration seeds, from 30000 on. Where a calibration tries few plans, those of the rule and
of the planner and their neighbours are drawn on development seeds. No figure of a comparison is on either.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, Document, provenance, read, write
from benchmarks.learning.measure import TUNING, Bench
from padecast import zoo
from padecast._noise import Noise, is_multistep, noise_of
from padecast.forecasters import Reuse
from padecast.hooks.retrace import suit
from padecast.lessons import Planner, planner
from padecast.lessons.cost import LAWS, gains_of, law_of
from padecast.methods import DAMPED
from padecast.policies import Plan
from padecast.zoo.worlds import WORLDS

TRIALS, FIT = "planner-trials.json", "planner-fit.json"
STEPS = 20
SIZES = {"digits:matched": 256, "scenes:as-flux": 262_144, "motion:as-wan": 2_048_000}
"""Numbers of a sample's latents."""
ENDING = " tcpade:damping=16 retraced"
POWERS, COHERENCES = (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.25, 0.5, 1.0)
BUDGETS, SAMPLES, DRAWN = (8, 10, 6), 4, 22
"""Of plans that are drawn: numbers of computed steps, samples, and plans of each number."""
LEAST = 4
"""Plans of one number of computed steps that a sample has to have been drawn with."""


def collect(world: str, journal: Path) -> Document:
    """Return the matrices and trials of a calibration's journal, of what the sampler was given."""
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    samples = {}
    for line in lines:
        if "statistic" in line and len(line["seeds"]) == 1:
            gram = guide(np.array(line["statistic"]["joint"]), line["statistic"]["branches"], WORLDS[world].guidance)
            samples[str(line["seeds"][0])] = [[float(f"{value:.6g}") for value in row] for row in gram]
    trials: dict[str, dict[str, float]] = {}
    for line in lines:
        if "trial" in line and line["trial"].endswith(ENDING):
            figures = {seed: round(value, 2) for seed, value in line["psnr"].items()}
            trials.setdefault(line["trial"].removesuffix(ENDING), {}).update(figures)
    return {"world": world, "grams": samples, "trials": trials}


def draw(world: str) -> Document:
    """Return matrices and trials of plans of the planner and of the rule, and of some that lie beside them."""
    bench, generator = Bench(world, range(TUNING, TUNING + SAMPLES)), random.Random(1)
    looks = [bench.look([seed], STEPS, bench.shift)[0] for seed in bench.seeds]
    options: dict[str, Any] = {
        "forecaster": suit(DAMPED, bench.pipe.scheduler, True),
        "multistep": is_multistep(bench.pipe.scheduler),
    }
    grams = {str(seed): look.singles[0].tolist() for seed, look in zip(bench.seeds, looks, strict=True)}
    trials: dict[str, dict[str, float]] = {}
    for budget in BUDGETS:
        searches = [Planner(look.singles, look.noise, **options) for look in looks[:2]]
        plans = [search.plans([budget])[budget].steps for search in searches]
        plans += [searches[0].spaced(budget, density, last) for density in (0.6, 0.8, 1, 1.4) for last in (True, False)]
        while len(set(plans)) < DRAWN:
            steps = list(generator.choice(plans))
            for _ in range(generator.choice((1, 1, 2))):
                place = generator.randrange(1, budget)
                steps[place] = min(STEPS - 1, max(1, steps[place] + generator.choice((-2, -1, 1, 2))))
            plans += [tuple(sorted(steps))] if len(set(steps)) == budget else []
        for plan in dict.fromkeys(plans):
            values, written = bench.psnr(Plan.at(plan, STEPS), STEPS, bench.shift)
            trials[written] = dict(zip(map(str, bench.seeds), values, strict=True))
            print(written, *values, flush=True)
    return {"world": world, "grams": grams, "trials": trials}


def guide(joint: Any, branches: list[str], scale: float) -> Any:
    """Return the matrix of ``u + scale (c - u)``, of the joint one of both branches."""
    if len(branches) == 1:
        return joint
    steps = len(joint) // 2
    first = 1 if branches[0].startswith("un") else 0
    mixed = np.zeros((steps, 2 * steps))
    for index in range(steps):
        mixed[index, first * steps + index] = scale
        mixed[index, (1 - first) * steps + index] = 1 - scale
    return mixed @ joint @ mixed.T


def grid(world: str) -> Noise:
    """Return the noise levels of a world's runs."""
    pipe = zoo.load(world)
    if world.startswith("digits"):
        pipe(class_labels=[0], num_inference_steps=STEPS, output_type="pt")
    else:
        mu = {"mu": np.log(WORLDS[world].shift)} if pipe.scheduler.config.get("use_dynamic_shifting") else {}
        sigmas = {"sigmas": np.linspace(1.0, 1 / STEPS, STEPS)} if world.startswith("scenes") else {}
        pipe.scheduler.set_timesteps(**({**sigmas, **mu} or {"num_inference_steps": STEPS}))
    noise = noise_of(pipe.scheduler, SIZES[world])
    assert noise is not None and len(noise.sigmas) == STEPS + 1
    return noise


def compare(world: Document, noise: Noise, gains: Any) -> dict[str, float]:
    """Return correlation and error of predicted decibels among plans of one sample and number of steps, and offset."""
    multistep = world["world"].startswith("motion")
    options: dict[str, Any] = {"forecaster": Reuse(), "multistep": True} if multistep else {}
    predicted, measured, offsets = [], [], []
    for seed, gram in world["grams"].items():
        search = Planner(np.array(gram), noise, gains=gains, **options)
        for count in (6, 8, 10):
            plans = [plan for plan, by in world["trials"].items() if plan.count("C") == count and seed in by]
            if len(plans) < LEAST:
                continue
            guess = np.array([-search.cost(i for i, letter in enumerate(plan) if letter == "C") for plan in plans])
            truth = np.array([world["trials"][plan][seed] for plan in plans])
            offsets += list(truth - guess)
            predicted += list(guess - guess.mean())
            measured += list(truth - truth.mean())
    error = np.subtract(predicted, measured)
    return {
        "correlation": round(float(np.corrcoef(predicted, measured)[0, 1]), 3),
        "error": round(float(np.sqrt(np.mean(error**2))), 2),
        "offset": round(float(np.mean(offsets)), 1),
        "deviation": round(float(np.std(offsets)), 1),
        "pairs": len(predicted),
    }


def main() -> None:
    """Collect, or try all constants."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--collect", nargs=2, metavar=("WORLD", "JOURNAL"))
    parser.add_argument("--draw", metavar="WORLD")
    options = parser.parse_args()
    document: Document = read(TRIALS) if (RESULTS / TRIALS).is_file() else {"kind": "padecast trials", "worlds": []}
    if options.collect or options.draw:
        part = draw(options.draw) if options.draw else collect(options.collect[0], Path(options.collect[1]))
        others = [each for each in document["worlds"] if each["world"] != part["world"]]
        write(TRIALS, {**document, "provenance": provenance(), "worlds": [*others, part]})
        return
    grids = {world["world"]: grid(world["world"]) for world in document["worlds"]}
    rows = []
    shipped = planner.COHERENT
    for coherence in COHERENCES:
        planner.COHERENT = coherence
        ways: dict[str, Any] = {f"power {power:g}": power for power in POWERS}
        for way in (*ways, *(LAWS if coherence == shipped else ())):
            for world in document["worlds"]:
                noise = grids[world["world"]]
                gains = gains_of(noise, ways[way]) if way in ways else law_of(way, STEPS)
                rows.append(
                    {"world": world["world"], "gains": way, "coherence": coherence, **compare(world, noise, gains)}
                )
                print(rows[-1], flush=True)
    planner.COHERENT = shipped
    write(FIT, {"kind": "padecast planner's constants", "provenance": provenance(), "rows": rows})


if __name__ == "__main__":
    main()
