"""Plan, report and images of everything that can be asked for, to be the same after the code was moved about.

    python tests/portraits.py record portraits.json     # some ten minutes
    python tests/portraits.py compare portraits.json    # the same, and says what differs; exits 1 if anything does

Every method, every forecaster and every policy with its defaults, and every calibration that ships, on the demo models
at their usual and in their matched settings. Images are compared by hash: bit for bit, on one machine with one torch.
It imports public names alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

import padecast
from padecast import forecasters, methods, policies, zoo

STEPS = 8
PLAN = "plan:steps=CC..C..C"
WORLDS = ("digits", "digits:matched", "scenes", "scenes:matched", "motion", "motion:matched")
CALIBRATIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("digits", "easy", {"guidance_scale": 3.0, "shift": 1.0}),
    ("digits", "hard", {"guidance_scale": 5.0, "shift": 3.0}),
    ("scenes", "20", {"guidance_scale": 3.5}),
    ("motion", "20", {"guidance_scale": 3.0}),
)
PROMPTS = {
    "scenes": ["a large red circle left of a small blue square"],
    "motion": ["a large red star moving left"],
}
CLOCKS = ("seconds", "time", "speed", "share")
"""Words in the names of what a report measures with a clock."""
Portrait = dict[str, Any]


def sample(pipe: Any, model: str, steps: int = STEPS, **options: Any) -> torch.Tensor:
    """Draw one seed."""
    options |= {"num_inference_steps": steps, "generator": torch.Generator().manual_seed(7), "output_type": "pt"}
    if model == "digits":
        output = pipe([3], **options)
    else:
        output = pipe(PROMPTS[model], max_sequence_length=32, **options)
    return torch.as_tensor(output.images if hasattr(output, "images") else output.frames)


def told(value: Any) -> Any:
    """Return a report without what a clock measured."""
    if isinstance(value, dict):
        return {key: told(of) for key, of in value.items() if not any(word in key for word in CLOCKS)}
    return [told(of) for of in value] if isinstance(value, list) else value


def portrait(pipe: Any, model: str, run: Callable[[], Any], **options: Any) -> Portrait:
    """Return plan, report and hash of a run; the error where it cannot be."""
    try:
        with run() as handle:
            images = sample(pipe, model, **options)
            report = handle.report
    except padecast.PadecastError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    digest = hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()
    return {"plan": report.plan, "report": told(report.to_dict()), "images": digest}


def asked(pipe: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give the name and the run of everything that is made of registered parts."""
    for name in sorted(methods.REGISTRY):
        yield f"method {name}", partial(padecast.accelerate, pipe, name)
    for name in sorted(forecasters.REGISTRY):
        for span in ("full", "output"):
            run = partial(padecast.accelerate, pipe, policy=PLAN, forecaster=name, span=span)
            yield f"forecaster {name}, {span}", run
    for name in sorted(policies.REGISTRY):
        policy = PLAN if name == "plan" else name
        yield f"policy {name}", partial(padecast.accelerate, pipe, policy=policy, forecaster="lagrange")


def portraits() -> dict[str, Portrait]:
    """Return everything."""
    found: dict[str, Portrait] = {}
    for world in WORLDS:
        model, pipe = world.partition(":")[0], zoo.load(world)
        pipe.set_progress_bar_config(disable=True)
        uncached = hashlib.sha256(sample(pipe, model).contiguous().numpy().tobytes()).hexdigest()
        found[f"{world}: uncached"] = {"images": uncached}
        for name, run in asked(pipe):
            found[f"{world}: {name}"] = portrait(pipe, model, run)
            print(f"{world}: {name}", file=sys.stderr, flush=True)
    for model, setting, options in CALIBRATIONS:
        pipe, made = zoo.load(model), zoo.calibration(model, setting)
        pipe.set_progress_bar_config(disable=True)
        for computed in made.budgets:
            name = f"calibration {model} {setting}, {computed}"
            found[name] = portrait(
                pipe, model, partial(padecast.accelerate, pipe, made, computed=computed), steps=20, **options
            )
            print(name, file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Record to a file, or compare with it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(json.dumps(portraits()))
    if options.what == "record":
        options.file.write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")
        return
    before = json.loads(options.file.read_text(encoding="utf-8"))
    different = [name for name in before if found.get(name) != before[name]]
    for name in different:
        print(f"{name}:\n  before {before[name]}\n  now    {found.get(name)}")
    print(f"{len(before) - len(different)} of {len(before)} are the same")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
