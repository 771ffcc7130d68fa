"""Write the README's table and picture from the result files of the comparison.

python benchmarks/readme.py          rewrites the table in README.md, and docs/images/comparison.png
python benchmarks/readme.py --check  exits 1 if the table is not what the result files say
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

from padecast import files

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PICTURE = ROOT / "docs" / "images" / "comparison.png"
OPEN, CLOSE = "<!-- table: benchmarks/readme.py -->\n", "<!-- end -->"
PLACES = {"digits, hard": "digits", "scenes, 20": "scenes", "motion, 20": "motion"}
"""Chapters of the result files, one for each model, and what they are called."""
ABOUT = {
    "digits": "a class-conditional DiT at guidance 5 and shift 3",
    "scenes": "a FLUX pipeline that draws captions, at guidance 3.5 and shift 3",
    "motion": "a Wan pipeline that draws 17 frames, at guidance 3 and shift 3, solver UniPC",
}
ROWS = {
    "fewer-steps": "fewer steps",
    "fora": "FORA",
    "teacache": "TeaCache",
    "magcache": "MagCache",
    "easycache": "EasyCache",
    "taylorseer": "TaylorSeer",
    "hicache": "HiCache",
    "foca": "FoCa",
    "spectrum": "Spectrum",
    "diffusers.first-block": "FirstBlockCache of diffusers",
    "diffusers.taylorseer": "TaylorSeerCache (attention alone)",
    "cache-dit": "cache-dit",
    "cache-dit.taylorseer": "cache-dit with TaylorSeer",
    "tc-pade": "tc-pade, as it was",
    "adaptive": "adaptive, as it was",
    "calibrated": "**calibrated**",
}
OWN = ("adaptive", "tc-pade", "calibrated")
"""Rows that count without their variants."""
CLOSE_TO = 0.5  # computed steps by which a row may miss the wanted number
Cell = tuple[str, int]
Chapter = dict[str, Any]


def chapters() -> dict[str, Chapter]:
    """Return one chapter of every model that was measured, by the model's name."""
    paths = [RESULTS / f"comparison-{model}.json" for model in PLACES.values()]
    documents = [files.read_json(path) for path in paths if path.is_file()]
    found = {title: chapter for document in documents for title, chapter in document["chapters"].items()}
    return {name: found[title] for title, name in PLACES.items() if title in found}


def figures(measured: dict[str, Chapter]) -> dict[str, dict[Cell, float]]:
    """Return the mean PSNR by method, model and computed steps: of others' variants the best, of ours as written."""
    found: dict[str, dict[Cell, float]] = {name: {} for name in ROWS}
    for model, chapter in measured.items():
        for row in chapter["rows"]:
            plain = row["name"].partition(":")[0]
            name = row["name"] if plain in OWN else plain
            cell = (model, int(row["wanted"]))
            if name in found and abs(row["nfe"] - row["wanted"]) <= CLOSE_TO:
                found[name][cell] = max(found[name].get(cell, 0.0), row["psnr"]["mean"])
    return found


def table(measured: dict[str, Chapter]) -> str:
    """Return the table: PSNR by method, model and computed steps."""
    found = figures(measured)
    cells = [(model, nfe) for model in measured for nfe in (6, 8, 10)]
    samples = ", ".join(f"{len(chapter['settings']['seeds'])} of {model}" for model, chapter in measured.items())
    said = "; ".join(f"{model} is {ABOUT[model]}" for model in measured)
    told = (
        f"PSNR in dB against the uncached run of the same seed, mean over samples ({samples}) that nothing was tuned "
        f"or calibrated on, drawn in 20 steps with 6, 8 and 10 of them computed. The models are small ones of our own: "
        f"{said}. Every method is tuned to within half a step of that number; of the variants of published methods "
        "(warm-up, order, span) the best counts, and an empty field says that none got there. Calibrations were made "
        "on other seeds and ship with the models. adaptive and tc-pade are as they were before they forecast the "
        "model's output; as they ship they are in the table of worlds like real models."
    )
    lines = [
        *textwrap.wrap(told, 118),
        "",
        "| method | " + " | ".join(f"{model}, {nfe}" for model, nfe in cells) + " |",
        "|---|" + "---:|" * len(cells),
    ]
    for name, words in ROWS.items():
        values = [found[name].get(cell) for cell in cells]
        lines.append(f"| {words} | " + " | ".join("" if v is None else f"{v:.1f}" for v in values) + " |")
    sources = ", ".join(f"`benchmarks/results/comparison-{model}.json`" for model in measured)
    lines += [
        "",
        f"From {sources};",
        "[docs/comparison.md](docs/comparison.md) has all rows and settings, with the steps that were computed, SSIM,",
        "the worst sample, FID and operations.",
        "",
        "![Fidelity over computed steps, by method](docs/images/comparison.png)",
    ]
    return "\n".join(lines) + "\n"


def draw(measured: dict[str, Chapter], path: Path) -> None:
    """Draw the table: PSNR over computed steps, a panel per model."""
    from padecast.lab import _canvas as canvas

    found = figures(measured)
    styles = canvas.styles_of(list(ROWS))
    width, height, panel, left = 0.7 + 4.4 * len(measured) + 2.6, 5.2, 3.8, 0.7
    figure = canvas.figure_of((width, height))
    for place, model in enumerate(measured):
        axis = figure.add_axes(((left + 4.4 * place) / width, 0.6 / height, panel / width, (height - 1.3) / height))
        for name, row in found.items():
            points = sorted((nfe, value) for (where, nfe), value in row.items() if where == model)
            own = name in OWN
            colour, marker = styles[name]
            look = {"linewidth": 2.6 if own else 1.1, "markersize": 7 if own else 4.5, "zorder": 3 if own else 2}
            dashes = "--" if name == "fewer-steps" or "." in name or name == "cache-dit" else "-"
            label = ROWS[name].replace("*", "")
            places, values = ([point[index] for point in points] for index in (0, 1))
            axis.plot(places, values, dashes, color=colour, marker=marker, label=label, **look)
        canvas.plain(axis, "computed of 20 steps", "PSNR against uncached, mean, dB" if place == 0 else "")
        axis.set_xticks([6, 8, 10])
        axis.set_title(model, fontsize=10, color=canvas.INK)
    axis.legend(loc="upper left", bbox_to_anchor=(1.03, 1.0), fontsize=8.5, frameon=False, borderaxespad=0.0)
    canvas.title(figure, "Fidelity over computed steps; padecast's own in bold")
    path.parent.mkdir(exist_ok=True)
    canvas.write(figure, path)


def main() -> None:
    """Rewrite or check the README."""
    measured = chapters()
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(OPEN)
    written = before + OPEN + table(measured) + CLOSE + rest.partition(CLOSE)[2]
    if "--check" in sys.argv:
        sys.exit(
            0 if written == text else "README.md does not show what the result files say: run benchmarks/readme.py"
        )
    files.write(path, written)
    draw(measured, PICTURE)


if __name__ == "__main__":
    main()
