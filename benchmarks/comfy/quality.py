"""padecast in ComfyUI beside ComfyUI's own EasyCache and LazyCache, and beside fewer steps: results/comfy-quality.json.

    python -m benchmarks.comfy.quality                              # an hour on one core
    python -m benchmarks.comfy.quality scenes:matched --seeds 8

The demo models run in ComfyUI's own classes, with its sampler euler and its scheduler simple, 20 steps, one picture a
run. Every way is compared with the picture of the same seed with all steps computed. EasyCache and LazyCache look at
every eighth number of the latents along either side, which of the demo models' small latents leaves four places; so
they are measured as their nodes have it, and looking at all, as many as they see of FLUX at 1024 x 1024. What is in the
result file already is not measured again.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import Any

from tests.comfy import engine
from torch import Tensor

import padecast.lessons
from benchmarks import common
from benchmarks.comfy.worlds import FIRST, STEPS, WORLDS, Case, World, cases, draw_all
from benchmarks.common import CALLS, RESULTS, Document, captions, hush, progress, provenance, read, write
from padecast import Calibration, lab, zoo
from padecast.integrations import comfy
from padecast.zoo import worlds

FILE, SEEDS = "comfy-quality.json", 32
COMPUTED = (6, 8, 10)
THRESHOLDS = (0.05, 0.1, 0.2)
"""Of EasyCache and LazyCache; 0.2 is the default of their nodes."""
TOLERANCES = (0.001, 0.003)
"""Of adaptive, beside its default."""
FACTORS = {"": 1, ", every eighth": 8}
"""Of which numbers of the latents along either side EasyCache and LazyCache look at one; their nodes at the eighth."""
DEVELOPMENT = 1000
"""First seed of what teaches and calibrates, which is never measured."""
SHIPPED = {"scenes": ("scenes", "20"), "motion": ("motion", "20")}
"""Worlds whose calibration ships; others are calibrated here, quickly."""
RUNS = {"learned": 1, "learned of 4 runs": 4}
"""Of how many runs lessons are."""


def ways() -> dict[str, Document]:
    """Return what is measured, by name."""
    entries: dict[str, Document] = {f"fewer steps, {count}": {"steps": count} for count in COMPUTED}
    for name, (ending, factor), threshold in itertools.product(("EasyCache", "LazyCache"), FACTORS.items(), THRESHOLDS):
        way = {"cache": name, "threshold": threshold, "factor": factor}
        entries[f"{name}, {threshold:g}{ending}"] = way
    entries |= {"adaptive": {"method": "adaptive"}}
    entries |= {f"adaptive, {each:g}": {"method": f"adaptive:tolerance={each:g}"} for each in TOLERANCES}
    entries |= {"tc-pade": {"method": "tc-pade:every=3"}}
    for name in ("adaptive", "tc-pade"):
        entries[f"{name}, nothing paid back"] = {**entries[name], "amend": False}
    entries |= {
        f"{name}, {count}": {"learned": count, "runs": runs} for name, runs in RUNS.items() for count in COMPUTED
    }
    entries |= {f"calibrated, {count}": {"calibrated": count} for count in COMPUTED}
    return entries


def add_cache(model: Any, name: str, threshold: float, factor: int) -> Any:
    """Return a model with one of ComfyUI's own caches, as its node puts it on, that looks at one of so many numbers."""
    node = getattr(engine.nodes("nodes_easycache"), f"{name}Node")
    cached = node.execute(model, threshold, 0.15, 0.95, False).args[0]
    cached.model_options["transformer_options"]["easycache"].subsample_factor = factor
    return cached


@contextmanager
def watch(model: Any) -> Iterator[list[float]]:
    """Gather the noise levels at which blocks run; both of ComfyUI's caches leave blocks out."""
    network, last, levels = model.model.diffusion_model, [0.0], []
    blocks = network.double_blocks if hasattr(network, "double_blocks") else network.blocks

    def note(module: Any, inputs: tuple[Any, ...]) -> None:
        last[0] = float(inputs[1].flatten()[0])

    handles = [
        network.register_forward_pre_hook(note),
        blocks[0].register_forward_pre_hook(lambda *_: levels.append(last[0])),
    ]
    try:
        yield levels
    finally:
        for handle in handles:
            handle.remove()


def calibrate(name: str) -> Calibration:
    """Return the calibration of a world: that which ships, or a quick one of diffusers' pipeline."""
    if name in SHIPPED:
        return zoo.calibration(*SHIPPED[name])
    model, pipe = name.partition(":")[0], hush(zoo.load(name))
    call = lab.Sampling(
        captions(model, 64, held_out=False), **{**CALLS[model], "guidance": worlds.WORLDS[name].guidance}
    )
    seeds = tuple(range(DEVELOPMENT, DEVELOPMENT + 64))
    return common.calibrate(lab.Task(pipe, call, STEPS, seeds, 8, name=name), COMPUTED, "quick")


def attach(name: str, model: Any, way: Document, parts: Document) -> Any:
    """Return the model as a way has it."""
    if "cache" in way:
        return add_cache(model, way["cache"], way["threshold"], way["factor"])
    if "learned" in way:
        return comfy.attach(model, "learned", computed=way["learned"], lessons=parts["lessons"][way["runs"]])
    if "calibrated" in way:
        if "calibration" not in parts:
            parts["calibration"] = calibrate(name)
        return comfy.attach(model, parts["calibration"], computed=way["calibrated"])
    return comfy.attach(model, way["method"], amend=way.get("amend", True)) if "method" in way else model


def run(world: World, model: Any, drawn: tuple[Case, ...], way: Document) -> tuple[Tensor, float]:
    """Return the pictures of a way, and its computed steps in the mean."""
    steps = way.get("steps", STEPS)
    if "cache" not in way:
        pictures, reports = draw_all(world, model, drawn, steps=steps)
        return pictures, fmean(report.computed for report in reports) if reports else steps
    with watch(model) as levels:
        pictures, _ = draw_all(world, model, drawn)
    # Conditionings at one level are called together or one by one, as memory allows.
    return pictures, sum(1 for _ in itertools.groupby(levels)) / len(drawn)


def measure(name: str, count: int, document: Document, source: Document) -> None:
    """Measure what is missing of a world, and write it row by row."""
    world, present = WORLDS[name], {row["way"] for row in document["rows"] if row["world"] == name}
    missing = {key: way for key, way in ways().items() if key not in present}
    if not missing:
        return
    model, drawn = world.model(), cases(world, count)
    reference, _ = draw_all(world, model, drawn)
    parts: Document = {"lessons": {runs: padecast.lessons.Library(False) for runs in RUNS.values()}}
    for runs in {way["runs"] for way in missing.values() if "learned" in way}:
        method = f"learned:runs={runs}"
        teacher = comfy.attach(model, method, computed=COMPUTED[0], lessons=parts["lessons"][runs])
        draw_all(world, teacher, cases(world, runs, DEVELOPMENT, held_out=False))
    with progress(len(missing), name) as tell:
        for key, way in missing.items():
            pictures, computed = run(world, attach(name, model, way, parts), drawn, way)
            scores = lab.psnr(pictures, reference).clamp_max(100.0)
            spread = lab.Spread.of(scores)
            row = {"world": name, "way": key, "seeds": count, "computed": round(computed, 2)}
            row |= {each: round(getattr(spread, each), 2) for each in ("mean", "p5", "worst")}
            row |= {"each": [round(score, 2) for score in scores.tolist()]}
            document["rows"].append(row)
            write(FILE, {**document, "provenance": source})
            tell(f"{key}: {row['mean']:.1f} dB at {row['computed']:g}")


def main() -> None:
    """Measure the worlds asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("worlds", nargs="*", choices=[[], *WORLDS], default=[])
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"unseen seeds and captions (default {SEEDS})")
    options = parser.parse_args()
    if missing := engine.reason():
        raise SystemExit(missing)
    document = {"kind": "padecast comfy quality", "steps": STEPS, "first": FIRST, "sampler": "euler"}
    document |= {"rows": read(FILE)["rows"] if (RESULTS / FILE).is_file() else []}
    for name in options.worlds or WORLDS:
        measure(name, options.seeds, document, provenance())


if __name__ == "__main__":
    main()
