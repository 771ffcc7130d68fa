"""What padecast costs in ComfyUI, with the demo model scenes: results/comfy-cost.json.

    python -m benchmarks.comfy.cost              # two minutes on one core

Processor time: what the node adds to a step where all are computed. It does not depend on the model, and is lost in the
spread of a model as slow as scenes. So it is taken on a tiny one with latents as large, with the node on and without
it, in turns, and put beside a step of scenes. Memory: bytes of all tensors alive before the last step, with a plan of 8
of 20 steps less without padecast, beside what the report says; and what is left after the run.
"""

from __future__ import annotations

import argparse
import gc
import time
from statistics import median, quantiles
from typing import Any

import torch
from tests.comfy import engine, models

from benchmarks.comfy.worlds import STEPS, WORLDS, World, cases
from benchmarks.common import Document, progress, provenance, write
from padecast.integrations import comfy

FILE, PAIRS = "comfy-cost.json", 61
ALL, PLAN = "plan:steps=" + "C" * STEPS, "plan:steps=CCC.C.C..C....C...C."


def prepare(world: World) -> models.Run:
    """Return a run of one picture."""
    case = cases(world, 1)[0]
    noise = models.draw_noise(world.kind, case.seed, shape=world.shape)
    text = {"positive": world.encode(case.prompt), "negative": world.encode("")}
    return models.Run(world.kind, "euler", steps=STEPS, cfg=world.cfg, noise=noise, seed=case.seed, **text)


def time_run(model: Any, run: models.Run) -> float:
    """Return the processor seconds of a run, which other work on the machine changes less than those of a clock."""
    start = time.process_time()
    models.sample(model, run)
    return time.process_time() - start


def alive() -> int:
    """Return the bytes of all tensors that are alive, each storage once."""
    gc.collect()
    storages = {}
    for each in gc.get_objects():
        if type(each) in (torch.Tensor, torch.nn.Parameter):
            storage = each.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def measure_time(model: Any, run: models.Run, tiny: Any, pairs: int) -> Document:
    """Return what the node adds to a step where all steps are computed, in seconds and as a share of scenes' step."""
    short = models.Run(models.FLUX, "euler", steps=STEPS, cfg=1.0, noise=models.draw_noise(models.FLUX, 1))
    attached, added = comfy.attach(tiny, policy=ALL), []
    for each in (tiny, attached):
        models.sample(each, short)
    with progress(pairs, "time") as tell:
        for place in range(pairs):
            order = (tiny, attached) if place % 2 else (attached, tiny)
            seconds = {id(each): time_run(each, short) for each in order}
            added.append((seconds[id(attached)] - seconds[id(tiny)]) / STEPS)
            tell(f"{1000 * added[-1]:.2f} ms")
    models.sample(model, run)
    step = median(time_run(model, run) for _ in range(5)) / STEPS
    low, middle, high = quantiles(added, n=4)
    return {
        "pairs": pairs,
        "step": step,
        "added": middle,
        "share": middle / step,
        "quartiles": [low / step, high / step],
    }


def measure_memory(model: Any, run: models.Run) -> Document:
    """Return the bytes that a run holds and leaves, beside those that its report says."""

    def peak(each: Any) -> int:
        seen: list[int] = []

        def look(step: int, *_: Any) -> None:
            if step == STEPS - 2:
                seen.append(alive())

        models.sample(each, run, look)
        return seen[0]

    attached = comfy.attach(model, policy=PLAN)
    models.sample(attached, run)  # what is made once: caches of functions, buffers
    before, plain = alive(), peak(model)
    held, after = peak(attached) - plain, alive()
    report = comfy.report_of(attached)
    assert report is not None
    return {"computed": report.computed, "declared": report.history_bytes, "held": held, "left": after - before}


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"runs with and without the node (default {PAIRS})")
    options = parser.parse_args()
    if missing := engine.reason():
        raise SystemExit(missing)
    world = WORLDS["scenes"]
    model, run = world.model(), prepare(world)
    document = {"kind": "padecast comfy cost", "model": "scenes", "provenance": provenance()}
    write(
        FILE,
        document
        | {
            "memory": measure_memory(model, run),
            "time": measure_time(model, run, models.build(models.FLUX), options.pairs),
        },
    )


if __name__ == "__main__":
    main()
