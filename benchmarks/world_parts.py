"""What the demo worlds show of levels, solvers and of being like real models: result files, a part at a time.

    python benchmarks/world_parts.py levels       # results/world-levels.json: what of the model is forecast
    python benchmarks/world_parts.py solvers      # results/world-solvers.json: Euler, Heun, UniPC, DPM++, DEIS, SDE
    python benchmarks/world_parts.py lines        # results/world-lines.json: which lines of real models a world meets

Each takes some ten minutes on two cores. Plans are those of tc-pade at 6, 8 and 10 of 20 steps; figures are PSNR to the
uncached images of the same seeds, mean and worst over samples. Nothing was chosen on these seeds.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

import diffusers
import torch
from clean import told_in_clean_images
from common import write
from rich.progress import track
from torch import Tensor

from padecast import accelerate, zoo
from padecast.calibration.provenance import Provenance
from padecast.forecasters import Forecaster, Lagrange, Reuse, TCPade
from padecast.hooks.quiet import quiet
from padecast.methods import DAMPED, Method
from padecast.policies import Interval, Plan, Policy

COUNTS = {"digits": 16, "scenes": 12, "motion": 4}
FIRST = 21_000
STEPS = 20
PLANS = {6: (0, 1, 2, 4, 9, 19), 8: (0, 1, 2, 3, 5, 9, 14, 19), 10: (0, 1, 2, 3, 4, 6, 8, 11, 15, 19)}
"""Dense at the start, as searched plans of real models are."""
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
Call = Callable[..., Tensor]


def unseen(model: str) -> tuple[str, ...]:
    """Return captions of combinations that a model's training never saw."""
    grammar = importlib.import_module(f"padecast.zoo.{model}.grammar")
    generator = torch.Generator().manual_seed(20_000)
    return tuple(dict.fromkeys(grammar.draw(generator, held_out=True).caption for _ in range(256)))[:128]


def drawing(model: str, pipe: Any = None, seeds: Iterable[int] = ()) -> tuple[Any, Call]:
    """Return a pipeline, in the matched setting by default, and how its images are drawn."""
    pipe = zoo.load(f"{model}:matched") if pipe is None else pipe
    seeds = tuple(seeds) or range(FIRST, FIRST + COUNTS[model])
    captions = () if model == "digits" else unseen(model)

    def draw(steps: int = STEPS, **guidance: float) -> Tensor:
        options: dict[str, Any] = {"num_inference_steps": steps, "output_type": "pt", **guidance}
        options["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
        if captions:
            options |= {"prompt": [captions[s % len(captions)] for s in seeds], "max_sequence_length": 32}
        else:
            options["class_labels"] = [seed % 10 for seed in seeds]
        with quiet(pipe):
            output = pipe(**options)
        return torch.as_tensor(output.images if hasattr(output, "images") else output.frames)

    return pipe, draw


def figures(images: Tensor, uncached: Tensor) -> dict[str, float]:
    """Return mean and worst PSNR over samples, in dB."""
    errors = (images - uncached).float().square().flatten(1).mean(1).clamp_min(1e-10)
    psnr = -10 * errors.log10()
    return {"mean": round(float(psnr.mean()), 2), "worst": round(float(psnr.min()), 2)}


def run(pipe: Any, draw: Call, policy: Policy, forecaster: Forecaster, span: str, retrace: bool) -> tuple[Tensor, Any]:
    """Return the images of a method made of these parts, and its report."""
    method = Method("of parts", policy, forecaster, "for a table", span=span, retrace=retrace)
    with accelerate(pipe, method) as handle:
        images = draw()
        return images, handle.report


def levels() -> dict[str, Any]:
    """Return the table of levels: output, clean image, whole stack, its parts, output less latents."""
    rows = []
    for model in ("scenes", "digits", "motion"):
        spans = ["output", "clean", "full", "difference", *(["double", "single"] if model == "scenes" else [])]
        for guided in (True, False):
            pipe, draw = drawing(model)
            draw = draw if guided else partial(draw, guidance_scale=1.0)
            uncached = draw()
            cells = [(span, budget) for span in spans for budget in PLANS] if guided else [(s, 8) for s in spans[:3]]
            for span, budget in track(cells, f"{model}, {'with' if guided else 'without'} guidance"):
                told = drawing(model, told_in_clean_images(zoo.load(f"{model}:matched"))) if span == "clean" else None
                one, call = (pipe, draw) if told is None else told
                call = call if guided or told is None else partial(call, guidance_scale=1.0)
                for name, retrace in (("feedback", False), ("retraced", True)):
                    forecaster = TCPade() if name == "feedback" else DAMPED
                    plan, part = Plan.at(PLANS[budget], STEPS), "output" if told else span
                    images, report = run(one, call, plan, forecaster, part, retrace)
                    row = {"model": model, "guided": guided, "span": span, "computed": budget, "way": name}
                    share = report.seconds_forecast / report.forecast / (report.seconds_computed / report.computed)
                    cost = {"history_bytes": report.history_bytes, "cost": round(share, 4)}
                    rows.append({**row, **figures(images, uncached), **cost})
    return {"rows": rows}


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


def asked_by_sigmas(scheduler: Any) -> Any:
    """Return a scheduler that a FLUX pipeline can ask for a schedule, which it does by sigmas that few of them take.

    The levels are those of the scheduler itself.
    """
    kind = type(scheduler)

    class Asked(kind):  # type: ignore[misc, valid-type]
        """A scheduler that counts the sigmas that it is given."""

        def set_timesteps(
            self, num_inference_steps: int | None = None, device: Any = None, sigmas: Any = None, mu: Any = None
        ) -> None:
            """Set as many steps."""
            super().set_timesteps(num_inference_steps if sigmas is None else len(sigmas), device)

    Asked.__name__ = Asked.__qualname__ = kind.__name__
    return Asked.from_config(scheduler.config)


def solvers() -> dict[str, Any]:
    """Return the table of solvers on matched motion and digits, whose pipelines take any of them."""
    rows = []
    for model, shift in (("motion", 0.25), ("scenes", 0.2), ("digits", 0.2)):
        for name, make in track(list(SOLVERS.items()), model):
            if model != "digits" and name.endswith("SDE"):
                continue  # their pipelines hand the solver no generator, so that two uncached runs differ
            pipe, draw = drawing(model)
            pipe.scheduler = asked_by_sigmas(make(shift)) if model == "scenes" else make(shift)
            uncached = draw()
            total = len(pipe.scheduler.timesteps)
            for budget in (8, 10):
                places = [round(place * (total - 1) / (STEPS - 1)) for place in PLANS[budget]]
                plan = Plan.at(places, total)
                ways = {
                    "repetition": (Reuse(), False),
                    "linear": (Lagrange(), False),
                    "TC-Padé, feedback": (TCPade(), False),
                    "repetition, retraced": (Reuse(), True),
                    "tc-pade": (DAMPED, True),
                }
                for way, (forecaster, retrace) in ways.items():
                    images, _ = run(pipe, draw, plan, forecaster, "output", retrace)
                    rows.append(
                        {"model": model, "solver": name, "computed": budget, "way": way} | figures(images, uncached)
                    )
    return {"rows": rows}


def lines() -> dict[str, Any]:
    """Return what decides whether a world is believed: fewer steps, repetition, lines, TaylorSeer, change per step."""
    rows = []
    for model in ("scenes", "digits", "motion"):
        pipe, draw = drawing(model)
        uncached = draw()
        for budget in track([*PLANS], model):
            plan = Plan.at(PLANS[budget], STEPS)
            ways = {
                "repetition": (plan, Reuse()),
                "linear": (plan, Lagrange()),
                "every third, warm-up 3, linear": (Interval(every=3, warmup=3), Lagrange()),
            }
            rows.append({"model": model, "computed": budget, "way": "fewer steps"} | figures(draw(budget), uncached))
            for way, (policy, forecaster) in ways.items():
                images, report = run(pipe, draw, policy, forecaster, "output", False)
                rows.append({"model": model, "computed": report.computed, "way": way} | figures(images, uncached))
    return {"rows": rows}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"levels": levels, "solvers": solvers, "lines": lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    part = parser.parse_args().part
    write(
        f"world-{part}.json",
        {"kind": f"padecast demo worlds: {part}", "provenance": asdict(Provenance.of()), **PARTS[part]()},
    )


if __name__ == "__main__":
    main()
