"""The papers' statements in matched settings: results/claims-matched-PART.json, eight seeds at a time.

    python -m benchmarks.claims.measure                      # every part, as many seeds as its verdict asks for
    python -m benchmarks.claims.measure --seeds 8 --parts rational spans --settings digits:matched

Rows that a result file holds already are not measured again, so that an interrupted run is gone on with by the same
command. Parts:

predict    the residual and the output of the stack, forecast from recorded features, 1 to 4 steps ahead
rational   Padé and Taylor on equal plans, published and dense
spans      the whole stack and parts of it, on the same plans
threshold  tc-pade-fast at several thresholds of its stability rule
steps      TaylorSeer with its warm-up and interval in runs of 10 to 50 steps
fifty      Spectrum and TaylorSeer at 14 and at 10 computed of 50 steps
intervals  forecasters on every 2nd to every 6th step

A run that several parts need is drawn once. PSNR is that to the uncached image of the same seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from torch import Tensor

from benchmarks.claims.features import forecast, record
from benchmarks.claims.rows import FIRST, ROWS, SEEDS, SETTINGS, STEPS, Row
from benchmarks.common import RESULTS, Document, captions, provenance, read
from benchmarks.worlds.runs import load, run
from padecast import files, lab, zoo
from padecast.lab.scores import Judged, Score, digits, scenes
from padecast.targets import HIDDEN, Target, register

BATCH = 8
BY_BATCH, BY_SAMPLE = ("computed", "plans"), ("psnr", "read")


class Samples:
    """Eight samples of a setting, each way of drawing them drawn once.

    Args:
        setting: A demo model in a setting, as ``padecast.zoo.load`` knows it.
        seeds: Of the samples.
    """

    def __init__(self, setting: str, seeds: Sequence[int]) -> None:
        self.model, self.seeds = setting.partition(":")[0], tuple(seeds)
        self.pipe, self.draw = load(self.model, pipeline(setting), self.seeds)
        self.drawn: dict[str, tuple[Tensor, str]] = {}

    def images(self, row: Row) -> tuple[Tensor, str]:
        """Return the images of a row, and the plan that it followed."""
        if row.recipe not in self.drawn:
            self.drawn[row.recipe] = self._draw(row)
        return self.drawn[row.recipe]

    def _draw(self, row: Row) -> tuple[Tensor, str]:
        draw = partial(self.draw, row.steps)
        if row.policy is None or row.forecaster is None:
            return draw(), "C" * row.steps
        images, report = run(self.pipe, draw, row.policy, row.forecaster, row.span)
        return images, str(report.plan)

    def measure(self, row: Row) -> Document:
        """Return what is measured of a row."""
        images, plan = self.images(row)
        uncached, _ = self.images(Row("uncached", row.of, steps=row.of, of=row.of))
        psnr = [round(value, 3) for value in lab.psnr(images, uncached).tolist()]
        shown = [int(value) for value in judge(self.model).rows(images, images, requests(self.model, self.seeds))]
        return {"computed": [plan.count("C")], "plans": [plan], "psnr": psnr, "read": shown}

    def predict(self) -> Document:
        """Return how well the features of the uncached run are forecast."""
        images, inputs, outputs = record(self.pipe.transformer, partial(self.draw, STEPS))
        row = Row("uncached", STEPS)
        self.drawn[row.recipe] = images, "C" * STEPS
        return {"seeds": len(self.seeds), **forecast(inputs, outputs)}


@cache
def pipeline(setting: str) -> Any:
    """Return the pipeline of a setting."""
    return zoo.load(setting)


@cache
def judge(model: str) -> Score:
    """Return what tells of a sample whether it shows what was asked for."""
    scores = {"digits": digits, "scenes": scenes}[model]()
    return next(score for score in scores.values() if isinstance(score, Judged))


def requests(model: str, seeds: Sequence[int]) -> list[Any]:
    """Return what every seed is asked for, as :func:`benchmarks.worlds.runs.load` asks it."""
    if model == "digits":
        return [seed % 10 for seed in seeds]
    unseen = [*dict.fromkeys(captions(model, 256, held_out=True))][:128]
    return [unseen[seed % len(unseen)] for seed in seeds]


def halve() -> None:
    """Describe the halves of the stack of digits as spans of which the other half is always computed."""
    blocks = "transformer_blocks"
    halves = {"front": (f"{blocks}[:4]",), "back": (f"{blocks}[4:]",)}
    register(Target("DiTTransformer2DModel", {blocks: HIDDEN}, spans=halves))


def start(row: Row) -> Document:
    """Return a row of which nothing is measured."""
    facts = {"name": row.name, "at": row.at, "plan": row.plan, "steps": row.steps, "of": row.of, "recipe": row.recipe}
    return facts | {key: [] for key in (*BY_BATCH, *BY_SAMPLE)}


class Part:
    """A part's result file.

    Args:
        name: Of the part.
    """

    def __init__(self, name: str) -> None:
        self.name, self.file = name, f"claims-matched-{name}.json"
        begun = (RESULTS / self.file).is_file()
        self.settings: dict[str, Document] = read(self.file)["settings"] if begun else {}
        self.origin = provenance()

    def extend(self, setting: str, samples: Samples) -> None:
        """Measure what the file does not hold of a batch, and write it row by row."""
        before, after = samples.seeds[0] - FIRST, samples.seeds[-1] + 1 - FIRST
        if self.name == "predict":
            batches = self.settings.setdefault(setting, {"batches": []})["batches"]
            if sum(batch["seeds"] for batch in batches) < after:
                batches[before // BATCH :] = [samples.predict()]
                self.save()
            return
        entries = {(r["name"], r["at"], r["plan"]): r for r in self.settings.get(setting, {"rows": []})["rows"]}
        rows = [(row, entries.get((row.name, row.at, row.plan), start(row))) for row in ROWS[self.name](samples.model)]
        rows = [(row, entry if entry["recipe"] == row.recipe else start(row)) for row, entry in rows]
        self.settings[setting] = {"rows": [entry for _, entry in rows]}
        for row, entry in rows:
            if len(entry["psnr"]) < after:  # a batch that was cut short is measured anew: its samples decide together
                for key, values in samples.measure(row).items():
                    entry[key][before if key in BY_SAMPLE else before // BATCH :] = values
                self.save()

    def save(self) -> None:
        """Write the file."""
        kind = "padecast statements of papers, matched"
        document = {"kind": kind, "part": self.name, "first": FIRST, "batch": BATCH, "provenance": self.origin}
        text = json.dumps({**document, "settings": self.settings}, indent=1)
        files.write(RESULTS / self.file, text + "\n")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=SEEDS, default=[*SEEDS])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--seeds", type=int, default=max(SEEDS.values()), help="at most; default all")
    options = parser.parse_args()
    halve()
    parts = [Part(name) for name in options.parts]
    for offset in range(0, options.seeds, BATCH):
        seeds = range(FIRST + offset, FIRST + min(offset + BATCH, options.seeds))
        samples = {setting: Samples(setting, seeds) for setting in options.settings}
        for part in (part for part in parts if offset < SEEDS[part.name]):
            for setting in options.settings:
                part.extend(setting, samples[setting])
                print(f"{part.name}, {setting}: {len(seeds) + offset} seeds", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
