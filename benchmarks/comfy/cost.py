"""What padecast costs in ComfyUI, with the demo model scenes: results/comfy-cost.json.

    python -m benchmarks.comfy.cost              # five minutes on one core

Processor time: runs with all steps computed, with the node on and without it, in turns; the ratio of each pair, and the
median of the ratios. Memory: bytes of all tensors alive before the last step, with a plan of 8 of 20 steps less without
padecast, beside what the report says; and what is left after the run.
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

FILE, PAIRS, BATCH = "comfy-cost.json", 21, 4
ALL, PLAN = "plan:steps=" + "C" * STEPS, "plan:steps=CCC.C.C..C....C...C."


def prepare(world: World, batch: int) -> models.Run:
    """Return a run of a few pictures."""
    case = cases(world, 1)[0]
    noise = models.draw_noise(world.kind, case.seed, batch=batch, shape=world.shape)
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


def measure_time(model: Any, run: models.Run, pairs: int) -> Document:
    """Return the share of a step that the node adds where all steps are computed."""
    attached, ratios, plain = comfy.attach(model, policy=ALL), [], []
    for each in (model, attached):
        models.sample(each, run)
    with progress(pairs, "time") as tell:
        for place in range(pairs):
            order = (model, attached) if place % 2 else (attached, model)
            seconds = {id(each): time_run(each, run) for each in order}
            ratios.append(seconds[id(attached)] / seconds[id(model)])
            plain.append(seconds[id(model)])
            tell(f"{ratios[-1]:.3f}")
    low, _, high = quantiles(ratios, n=4)
    values = {"pairs": pairs, "batch": BATCH, "step": median(plain) / STEPS}
    return values | {"share": median(ratios) - 1, "quartiles": [low - 1, high - 1]}


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
    model, run = world.model(), prepare(world, BATCH)
    document = {"kind": "padecast comfy cost", "model": "scenes", "provenance": provenance()}
    write(FILE, document | {"memory": measure_memory(model, run), "time": measure_time(model, run, options.pairs)})


if __name__ == "__main__":
    main()
