"""What to forecast in ComfyUI, and with which weights for which sampler: results/comfy.json.

    python -m benchmarks.comfy.measure                     # both models: about ten minutes on one core
    python -m benchmarks.comfy.measure scenes --seeds 16

The demo models run in ComfyUI's own classes with ComfyUI's samplers; python tools/comfy.py fetches these. Every way is
compared with the images of the same sampler with all steps computed. One plan of 8 of 20 steps, that of tc-pade, is
forecast with several weights, and adaptive chooses its own. What is in the result file already is not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from tests.comfy import engine
from torch import Tensor

from benchmarks.comfy.worlds import STEPS, WORLDS, cases, draw_all
from benchmarks.common import RESULTS, Document, progress, provenance, read, write
from padecast import forecasters, lab
from padecast.integrations import comfy
from padecast.integrations.comfy.settings import PREDICTIONS
from padecast.policies import Spaced

FILE = "comfy.json"
SAMPLERS = ("euler", "dpmpp_2m")
WAYS = {
    "repetition": {"policy": Spaced(every=3.0), "forecaster": forecasters.Reuse()},
    "lines": {"policy": Spaced(every=3.0), "forecaster": forecasters.Lagrange(1)},
    "tc-pade": {"policy": Spaced(every=3.0), "forecaster": forecasters.TCPade()},
    "adaptive": {"method": "adaptive:tolerance=0.003"},
}


SEEDS = {"scenes": 4, "motion": 3}
"""How many are measured unless told."""


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
    model, drawn = world.model(), cases(world, count)
    references: dict[str, Tensor] = {}
    with progress(len(missing), name) as tell:
        for sampler, prediction, way in missing:
            if sampler not in references:
                references = {sampler: draw_all(world, model, drawn, sampler)[0]}
            attached = comfy.attach(model, prediction=prediction, **WAYS[way])
            pictures, reports = draw_all(world, attached, drawn, sampler)
            spread = lab.Spread.of(lab.psnr(pictures, references[sampler]).clamp_max(100.0))
            row = {"model": name, "sampler": sampler, "prediction": prediction, "way": way, "seeds": count}
            row |= {"computed": round(sum(report.computed for report in reports) / count, 2)}
            row |= {each: round(getattr(spread, each), 2) for each in ("mean", "p5", "worst")}
            document["rows"].append(row)
            write(FILE, {**document, "provenance": source})
            tell(f"{sampler}, {prediction}, {way}: {row['mean']:.1f} dB")


def main() -> None:
    """Measure the models asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", choices=[[], *SEEDS], default=[])
    parser.add_argument("--seeds", type=int, help="unseen seeds and captions; 4 of scenes and 3 of motion if not given")
    options = parser.parse_args()
    if missing := engine.reason():
        raise SystemExit(missing)
    document = {"kind": "padecast comfy", "steps": STEPS}
    document |= {"rows": read(FILE)["rows"] if (RESULTS / FILE).is_file() else []}
    source = provenance()
    for name in options.models or SEEDS:
        measure(name, options.seeds or SEEDS[name], document, source)


if __name__ == "__main__":
    main()
