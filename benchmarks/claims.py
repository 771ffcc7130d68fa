"""Statements of the TC-Padé and Spectrum papers, put to the test on two demo models, digits in two settings.

    python benchmarks/claims.py                # every part; --part PART for one, --seeds N for the first N test seeds
    python benchmarks/claims.py --resume       # goes on where an interrupted run of the same weights has stopped
    python benchmarks/claims.py --setting scenes                 # keeps what was measured in the others

The settings are hard and easy of digits, and scenes: captions of combinations that its training never saw.

Parts, each written to benchmarks/results/claims-PART.json after every batch of 8 seeds:

rational   Padé, Taylor and others on equal plans
predict    the residual and the raw output of the stack, forecast from recorded uncached features, 1 to 4 steps ahead
threshold  tc-pade-fast at several thresholds of its stability rule
spans      tc-pade on equal plans, forecasting the whole stack or parts of it, at 6, 8 and 10 computed of 20 steps
intervals  forecasters on every 2nd to every 6th step
steps      TaylorSeer with its published warm-up and interval in runs of 10 to 50 steps
fifty      Spectrum and TaylorSeer at 14 and at 10 computed of 50 steps

A run that several parts need is drawn once. ``benchmarks/claims_page.py`` writes docs/claims.md from these files.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from claims_files import SETTINGS
from claims_samples import Samples, forecasts
from claims_ways import PARTS, Way
from common import RESULTS, TEST, progress, write

from padecast import files, lab
from padecast.calibration.provenance import commit
from padecast.targets import HIDDEN, Target, register

BATCH = 8


def add(row: dict[str, Any], one: Way, samples: Samples) -> None:
    """Add a batch to a row."""
    drawn, reference = samples.drawn(one), samples.drawn(Way("uncached", 0, steps=one.of, of=one.of))
    row["computed"].append(drawn.nfe)
    row["plans"].append(drawn.plan)
    row["psnr"] += lab.psnr(drawn.images, reference.images).tolist()
    row["ssim"] += lab.ssim(drawn.images, reference.images).tolist()
    row["read"] += samples.shown(drawn)


def begun(part: str, measured: Sequence[str], *, resume: bool) -> dict[str, Any]:
    """Return the document of a part, with all that is known in settings that are not to be measured.

    Of those that are, with what is known of the same rows if it is gone on with, else with nothing.
    """
    path = RESULTS / f"claims-{part}.json"
    before = files.read_json(path) if path.exists() else {"settings": {}}
    settings = {}
    for setting in SETTINGS:
        rows = [
            {"name": w.name, "at": w.at, "steps": w.steps, "of": w.of, "written": written(w)}
            | {k: [] for k in ("computed", "plans", "psnr", "ssim", "read")}
            for w in PARTS[part](setting)
        ]
        known = before["settings"].get(setting)
        stays = known and (setting not in measured or (resume and made(known["rows"]) == made(rows)))
        settings[setting] = known if stays else {"seeds": [], "rows": rows}
    runs = [*before.get("earlier", ()), before.get("provenance")]
    earlier = [run for run in runs if run and any(found["seeds"] for found in settings.values())]
    return {"part": part, "settings": settings, "batch": BATCH, "earlier": earlier}


def made(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Return what rows are made of, without what was measured."""
    return [[row[key] for key in ("name", "at", "steps", "of", "written")] for row in rows]


def written(one: Way) -> str:
    """Say what is drawn, so that it can be repeated."""
    of = one.method
    return f"{one.steps} steps" if of is None else f"{of.policy}; {of.forecaster}; span {of.span}"


def batch(part: str, ways: Sequence[Way], found: dict[str, Any], samples: Samples, tell: Any) -> None:
    """Measure one part on one batch in one setting."""
    for row, one in zip(found["rows"], ways, strict=True):
        add(row, one, samples)
        tell(f"{part}, {samples.setting}, {one.name}")
    if part == "predict":
        samples.drawn(Way("uncached", 0))
        assert samples.features is not None
        found.setdefault("batches", []).append(forecasts(samples.features))
        tell(f"{part}, {samples.setting}")
    found["seeds"] += samples.seeds


def provenance(started_from: str | None, settings: Sequence[str]) -> dict[str, Any]:
    """Return where the figures of these settings come from: the commit is that of the checkout when it began."""
    found = dataclasses.asdict(dataclasses.replace(lab.Provenance.of(), commit=started_from))
    return {"settings": list(settings), **found}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="one part alone")
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="one setting alone")
    parser.add_argument("--seeds", type=int, default=len(TEST), help="the first so many test seeds, in batches of 8")
    parser.add_argument("--resume", action="store_true", help="keep the batches that the result files hold")
    options = parser.parse_args()
    halve()
    started_from = commit(Path(__file__).parent.parent / "src" / "padecast")
    settings = options.setting or SETTINGS
    documents = {part: begun(part, settings, resume=options.resume) for part in options.part or PARTS}
    chosen = {(part, setting): PARTS[part](setting) for part in documents for setting in settings}
    batches = [TEST[start : start + BATCH] for start in range(0, options.seeds, BATCH)]
    total = len(batches) * sum(max(len(ways), 1) for ways in chosen.values())
    with progress(total, "claims") as tell:
        for seeds in batches:
            known = {setting: Samples(setting, seeds) for setting in settings}
            for (part, setting), ways in chosen.items():
                found = documents[part]["settings"][setting]
                if set(seeds) <= set(found["seeds"]):
                    tell(part, max(len(ways), 1))
                else:
                    batch(part, ways, found, known[setting], tell)
                    write(f"claims-{part}.json", {**documents[part], "provenance": provenance(started_from, settings)})


def halve() -> None:
    """Describe the halves of the stack of digits as spans of which the other half is always computed."""
    blocks = "transformer_blocks"
    register(
        Target(
            "DiTTransformer2DModel",
            {blocks: HIDDEN},
            spans={"front": (f"{blocks}[:4]",), "back": (f"{blocks}[4:]",)},
        )
    )


if __name__ == "__main__":
    main()
