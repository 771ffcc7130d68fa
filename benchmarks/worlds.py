"""The page of demo worlds that are like real models, from finished cells and from the parts of world_parts.py.

padecast lab run benchmarks/experiments/scenes-as-flux.toml --out runs/scenes-as-flux
python benchmarks/worlds.py scenes-as-flux runs/scenes-as-flux    # also writes results/worlds-scenes-as-flux.json
python benchmarks/worlds.py                                       # docs/worlds.md alone, from the result files
python benchmarks/worlds.py --check                               # fails if the page is not what they say
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from common import RESULTS, write
from comparison import _about, compact, table
from comparison_verdicts import budgets
from worlds_sections import matches, parts_of, variants

from padecast import files
from padecast.lab.chapters import chapters
from padecast.lab.shelf import Shelf
from padecast.report import finite

PAGE = Path(__file__).parent.parent / "docs" / "worlds.md"
WORLDS = {
    "scenes-as-flux": "Scenes as FLUX",
    "scenes-as-flux-50": "Scenes as FLUX, 50 steps",
    "digits-matched": "Digits, matched",
    "motion-as-wan": "Motion as Wan",
}
OWN = ("adaptive", "tc-pade", "tc-pade:last=false")
FIGURES = ("mean", "least", "p5", "worst")
Document = dict[str, Any]

INTRODUCTION = """# Worlds like real models

<!-- written by benchmarks/worlds.py from benchmarks/results/worlds-*.json and world-*.json -->

Real models decide the image in their first steps. Half the steps of FLUX.1-dev give 18 dB, and searched plans are dense
at the start (published: [plans](plans.md)). Our demo models at their usual settings do not: their latents are small,
and small latents hide their structure under noise for longer.

A latent of D numbers shows its structure at the **effective noise level**

    sigma_eff = sigma / (sigma + kappa (1 - sigma)),    kappa = sqrt(D / 25)

Matched settings make the demo models more like real ones. `padecast.zoo.load("scenes:matched")` has a schedule and a
guidance at which the first steps decide; which lines of real models each meets stands below. `scenes:as-flux`,
`digits:as-flux` and `motion:as-wan` are enlarged besides: every latent pixel is there k x k times, so that latents and
noise levels are those of FLUX at 1024 x 1024 pixels, or nearly those of Wan 2.1 at 480p. The images are those of a
small model at shift / k, exactly; tests/zoo/test_worlds.py holds that (for motion under Euler).

All figures are PSNR in dB to the uncached images of the same seeds. Thresholds and intervals are tuned to the same
number of computed steps (NFE) on seeds that are not measured. What ran here are demo models; no figure on this page is
one of FLUX or Wan."""


def ahead(document: Document) -> list[str]:
    """Return how far the default and tc-pade are ahead of every other method, over all numbers of computed steps."""
    (chapter,) = document["chapters"].values()
    by: dict[str, dict[int, Document]] = {}
    for row in chapter["rows"]:
        by.setdefault(row["name"], {})[row["wanted"]] = row
    lines = ["| beside | " + " | ".join(f"{own}, {figure}" for own in OWN[:2] for figure in FIGURES) + " |"]
    lines.append("|---|" + "---:|" * 2 * len(FIGURES))
    for name, rows in by.items():
        if name in OWN:
            continue
        cells = []
        for own in OWN[:2]:
            shared = [w for w in rows if w in by.get(own, {}) and abs(rows[w]["nfe"] - w) <= 0.5]
            gaps = [by[own][w]["psnr"]["mean"] - rows[w]["psnr"]["mean"] for w in shared]
            low, worst = ([by[own][w]["psnr"][key] - rows[w]["psnr"][key] for w in shared] for key in ("p5", "worst"))
            told = [fmean(gaps), min(gaps), fmean(low), fmean(worst)] if gaps else []
            cells += [f"{gap:+.1f}" for gap in told] or [""] * len(FIGURES)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def chapter_of(title: str, document: Document) -> list[str]:
    """Return a world's section: what was run, how far ours are ahead, and all rows."""
    lines = [f"## {title}", "", *_about(document), ""]
    lines += [
        "How far ours are ahead of a method: in the mean over the numbers of computed steps, at the least, in the 5th",
        "percentile and in the worst over samples. Cells more than half a step off their NFE are left out.",
        "",
    ]
    lines += [*ahead(document), ""]
    for chapter in document["chapters"].values():
        for wanted in budgets(chapter):
            lines += [f"### {title}: {wanted} of {chapter['settings']['steps']} steps computed", ""]
            lines += [*table(chapter, wanted), ""]
    return lines


def page() -> str:
    """Return the page, from all result files that there are."""
    lines = [INTRODUCTION, ""]
    for name, title in WORLDS.items():
        path = RESULTS / f"worlds-{name}.json"
        if path.is_file():
            lines += chapter_of(title, files.read_json(path))
    lines += parts_of(
        "lines",
        "What a world shows of being like a real model",
        "Lines that real models meet: plain fewer steps at half the steps are below 20 dB. Repetition on a dense plan\n"
        "is 4 dB or more above them. A line adds 0.5 to 3 dB to repetition.",
    )
    lines += matches()
    lines += parts_of(
        "levels",
        "What is forecast",
        "The same plans, by what of the model is forecast. That is its output, the clean image that it predicts, what\n"
        "its whole stack of blocks adds, what its double or single blocks add, or its output less its latents.\n"
        "`feedback` pays errors back; `retraced` goes through stretches again.",
    )
    lines += parts_of(
        "solvers",
        "Solvers",
        "Fixed plans that are dense at the start, forecasts of the output, under every solver. `tc-pade` is what\n"
        "ships: repetition under multistep solvers and under those that draw noise, damped Padé elsewhere, and\n"
        "stretches gone through again wherever no noise is drawn. Only digits have a row of the SDE: the other\n"
        "pipelines hand the solver no generator, so that two uncached runs differ.\n\n"
        "Why multistep solvers take extrapolations badly: they differentiate the outputs that they remember. An error\n"
        "that is paid back is a spike in one output; an extrapolation's error grows along a stretch. Both are drawn\n"
        "out over the steps that follow. Repetition has a kink alone, at the end of a stretch; going through it again\n"
        "takes that away. What remains is an output that was computed at latents that are not those of the run any\n"
        "more. UniPC's corrector weighs it once more, so that UniPC gains least.",
    )
    lines += variants()
    return "\n".join(lines).rstrip() + "\n"


README = Path(__file__).parent.parent / "README.md"
OPEN, CLOSE = "<!-- table: benchmarks/worlds.py -->\n", "<!-- end of worlds -->"
ROWS = {
    "fewer-steps": "fewer steps",
    "fora": "FORA",
    "linear": "linear, every N-th step",
    "teacache": "TeaCache",
    "seacache": "SeaCache's gate",
    "seacache-linear": "SeaCache's gate, linear",
    "first-block": "first-block cache",
    "easycache": "EasyCache",
    "taylorseer": "TaylorSeer",
    "hicache": "HiCache",
    "foca": "FoCa",
    "delta-dit": "Delta-DiT",
    "toca": "ToCa",
    "spectrum": "Spectrum",
    "tc-pade-fast": "TC-Padé's stability rule",
    "tc-pade": "**tc-pade**",
    "adaptive": "**adaptive** (default)",
}


def said(name: str) -> str:
    """Return a world's title inside a sentence."""
    return WORLDS[name].lower().replace("flux", "FLUX").replace("wan", "Wan")


def lost(cells: dict[tuple[str, str, int], tuple[float, str]], columns: Iterable[tuple[str, int]]) -> str:
    """Return where the default is behind another method, in words."""
    behind = []
    for name, wanted in columns:
        own = cells["adaptive", name, wanted][0]
        for method, words in ROWS.items():
            gap = cells.get((method, name, wanted), (0.0, ""))[0] - own
            if gap >= 0.05 and not words.startswith("**"):
                behind.append(f"{words} by {gap:.1f} dB on {said(name)} at {wanted}")
    return f"The default is behind {'; '.join(behind)}." if behind else "The default is behind none of them anywhere."


def excerpt() -> str:
    """Return README's table: mean PSNR by method, world and computed steps."""
    documents = {name: RESULTS / f"worlds-{name}.json" for name in WORLDS if not name.endswith("-50")}
    found = {name: files.read_json(path) for name, path in documents.items() if path.is_file()}
    cells: dict[tuple[str, str, int], tuple[float, str]] = {}
    samples = []
    for name, document in found.items():
        (chapter,) = document["chapters"].values()
        samples.append(f"{len(chapter['settings']['seeds'])} of {said(name)}")
        for row in chapter["rows"]:
            own = row["name"] in ROWS and ROWS[row["name"]].startswith("**")
            plain = row["name"] if own else row["name"].partition(":")[0]
            if row["nfe"] - row["wanted"] <= 0.5 and not (plain in OWN and not own):
                key, mean = (plain, name, row["wanted"]), row["psnr"]["mean"]
                fewer = f" ({row['nfe']:.1f})" if row["wanted"] - row["nfe"] > 0.5 else ""
                cells[key] = max(cells.get(key, (0.0, "")), (mean, f"{mean:.1f}{fewer}"))
    columns = [(name, wanted) for name in found for wanted in (6, 8, 10)]
    told = (
        f"PSNR in dB against the uncached run of the same seed, mean over samples ({', '.join(samples)}), drawn in 20 "
        "steps with 6, 8 and 10 of them computed. The models are small ones of our own, in settings in which they "
        "behave as real models do: [docs/worlds.md](docs/worlds.md). Every method is tuned to within half a step of "
        "that number on other seeds. In brackets is how many steps it computed where these are fewer; an empty "
        "field says that it did not get there."
    )
    lines = [*textwrap.wrap(told, 118), ""]
    lines.append("| method | " + " | ".join(f"{WORLDS[name]}, {wanted}" for name, wanted in columns) + " |")
    lines.append("|---|" + "---:|" * len(columns))
    for name, words in ROWS.items():
        values = [cells.get((name, *column), (0.0, ""))[1] for column in columns]
        lines.append(f"| {words} | {' | '.join(values)} |")
    sources = ", ".join(f"`benchmarks/results/worlds-{name}.json`" for name in found)
    closing = textwrap.wrap(lost(cells, columns), 118)
    return "\n".join([*lines, "", *closing, "", f"From {sources}."]) + "\n"


def main() -> None:
    """Write a result file if finished cells are given, and the page in any case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("world", nargs="?", choices=WORLDS)
    parser.add_argument("cells", nargs="*", type=Path, help="folders of finished cells")
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    options = parser.parse_args()
    if options.world and options.cells and not options.check:
        documents = (document for folder in options.cells for document in Shelf(folder).documents())
        write(f"worlds-{options.world}.json", finite(compact(chapters(documents))))
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(OPEN)
    written = before + OPEN + excerpt() + CLOSE + rest.partition(CLOSE)[2]
    if options.check:
        if PAGE.read_text(encoding="utf-8") != page() or written != text:
            raise SystemExit(
                "docs/worlds.md or README.md is not what the result files say: python benchmarks/worlds.py"
            )
        return
    files.write(PAGE, page())
    files.write(README, written)


if __name__ == "__main__":
    main()
