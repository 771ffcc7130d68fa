"""What the demo worlds show of levels, solvers and of being like real models: result files, a part at a time.

    python -m benchmarks.worlds.measure levels       # world-levels.json: what of the model is forecast
    python -m benchmarks.worlds.measure solvers      # world-solvers.json: Euler, Heun, UniPC, DPM++, DEIS, SDE
    python -m benchmarks.worlds.measure lines        # world-lines.json: which lines of real models a world meets

Each takes some ten minutes on two cores. Plans are those of tc-pade at 6, 8 and 10 of 20 steps; figures are PSNR to the
uncached images of the same seeds, mean and worst over samples. Nothing was chosen on these seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import diffusers
from rich.progress import track

from benchmarks.common import Document, provenance, write
from benchmarks.worlds.runs import PLANS, STEPS, figures, load, run
from benchmarks.worlds.wrappers import predict_clean_images, take_sigmas
from padecast import zoo
from padecast.forecasters import Lagrange, Reuse, TCPade
from padecast.methods import DAMPED
from padecast.policies import Interval, Plan

MODELS = ("scenes", "digits", "motion")
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
SOLVERS: dict[str, Callable[[float], Any]] = {
    "Euler": lambda shift: diffusers.FlowMatchEulerDiscreteScheduler(shift=shift),
    "Heun": lambda shift: diffusers.FlowMatchHeunDiscreteScheduler(shift=shift),
    "UniPC": lambda shift: diffusers.UniPCMultistepScheduler(**FLOW, flow_shift=shift),
    "DPM++ 2M": lambda shift: diffusers.DPMSolverMultistepScheduler(**FLOW, flow_shift=shift),
    "DEIS": lambda shift: diffusers.DEISMultistepScheduler(**FLOW, flow_shift=shift),
    "DPM++ 2M SDE": lambda shift: diffusers.DPMSolverMultistepScheduler(
        **FLOW, flow_shift=shift, algorithm_type="sde-dpmsolver++"
    ),
}


def measure_levels() -> Iterator[Document]:
    """Measure what can be forecast: output, clean image, whole stack, its parts, output less latents."""
    for model in MODELS:
        spans = ["output", "clean", "full", "difference", *(["double", "single"] if model == "scenes" else [])]
        for guided in (True, False):
            cells = [(span, budget) for span in spans for budget in PLANS] if guided else [(s, 8) for s in spans[:3]]
            options = {} if guided else {"guidance_scale": 1.0}
            pipe, draw = load(model)
            uncached = draw(**options)
            for span, budget in track(cells, f"{model}, {'with' if guided else 'without'} guidance"):
                if span == "clean":
                    other, call = load(model, predict_clean_images(zoo.load(f"{model}:matched")))
                else:
                    other, call = pipe, draw
                for way, forecaster in (("feedback", TCPade()), ("retraced", DAMPED)):
                    images, report = run(
                        other,
                        partial(call, **options),
                        Plan.at(PLANS[budget], STEPS),
                        forecaster,
                        "output" if span == "clean" else span,
                        retrace=way == "retraced",
                    )
                    share = report.seconds_forecast / report.forecast / (report.seconds_computed / report.computed)
                    row = {"model": model, "guided": guided, "span": span, "computed": budget, "way": way}
                    cost = {"history_bytes": report.history_bytes, "cost": round(share, 4)}
                    yield row | figures(images, uncached) | cost


def measure_solvers() -> Iterator[Document]:
    """Measure every solver at fixed plans; scenes by a scheduler that its pipeline can ask for any schedule."""
    ways = {
        "repetition": (Reuse(), False),
        "linear": (Lagrange(), False),
        "TC-Padé, feedback": (TCPade(), False),
        "repetition, retraced": (Reuse(), True),
        "tc-pade": (DAMPED, True),
    }
    for model, shift in (("motion", 0.25), ("scenes", 0.2), ("digits", 0.2)):
        for name, make in track(list(SOLVERS.items()), model):
            if model != "digits" and name.endswith("SDE"):
                continue  # their pipelines hand the solver no generator, so that two uncached runs differ
            pipe, draw = load(model)
            pipe.scheduler = take_sigmas(make(shift)) if model == "scenes" else make(shift)
            uncached = draw()
            total = len(pipe.scheduler.timesteps)
            for budget in (8, 10):
                plan = Plan.at([round(place * (total - 1) / (STEPS - 1)) for place in PLANS[budget]], total)
                for way, (forecaster, retrace) in ways.items():
                    images, _ = run(pipe, draw, plan, forecaster, retrace=retrace)
                    row = {"model": model, "solver": name, "computed": budget, "way": way}
                    yield row | figures(images, uncached)


def measure_lines() -> Iterator[Document]:
    """Measure what decides whether a world is believed: fewer steps, repetition, and lines."""
    for model in MODELS:
        pipe, draw = load(model)
        uncached = draw()
        for budget in track([*PLANS], model):
            plan = Plan.at(PLANS[budget], STEPS)
            ways = {
                "repetition": (plan, Reuse()),
                "linear": (plan, Lagrange()),
                "every third, warm-up 3, linear": (Interval(every=3, warmup=3), Lagrange()),
            }
            yield {"model": model, "computed": budget, "way": "fewer steps"} | figures(draw(budget), uncached)
            for way, (policy, forecaster) in ways.items():
                images, report = run(pipe, draw, policy, forecaster)
                yield {"model": model, "computed": report.computed, "way": way} | figures(images, uncached)


PARTS = {"levels": measure_levels, "solvers": measure_solvers, "lines": measure_lines}


def main() -> None:
    """Measure a part and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    part = parser.parse_args().part
    document = {"kind": f"padecast demo worlds: {part}", "provenance": provenance(), "rows": list(PARTS[part]())}
    write(f"world-{part}.json", document)


if __name__ == "__main__":
    main()
