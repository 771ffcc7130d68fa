"""How like real models the demo worlds are: results/ladder.json, world by world, and its page docs/ladder.md.

    python -m benchmarks.worlds.ladder                       # measures what is not there yet, and writes the page
    python -m benchmarks.worlds.ladder scenes:as-flux        # one world
    python -m benchmarks.worlds.ladder --page                # the page and its picture alone
    python -m benchmarks.worlds.ladder --check               # fails if the page is not what the result file says

Of every world: PSNR of plain fewer steps, of repetition and of a line on one dense plan, of repetition behind a gate
and of TaylorSeer at about as many steps; how far the output changes from step to step; and what an error of one step
leaves in the final latents. Seeds are those of benchmarks.worlds.runs, on which nothing was chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import DOCS, RESULTS, Document, provenance, publish, read, render, write
from benchmarks.worlds.pictures import draw_ladder
from benchmarks.worlds.runs import PLANS, STEPS, load, run
from padecast import zoo
from padecast._intercept import Intercept
from padecast._noise import noise_of
from padecast.forecasters import Lagrange, Reuse, Taylor
from padecast.lab.kit import ladder
from padecast.policies import Interval, Plan, Policy, Sea
from padecast.zoo.worlds import WORLDS

PUSHES = (1, 2, 4, 7, 10, 13, 16, 18, 19)
"""Steps at which an error is put."""
USUAL = {
    "digits": {"guidance_scale": 5.0, "shift": 3.0},
    "scenes": {"guidance_scale": 3.5},
    "motion": {"guidance_scale": 3.0},
}
ORDER = (*USUAL, *WORLDS)


@dataclass
class Recorder:
    """Sees what the sampler is given, and puts one step's output in place of the next one's where it is told to.

    Args:
        repeat: The step that repeats the one before; none by default.
    """

    repeat: int | None = None

    def __post_init__(self) -> None:
        self.outputs: list[Tensor] = []
        self.error = torch.zeros(())
        self.final = torch.zeros(())

    def step(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Stand around the scheduler's step."""
        output, *others = args
        if len(self.outputs) == self.repeat:
            self.error = (self.outputs[-1] - output).flatten(1).norm(dim=1)
            output = self.outputs[-1]
        self.outputs.append(output.clone())
        result = method(output, *others, **kwargs)
        self.final = result[0] if isinstance(result, tuple) else result.prev_sample
        return result


def record(pipe: Any, draw: Callable[..., Tensor], repeat: int | None = None, **options: float) -> Recorder:
    """Return what was seen of an uncached run."""
    recorder = Recorder(repeat)
    hook = Intercept(pipe.scheduler, "step", recorder.step).install()
    try:
        draw(**options)
    finally:
        hook.remove()
    return recorder


def measure(world: str) -> Document:
    """Return the row of a world."""
    model, _, setting = world.partition(":")
    pipe, draw = load(model, zoo.load(world))
    options = {} if setting else USUAL[model]
    uncached = draw(**options)
    ways = psnr_of_ways(pipe, draw, uncached, options)
    base = record(pipe, draw, **options)
    noise = noise_of(pipe.scheduler, base.outputs[0][0].numel())
    assert noise is not None
    changes = [
        float(((after - before).abs().flatten(1).sum(1) / before.abs().flatten(1).sum(1)).mean())
        for before, after in zip(base.outputs, base.outputs[1:], strict=False)
    ]
    gains = {}
    for index in PUSHES:
        other = record(pipe, draw, index, **options)
        error = (other.final - base.final).flatten(1).norm(dim=1)
        gains[str(index)] = round(float((error / other.error).mean() / noise.sigmas[index]), 4)
    return {"world": world, "seeds": len(uncached), **ways, "change": [round(c, 4) for c in changes], "gain": gains}


def psnr_of_ways(pipe: Any, draw: Callable[..., Tensor], uncached: Tensor, options: dict[str, Any]) -> Document:
    """Return PSNR of every sample by way."""

    def call(steps: int = STEPS) -> Tensor:
        return draw(steps, **options)

    def compare(images: Tensor) -> list[float]:
        errors = (images - uncached).float().square().flatten(1).mean(1).clamp_min(1e-10)
        return [round(float(value), 2) for value in -10 * errors.log10()]

    plan = Plan.at(PLANS[10], STEPS)
    ways: dict[str, tuple[Policy, Any]] = {
        "repetition": (plan, Reuse()),
        "line": (plan, Lagrange()),
        "taylorseer": (Interval(every=3, warmup=3), Taylor()),
    }
    rows: Document = {"fewer": compare(call(STEPS // 2)), "computed": {}}
    for way, (policy, forecaster) in ways.items():
        images, report = run(pipe, call, policy, forecaster)
        rows[way] = compare(images)
        rows["computed"][way] = report.computed
    images, report = turn_gate(pipe, call, rows["computed"]["taylorseer"])
    return {**rows, "gated": compare(images), "computed": {**rows["computed"], "gated": report.computed}}


def turn_gate(pipe: Any, call: Callable[[], Tensor], count: int) -> tuple[Tensor, Any]:
    """Return a run of repetition behind SeaCache's gate that computes about so many steps, and no more if it can be."""
    low, high = 0.02, 2.0
    best: tuple[Tensor, Any] | None = None
    for _ in range(6):
        middle = (low * high) ** 0.5
        images, report = run(pipe, call, Sea(threshold=middle), Reuse())
        if best is None or abs(report.computed - count) < abs(best[1].computed - count):
            best = images, report
        if report.computed == count:
            break
        low, high = (middle, high) if report.computed > count else (low, middle)
    assert best is not None
    return best


def summarize(row: Document) -> Document:
    """Return what a line of the table says of a world, and which lines of real models it meets."""
    mean = {way: float(np.mean(row[way])) for way in ("repetition", "line", "taylorseer", "gated")}
    half = float(np.mean(row["fewer"]))
    above, gain = mean["repetition"] - half, mean["line"] - mean["repetition"]
    behind = mean["taylorseer"] - mean["gated"]
    gains = list(row["gain"].values())
    return {
        "world": row["world"],
        "seeds": row["seeds"],
        "half": half,
        "above": above,
        "line": gain,
        "taylor": behind,
        "computed": row["computed"],
        "change": row["change"],
        "gain": row["gain"],
        "gains": [gains[0], gains[len(gains) // 2], gains[-1]],
        "spread": float(np.std(row["repetition"], ddof=1)),
        "met": ladder.judge(half, above, gain, behind),
    }


def compose(document: Document) -> str:
    """Return the page."""
    rows = {row["world"]: summarize(row) for row in document["rows"]}
    ordered = [rows[world] for world in ORDER if world in rows]
    published = ladder.read_published()
    parts = [part for part in published.values() if not isinstance(part, str)]
    sources = [row["source"] for part in parts for row in (part if isinstance(part, list) else [part])]
    return render(
        "worlds/ladder.md.jinja",
        rows=ordered,
        document=document,
        published=published,
        sources=dict.fromkeys(source.partition(":")[0] for source in sources),
        pairs=zip,
        follow=follow,
    )


def follow(law: Document) -> str:
    r"""Write a published law of gains, over the noise level, at step 1, in the middle and at the last of 50 steps.

    .. math:: g(k) = a \left( \frac{T - 1 - k}{T - 1} \right)^\alpha + b
    """
    steps = np.array([1, 25, 49])
    sigmas = 1 - steps / 50
    levels = law["shift"] * sigmas / (1 + (law["shift"] - 1) * sigmas)
    return " / ".join(f"{g:.2f}" for g in (law["a"] * ((49 - steps) / 49) ** law["alpha"] + law["b"]) / levels)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("worlds", nargs="*", choices=[*ORDER, []], help="all by default")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result file says")
    options = parser.parse_args()
    path = RESULTS / "ladder.json"
    document: Document = read(path.name) if path.is_file() else {"kind": "padecast ladder", "rows": []}
    if not options.page and not options.check:
        for world in options.worlds or ORDER:
            if world in options.worlds or all(row["world"] != world for row in document["rows"]):
                print(world, flush=True)
                rows = [row for row in document["rows"] if row["world"] != world] + [measure(world)]
                document = {**document, "provenance": provenance(), "rows": rows}
                write(path.name, document)
    if not options.check:
        summaries = {row["world"]: summarize(row) for row in document["rows"]}
        draw_ladder(summaries, ladder.read_published(), DOCS / "images" / "ladder.png")
    publish({DOCS / "ladder.md": compose(document)}, check=options.check)


if __name__ == "__main__":
    main()
