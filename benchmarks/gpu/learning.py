"""What it costs to learn from a run: a step's projection, and a whole run that teaches."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

import padecast
from benchmarks.cost.models import DEVICE, Case
from benchmarks.cost.steps import time_run
from padecast.lessons.collector import Collector

Row = dict[str, Any]
LATENTS = {
    "FLUX, 1024 x 1024": (1, 4096, 64),
    "Wan, 480 x 832 x 33": (1, 16, 9, 60, 104),
    "Wan, 480 x 832 x 81": (1, 16, 21, 60, 104),
}


def measure_note(name: str, repeats: int) -> Row:
    """Time what is done with the output of one step."""
    shape = LATENTS[name]
    output = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(DEVICE, torch.bfloat16)
    collector = Collector(2)
    collector.note(0, "guided", output)
    seconds = median(time_run(lambda: collector.note(1, "guided", output)) for _ in range(repeats))
    return {"latents": name, "shape": list(shape), "dtype": "bfloat16", "seconds": seconds}


def measure_teaching(case: Case, repeats: int) -> Row:
    """Time runs that teach beside uncached ones, made in turn, and the run that follows what was taught."""
    computed = max(2, 2 * case.steps // 5)
    times: dict[str, list[float]] = {"uncached": [], "teaching": [], "following": []}
    for _ in range(repeats):
        times["uncached"].append(time_run(case))
        with (
            TemporaryDirectory() as folder,
            padecast.accelerate(case.target, "learned", computed=computed, measure=False, lessons=Path(folder)) as run,
        ):
            times["teaching"].append(time_run(case))
            taught = run.report
            times["following"].append(time_run(case))
            followed = run.report
    plain, teaching, following = (median(each) for each in times.values())
    return {
        "model": case.name,
        "about": case.about,
        "repeats": repeats,
        "all_seconds": times,
        "teaching_over_uncached": teaching / plain,
        "speedup": plain / following,
        "plans": [taught.plan, followed.plan],
        "remarks": [str(taught), str(followed)],
    }
