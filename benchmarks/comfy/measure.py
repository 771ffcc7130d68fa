"""What to forecast in ComfyUI, and with which weights for which sampler: results/comfy.json.

    python -m benchmarks.comfy.measure                     # both models: about ten minutes on one core
    python -m benchmarks.comfy.measure scenes --seeds 16

The demo models run in ComfyUI's own classes with ComfyUI's samplers; python tools/comfy.py fetches these. Every way is
compared with the images of the same sampler with all steps computed. One plan of 8 of 20 steps, that of tc-pade, is
forecast with several weights, and adaptive chooses its own. What is in the result file already is not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from tests.comfy import demos, engine, models
from torch import Tensor

from benchmarks.common import RESULTS, Document, captions, progress, provenance, read, write
from padecast import Report, forecasters, lab
from padecast.integrations import comfy
from padecast.integrations.comfy.settings import PREDICTIONS
from padecast.policies import Spaced

FILE, STEPS, FIRST = "comfy.json", 20, 20_000
SAMPLERS = ("euler", "dpmpp_2m")
WAYS = {
    "repetition": {"policy": Spaced(every=3.0), "forecaster": forecasters.Reuse()},
    "lines": {"policy": Spaced(every=3.0), "forecaster": forecasters.Lagrange(1)},
    "tc-pade": {"policy": Spaced(every=3.0), "forecaster": forecasters.TCPade()},
    "adaptive": {"method": "adaptive:tolerance=0.003"},
}


class World(NamedTuple):
    """A demo model in ComfyUI.

    Args:
        model: Builds it.
        encode: Makes conditioning of a caption.
        shape: Of its latents.
        kind: Of ComfyUI's classes.
        cfg: Guidance scale of the sampler.
        show: Decodes latents.
        seeds: How many are measured.
    """

    model: Callable[[], Any]
    encode: Callable[[str], models.Conditioning]
    shape: tuple[int, ...]
    kind: models.Kind
    cfg: float
    show: Callable[[Tensor], Tensor]
    seeds: int


WORLDS = {
    "scenes": World(demos.scenes, demos.encode_scene, (4, 16, 16), models.FLUX, 1.0, demos.show_scene, 4),
    "motion": World(demos.motion, demos.encode_clip, (16, 5, 8, 8), models.WAN, 3.0, demos.show_clip, 3),
}


def draw(world: World, model: Any, sampler: str, prompt: str, seed: int) -> tuple[Tensor, Report | None]:
    """Return the picture of a caption, and the report of its run."""
    noise = models.draw_noise(world.kind, seed, shape=world.shape)
    run = models.Run(
        world.kind,
        sampler,
        steps=STEPS,
        cfg=world.cfg,
        positive=world.encode(prompt),
        negative=world.encode(""),
        noise=noise,
        seed=seed,
    )
    return world.show(demos.latents_of(model, models.sample(model, run))), comfy.report_of(model)


def entries(done: set[tuple[str, ...]]) -> Iterator[tuple[str, str, str]]:
    """Return what is missing: sampler, what is forecast, and the way."""
    for sampler in SAMPLERS:
        for prediction in PREDICTIONS:
            for way in WAYS:
                if (sampler, prediction, way) not in done:
                    yield sampler, prediction, way


def measure(name: str, count: int, document: Document, source: Document) -> None:
    """Measure what is missing of a model, and write it row by row."""
    world = WORLDS[name]
    done = {(row["sampler"], row["prediction"], row["way"]) for row in document["rows"] if row["model"] == name}
    missing = list(entries(done))
    if not missing:
        return
    model, prompts = world.model(), captions(name, count, held_out=True)
    seeds = tuple(range(FIRST, FIRST + count))
    references: dict[str, Tensor] = {}
    with progress(len(missing), name) as tell:
        for sampler, prediction, way in missing:
            if sampler not in references:
                plain = [draw(world, model, sampler, *each)[0] for each in zip(prompts, seeds, strict=True)]
                references = {sampler: torch.cat(plain)}
            attached = comfy.attach(model, prediction=prediction, **WAYS[way])
            drawn = [draw(world, attached, sampler, *each) for each in zip(prompts, seeds, strict=True)]
            scores = lab.psnr(torch.cat([picture for picture, _ in drawn]), references[sampler]).clamp_max(100.0)
            computed = [report.computed for _, report in drawn if report is not None]
            spread = lab.Spread.of(scores)
            row = {"model": name, "sampler": sampler, "prediction": prediction, "way": way, "seeds": count}
            row |= {"computed": round(sum(computed) / count, 2)}
            row |= {each: round(getattr(spread, each), 2) for each in ("mean", "p5", "worst")}
            document["rows"].append(row)
            write(FILE, {**document, "provenance": source})
            tell(f"{sampler}, {prediction}, {way}: {row['mean']:.1f} dB")


def main() -> None:
    """Measure the models asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", choices=[[], *WORLDS], default=[])
    parser.add_argument("--seeds", type=int, help="unseen seeds and captions; 4 of scenes and 3 of motion if not given")
    options = parser.parse_args()
    if missing := engine.reason():
        raise SystemExit(missing)
    document = {"kind": "padecast comfy", "steps": STEPS}
    document |= {"rows": read(FILE)["rows"] if (RESULTS / FILE).is_file() else []}
    source = provenance()
    for name in options.models or WORLDS:
        measure(name, options.seeds or WORLDS[name].seeds, document, source)


if __name__ == "__main__":
    main()
