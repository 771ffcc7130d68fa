"""The first picture of README: one caption, one seed, six computed steps, every way beside its difference.

    python -m benchmarks.comparison.hero            # draws: a minute on a core; results/hero.json, docs/images/hero.png
    python -m benchmarks.comparison.hero --check    # fails if the caption in README is not what the result file says

The world is scenes as FLUX. Methods are tuned as in results/worlds-scenes-as-flux.json. The seed is chosen by a rule:
of those of that file, the one at which padecast's PSNR is the median, so that padecast is neither better nor worse
there than usual. The seed is drawn by itself, where methods that decide by what they see may compute another number of
steps than in a batch; the picture says how many.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import DOCS, Document, insert, load, provenance, publish, read, render, write
from padecast import files, lab
from padecast.lab._canvas import INK, figure_of
from padecast.lab._canvas import write as write_figure
from padecast.lab.experiment import read as read_experiment
from padecast.lab.preparation import prepare

FILE, PICTURE, SCRIPT = "hero.json", "hero.png", "benchmarks/comparison/hero.py"
RESULT, EXPERIMENT = "worlds-scenes-as-flux.json", "benchmarks/experiments/scenes-as-flux.toml"
README = Path(__file__).parents[2] / "README.md"
COMPUTED, GAIN, DEVELOPMENT = 6, 8, tuple(range(1000, 1008))
PADECAST = "learned"
WAYS = {
    "uncached": "uncached",
    "fewer-steps": "fewer steps",
    "taylorseer:warmup=1": "TaylorSeer",
    "spectrum:warmup=2": "Spectrum",
    "cache-dit:warmup=1": "cache-dit",
    PADECAST: "padecast",
}


def rows() -> dict[str, Document]:
    """Return the rows of the result file at the number of computed steps, by name."""
    chapter = next(iter(read(RESULT)["chapters"].values()))
    return {row["name"]: row for row in chapter["rows"] if row["wanted"] == COMPUTED and row["name"] in WAYS}


def choose_seed(row: Document, seeds: list[int]) -> int:
    """Return the seed whose PSNR is the median, the lower one of two."""
    values = row["psnr"]["each"]
    order = sorted(range(len(values)), key=lambda place: float(values[place]))
    return seeds[order[(len(order) - 1) // 2]]


def enter(name: str, row: Document | None, work: lab.Task) -> lab.Entry:
    """Return a way as it was tuned."""
    if name == "uncached":
        return lab.UNCACHED
    if name == "fewer-steps":
        return lab.Entry.fewer(COMPUTED)
    if name == PADECAST:
        taught = lab.Task(work.pipe, work.call, work.steps, DEVELOPMENT, 1, work.name)
        return prepare(taught, lab.Entry.of(f"{PADECAST}:computed={COMPUTED}"))
    assert row is not None
    return lab.Entry.of(row["written"])


def draw() -> tuple[Document, dict[str, Tensor]]:
    """Draw the seed in every way that was measured; return figures and images."""
    setting, known = read_experiment(files.locate(EXPERIMENT)).settings[0], rows()
    arguments = {key: value for key, value in setting.arguments.items() if key == "max_sequence_length"}
    call = lab.Sampling(setting.prompts, setting.classes, setting.guidance, arguments=arguments)
    seeds = next(iter(read(RESULT)["chapters"].values()))["settings"]["seeds"]
    seed = choose_seed(known[PADECAST], seeds)
    work = lab.Task(load("scenes:as-flux"), call, setting.steps, (seed,), 1, "hero", DEVELOPMENT)
    images, figures = dict[str, Tensor](), list[Document]()
    for name in WAYS:
        if name != "uncached" and name not in known:
            print(f"{name} is not in {RESULT}: left out")
            continue
        drawn = lab.draw(work, enter(name, known.get(name), work), (seed,))
        images[name] = drawn.images[0]
        decibels = lab.psnr(drawn.images, images["uncached"][None]).clamp_max(100.0)
        figures.append({"name": name, "computed": drawn.nfe, "psnr": round(float(decibels[0]), 1)})
    return {
        "kind": "padecast hero",
        "provenance": provenance(work.pipe),
        "world": "scenes:as-flux",
        "steps": setting.steps,
        "seed": seed,
        "seeds": len(seeds),
        "prompt": setting.prompts[seed % len(setting.prompts)],
        "gain": GAIN,
        "rows": figures,
    }, images


def picture(document: Document, images: dict[str, Tensor]) -> Any:
    """Return the figure: images above, differences below."""
    count = len(images)
    figure = figure_of((1.35 * count, 3.35))
    for place, row in enumerate(document["rows"]):
        image, name = images[row["name"]], row["name"]
        difference = ((image - images["uncached"]) * GAIN).abs().clamp(0, 1)
        for line, shown in enumerate((image, difference)):
            axis = figure.add_axes((place / count + 0.006, 0.5 - 0.46 * line, 1 / count - 0.012, 0.4))
            axis.axis("off")
            if line and name == "uncached":
                text = f"differences\nx {GAIN}"
                axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, color=INK, transform=axis.transAxes)
                continue
            axis.imshow(shown.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        x = (place + 0.5) / count
        steps = f"{row['computed']:g} of {document['steps']}" if name != "fewer-steps" else f"{row['computed']:g} steps"
        weight = "bold" if name == PADECAST else "normal"
        figure.text(x, 0.975, WAYS[name], ha="center", va="top", fontsize=12, color=INK, weight=weight)
        figure.text(
            x,
            0.47,
            steps if name == "uncached" else f"{steps}, {row['psnr']:.0f} dB",
            ha="center",
            va="center",
            fontsize=9.5,
            color=INK,
        )
    return figure


def main() -> None:
    """Draw and write, or check the caption."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare the caption with what is committed")
    check = parser.parse_args().check
    if not check:
        with torch.no_grad():
            document, images = draw()
        write(FILE, document)
        write_figure(picture(document, images), DOCS / "images" / PICTURE)
    text = render("comparison/hero.md.jinja", hero=read(FILE), picture=f"docs/images/{PICTURE}", names=WAYS)
    publish({README: insert(README, SCRIPT, text)}, check=check)


if __name__ == "__main__":
    main()
