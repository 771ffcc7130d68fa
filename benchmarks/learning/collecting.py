"""What it costs to listen to a run: results/collecting.json.

    python -m benchmarks.learning.collecting     # five minutes on a core

Uncached runs in turns, in one process, by processor time: of the pipeline alone, of a handle that computes every step,
and of one that learns besides, with the hash of the model's weights before the run and the look at its end. And what
hearing one step of a video takes, of two branches and of what the sampler is given, without any model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from benchmarks.common import provenance, write
from benchmarks.learning.measure import Bench
from padecast import accelerate
from padecast._steps import Position
from padecast.lessons import Library
from padecast.lessons.analytic import make_noise
from padecast.lessons.teacher import Teacher
from padecast.methods import method
from padecast.policies import Always

WORLDS = {"scenes:as-flux": 20, "motion:as-wan": 6}
"""Steps of a run of each."""
VIDEO = (1, 16, 21, 60, 104)
"""Latents of Wan 2.1 at 480 x 832 pixels and 81 frames."""
STEPS = 20


def spend(act: Callable[[], Any]) -> float:
    """Return the processor time that something takes, in seconds."""
    begin = time.process_time()
    act()
    return time.process_time() - begin


def compare(name: str, steps: int, turns: int) -> dict[str, Any]:
    """Measure runs with and without collecting, in turns."""
    bench, whole = Bench(name, [0]), replace(method("learned"), policy=Always())
    held: list[int] = []

    def draw() -> None:
        bench.draw([0], steps, bench.shift)

    def attach() -> None:
        with accelerate(bench.pipe, whole):
            draw()

    def collect() -> None:
        with accelerate(bench.pipe, "learned", lessons=Library(False)) as run:
            draw()
            assert run.report.forecast == 0 and any("taught" in remark for remark in run.report.remarks)

    close = Teacher.close

    def close_and_weigh(teacher: Teacher) -> None:
        held.append(teacher.nbytes)
        close(teacher)

    Teacher.close = close_and_weigh  # type: ignore[method-assign]
    try:
        ways = {"alone": draw, "attached": attach, "collecting": collect}
        for way in ways.values():
            way()
        rounds = [{name: spend(way) for name, way in ways.items()} for _ in range(turns)]
    finally:
        Teacher.close = close  # type: ignore[method-assign]
    row = {
        "world": name,
        "steps": steps,
        "turns": turns,
        "seconds": {name: [round(each[name], 4) for each in rounds] for name in ways},
        "share": round(median(each["collecting"] / each["attached"] - 1 for each in rounds), 4),
        "whole": round(median(each["collecting"] / each["alone"] - 1 for each in rounds), 4),
        "bytes": max(held),
    }
    print(row, flush=True)
    return row


def hear_video() -> dict[str, Any]:
    """Measure how long the first step and later ones of a video are listened to, and what is held in the end."""
    noise = make_noise(STEPS)
    teacher = Teacher(noise, tuple(1000 * s for s in noise.sigmas[:-1]), 0, lambda look: None)
    outputs = [torch.randn(VIDEO, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]

    def hear(at: Position) -> None:
        for branch, output in zip(("cond", "uncond"), outputs, strict=False):
            teacher.hear(branch, at, (output,), (output,))
        teacher.hear_guided(at, outputs[2], computed=True)

    seconds = [spend(lambda index=index: hear(Position.at(index, STEPS))) for index in range(STEPS - 1)]  # type: ignore[misc]
    size = teacher.nbytes
    last = spend(lambda: hear(Position.at(STEPS - 1, STEPS)))
    row = {
        "numbers": outputs[0].numel(),
        "first": round(seconds[0], 4),
        "later": round(median(seconds[1:]), 5),
        "last": round(last, 4),
        "mean": round((sum(seconds) + last) / STEPS, 5),
        "bytes": size,
    }
    print(row, flush=True)
    return row


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=9)
    turns = parser.parse_args().turns
    torch.set_num_threads(1)
    document: dict[str, Any] = {"kind": "padecast collecting", "provenance": provenance(), "runs": []}
    document["video"] = hear_video()
    for name, steps in WORLDS.items():
        document["runs"].append(compare(name, steps, turns))
        write("collecting.json", document)


if __name__ == "__main__":
    main()
