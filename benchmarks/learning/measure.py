"""What lessons of uncached runs are worth: results/learning-WORLD.json, a part at a time.

    python -m benchmarks.learning.measure digits:matched --seeds 8
    python -m benchmarks.learning.measure scenes:as-flux --seeds 8 --parts rank transfer

``rank``: predicted against measured figures of random
plans. ``transfer``: plans of a lesson at one schedule for another, beside plans of a lesson at that one. What is in
the result file already is not measured again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import RESULTS, provenance
from padecast import accelerate, files, zoo
from padecast._intercept import Intercept
from padecast._noise import Noise, is_multistep, noise_of
from padecast.forecasters import Forecaster, TCPade
from padecast.hooks.quiet import quiet
from padecast.hooks.retrace import suit
from padecast.lessons import Collector, Identity, Lesson, Look, Planner
from padecast.lessons.cost import Array
from padecast.lessons.extrapolation import LINE, choose_forecaster
from padecast.methods import DAMPED, Method
from padecast.policies import Plan, Policy
from padecast.zoo.worlds import WORLDS

TEACHING, TUNING, UNSEEN = 5_000, 1_000, 40_000
"""First seeds: those of lessons, those on which a tolerance is turned, and those that are measured."""
BUDGETS = {8: (4, 5), 20: (6, 8, 10), 28: (8, 11, 14), 50: (9, 13, 21)}
STEPS = 20


class Bench:
    """A demo world, drawn at any number of steps and any shift.

    Args:
        name: Of the world.
        seeds: That are measured.
    """

    def __init__(self, name: str, seeds: Sequence[int]) -> None:
        self.name, self.model, self.seeds = name, name.partition(":")[0], tuple(seeds)
        self.pipe = zoo.load(name)
        self.shift = WORLDS[name].shift
        self.captions = () if self.model == "digits" else unseen(self.model)
        self.labels = tuple(range(10))
        self.more: dict[str, Any] = {}  # further arguments of the pipeline's call
        self.references: dict[Any, Tensor] = {}

    def draw(self, seeds: Sequence[int], steps: int, shift: float) -> Tensor:
        """Return the images of seeds."""
        options: dict[str, Any] = {"num_inference_steps": steps, "output_type": "pt"}
        options["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
        if self.captions:
            options |= {"prompt": [self.captions[s % len(self.captions)] for s in seeds], "max_sequence_length": 32}
            config = self.pipe.scheduler.config
            key = "shift" if "shift" in config else "flow_shift"
            if config[key] != shift:
                self.pipe.scheduler = type(self.pipe.scheduler).from_config(config, **{key: shift})
        else:
            options |= {"class_labels": [self.labels[seed % len(self.labels)] for seed in seeds], "shift": shift}
        options |= self.more
        with quiet(self.pipe), torch.no_grad():
            output = self.pipe(**options)
        return torch.as_tensor(output.images if hasattr(output, "images") else output.frames).float()

    def look(self, seeds: Sequence[int], steps: int, shift: float) -> tuple[Look, Tensor]:
        """Return what uncached runs of seeds show, and their images."""
        collector, count, numel = Collector(steps), len(seeds), [0]
        self.draw(seeds[:1], 1, shift)  # a scheduler of this shift is there

        def step(method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            output = kwargs.get("model_output", args[0] if args else None)
            numel[0] = output[0].numel()
            collector.note(len(noted), "guided", output[:count])
            noted.append(1)
            return method(*args, **kwargs)

        noted: list[int] = []
        hook = Intercept(self.pipe.scheduler, "step", step).install()
        try:
            images = self.draw(seeds, steps, shift)
        finally:
            hook.remove()
        noise = noise_of(self.pipe.scheduler, numel[0])
        assert noise is not None
        begin = steps - collector.cut()  # of a run that starts from an image
        timesteps = [float(t) for t in self.pipe.scheduler.timesteps]
        look = collector.look(noise.part(begin, steps), timesteps[begin:])
        assert look is not None
        return look, images

    def psnr(
        self, policy: Policy, steps: int, shift: float, forecaster: Forecaster = DAMPED
    ) -> tuple[list[float], str]:
        """Return the PSNR of every measured seed under a policy, and the plan it followed."""
        if (steps, shift) not in self.references:
            self.references[steps, shift] = self.draw(self.seeds, steps, shift)
        method = Method("learned-plan", policy, forecaster, "for a table", span="output", retrace=True)
        with accelerate(self.pipe, method) as handle:
            images = self.draw(self.seeds, steps, shift)
            plan = handle.report.plan
        errors = (images - self.references[steps, shift]).square().flatten(1).mean(1).clamp_min(1e-10)
        return [round(float(v), 2) for v in -10 * errors.log10()], plan


def unseen(model: str) -> tuple[str, ...]:
    """Return captions of combinations that a model's training never saw."""
    grammar = importlib.import_module(f"padecast.zoo.{model}.grammar")
    generator = torch.Generator().manual_seed(20_000)
    return tuple(dict.fromkeys(grammar.draw(generator, held_out=True).caption for _ in range(256)))[:128]


def row(way: str, values: list[float], plan: str, **more: Any) -> dict[str, Any]:
    """Return a row: mean, 5th percentile and worst over samples, in dB."""
    figures = {"mean": np.mean(values), "p5": np.quantile(values, 0.05), "worst": np.min(values)}
    rounded = {name: round(float(value), 2) for name, value in figures.items()}
    return {"way": way, "computed": plan.count("C"), "plan": plan, **rounded, **more}


def learn(looks: Sequence[Look]) -> Lesson:
    """Return the lesson of looks."""
    lesson = Lesson(Identity("demo"))
    for look in looks:
        lesson = lesson.add(look)
    return lesson


def search(
    lesson: Lesson, noise: Noise, budget: int, scheduler: Any, forecaster: Forecaster, gains: Array | None = None
) -> tuple[int, ...]:
    """Return the steps that ``learned`` would compute with a forecaster, by its default objective."""
    options: dict[str, Any] = {"forecaster": forecaster, "multistep": is_multistep(scheduler), "gains": gains}
    return Planner.of(lesson, noise, "low", **options).plans([budget])[budget].steps


def choose(
    lesson: Lesson, noise: Noise, budget: int, scheduler: Any, gains: Array | None = None
) -> tuple[tuple[int, ...], Forecaster]:
    """Return the steps and what forecasts, as :mod:`padecast.handles.learning` chooses them."""
    usual = suit(DAMPED, scheduler, True)
    steps = search(lesson, noise, budget, scheduler, usual, gains)
    if not isinstance(usual, TCPade):
        return steps, DAMPED
    forecaster = choose_forecaster(lesson.singles(noise.levels[:-1]), noise, steps, usual)
    return search(lesson, noise, budget, scheduler, LINE, gains) if forecaster == LINE else steps, forecaster


def decibels(planner: Planner, plan: str) -> float:
    """Return minus the cost of a plan."""
    return -planner.cost(i for i, letter in enumerate(plan) if letter == "C")


def rank(bench: Bench, save: Callable[[dict[str, Any]], None], done: set[str]) -> None:
    """Measure random plans, dense at the start, and what they were predicted to leave."""
    planner = Planner.of(
        learn([bench.look([TEACHING], STEPS, bench.shift)[0]]), bench.look([1], STEPS, bench.shift)[0].noise
    )
    generator = random.Random(0)
    for number in range(36):
        budget = BUDGETS[STEPS][number % 3]
        steps = random_plan(generator, planner.noise, budget)
        if f"rank {number}" not in done:
            values, plan = bench.psnr(Plan.at(steps, STEPS), STEPS, bench.shift)
            more = {"predicted": round(decibels(planner, plan), 2)}
            save({"part": "rank", "key": f"rank {number}", **row("random", values, plan, **more)})


def random_plan(generator: random.Random, noise: Noise, budget: int) -> list[int]:
    """Return computed steps about even in a random power of the effective noise level."""
    power = generator.uniform(0.15, 0.8)
    places = [1 - level**power for level in noise.levels[:-1]]
    steps = {0}
    for k in range(1, budget):
        place = places[-1] * (k + generator.uniform(-0.45, 0.45)) / (budget - 1)
        steps.add(min((i for i in range(len(places)) if i not in steps), key=lambda i: abs(places[i] - place)))
    return sorted(steps)


def transfer(bench: Bench, save: Callable[[dict[str, Any]], None], done: set[str]) -> None:
    """Measure plans of a lesson at one schedule for another, beside plans of a lesson at that one."""
    lessons: dict[tuple[int, float], Look] = {}
    cases = [(20, 1.0, 8, 1.0), (20, 1.0, 28, 1.0), (20, 1.0, 50, 1.0), (50, 1.0, 20, 1.0)]
    cases += [(20, 1.0, 20, 0.5), (20, 1.0, 20, 2.0)]
    for before, shift, steps, times in cases:
        if all(f"transfer {before}/{shift:g} {steps}/{times:g} {budget}" in done for budget in BUDGETS[steps]):
            continue
        for grid in ((before, shift), (steps, times)):
            if grid not in lessons:
                lessons[grid] = bench.look([TEACHING], grid[0], bench.shift * grid[1])[0]
        target, lesson = lessons[steps, times], learn([lessons[before, shift]])
        if not lesson.covers(target.levels):
            print(f"{before}/{shift:g} covers {lesson.share(target.levels):.0%} of {steps}/{times:g}")
            lesson = learn([lessons[before, shift], target])
        scheduler = bench.pipe.scheduler
        lessons_of = {"transferred": lesson, "at the target": learn([target])}
        rule = Planner.of(lesson, target.noise)
        for budget in BUDGETS[steps]:
            plans = {way: choose(one, target.noise, budget, scheduler) for way, one in lessons_of.items()}
            plans["tc-pade:last=false"] = rule.spaced(budget, last=False), DAMPED
            for way, (places, forecaster) in plans.items():
                values, followed = bench.psnr(Plan.at(places, steps), steps, bench.shift * times, forecaster)
                key = f"transfer {before}/{shift:g} {steps}/{times:g} {budget}"
                case = {"from": [before, shift], "to": [steps, times]}
                save({"part": "transfer", "key": key, **case, **row(way, values, followed)})


PARTS = {"rank": rank, "transfer": transfer}


def correlation(rows: Sequence[dict[str, Any]]) -> float:
    """Return Spearman's correlation of predicted and measured."""
    first, second = (np.argsort(np.argsort([r[name] for r in rows])) for name in ("predicted", "mean"))
    return round(float(np.corrcoef(first, second)[0, 1]), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("world")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=[*PARTS])
    arguments = parser.parse_args()
    path = RESULTS / f"learning-{arguments.world.replace(':', '-')}.json"
    document: dict[str, Any] = files.read_json(path) if path.is_file() else {"rows": []}
    rows = document["rows"]

    def save(fresh: dict[str, Any]) -> None:
        rows.append({**fresh, "seeds": [UNSEEN, arguments.seeds]})
        print(fresh["key"], fresh["way"], fresh["plan"], fresh["mean"], fresh["p5"], fresh["worst"], flush=True)
        ranked = [r for r in rows if r["part"] == "rank"]
        files.write(
            path,
            json.dumps(
                {
                    "kind": "padecast lessons",
                    "provenance": provenance(),
                    "world": arguments.world,
                    "teaching": TEACHING,
                    "correlation": correlation(ranked) if len(ranked) > 2 else None,
                    "rows": rows,
                },
                indent=1,
            )
            + "\n",
        )

    bench = Bench(arguments.world, range(UNSEEN, UNSEEN + arguments.seeds))
    for part in arguments.parts:
        PARTS[part](bench, save, {r["key"] for r in rows})


if __name__ == "__main__":
    main()
