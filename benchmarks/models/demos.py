"""How often the demo models draw what their captions say, uncached, and sheets of what they draw.

    python -m benchmarks.models.demos                              # scenes: 200 pictures in 20 steps
    python -m benchmarks.models.demos --model motion --count 100   # motion: 100 clips in 20 steps
    python -m benchmarks.models.demos --sheet                      # the picture of docs/scenes.md alone
    python -m benchmarks.models.demos --page                       # the tables of docs/scenes.md and motion.md alone
    python -m benchmarks.models.demos --check                      # fails if they are not what the result files say

Captions are of combinations that training never saw. Everything is read by geometry alone (`padecast.zoo.*.read`).
Beside them, in the same file: the same captions, rendered, and rendered and sent through the autoencoder, which bounds
what any denoiser can reach. Writes benchmarks/results/demo-MODEL.json, docs/images/MODEL.png and the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.common import CALLS, DOCS, Document, hush, insert, provenance, publish, read, render, write
from demos.motion import check as clips
from demos.motion.course import plot
from demos.motion.render import render as render_clips
from demos.scenes import check as pictures
from demos.scenes.render import picture
from padecast import zoo
from padecast.zoo.motion.grammar import draw as draw_clip
from padecast.zoo.scenes.grammar import draw as draw_scene


@dataclass(frozen=True)
class Demo:
    """What is drawn, and how it is read.

    Args:
        what: The word for what the model draws.
        draw: Draws what a caption is to say.
        render: Shows that, in [0, 1].
        check: Draws by the pipeline, reads, and saves the sheet.
        lengths: Tokens that captions are padded to, and the part of all captions that is drawn so, by row.
        shown: How many are on the sheet.
    """

    what: str
    draw: Callable[..., Any]
    render: Callable[[list[Any], torch.Generator], torch.Tensor]
    check: Any
    lengths: dict[str, tuple[int, float]]
    shown: int


MODELS = {
    # 512 tokens take six times as long there, and a quarter of the captions has to do; clips do not mind
    "scenes": Demo(
        "pictures",
        draw_scene,
        picture,
        pictures,
        {"drawn": (32, 1), "drawn, 512 tokens": (512, 1 / 4)},
        24,
    ),
    "motion": Demo(
        "clips",
        draw_clip,
        lambda clips, generator: render_clips(plot(clips, generator)),
        clips,
        {"drawn": (512, 1)},
        16,
    ),
}


def measure(model: str, count: int, seed: int, **options: Any) -> Document:
    """Draw captions, read what was drawn, and save the sheet; return the shares that are right."""
    demo, pipe, generator = MODELS[model], hush(zoo.load(model)), torch.Generator().manual_seed(seed)
    subjects = [demo.draw(generator, held_out=True) for _ in range(count)]
    images = {
        name: demo.check.sample(pipe, subjects[: round(count * part)], length=length, seed=seed, **options)
        for name, (length, part) in demo.lengths.items()
    }
    save_sheet(model, subjects, images["drawn"])
    rendered = demo.render(subjects, generator)
    images |= {"decoded": decode(pipe.vae, rendered), "rendered": rendered}
    right = {
        name: {"number": len(rows), **demo.check.shares(subjects[: len(rows)], rows)} for name, rows in images.items()
    }
    return {"right": right, "provenance": provenance(pipe)}


def draw_sheet(model: str, seed: int, **options: Any) -> None:
    """Draw the first captions alone, and save the sheet."""
    demo, generator = MODELS[model], torch.Generator().manual_seed(seed)
    subjects = [demo.draw(generator, held_out=True) for _ in range(demo.shown)]
    length, _ = demo.lengths["drawn"]
    save_sheet(model, subjects, demo.check.sample(hush(zoo.load(model)), subjects, length=length, seed=seed, **options))


def save_sheet(model: str, subjects: list[Any], images: torch.Tensor) -> None:
    """Save the first of what was drawn as a picture of the documentation."""
    demo = MODELS[model]
    demo.check.save_sheet(subjects[: demo.shown], images[: demo.shown], DOCS / "images" / f"{model}.png")


@torch.no_grad()
def decode(vae: Any, images: torch.Tensor) -> torch.Tensor:
    """Return pictures or clips in [0, 1] through the autoencoder."""
    back = [vae.decode(vae.encode(part * 2 - 1).latent_dist.mode()).sample for part in images.split(20)]
    return ((torch.cat(back) + 1) / 2).clamp(0, 1)


def compose(model: str) -> str:
    """Return the table of a page."""
    document, demo = read(f"demo-{model}.json"), MODELS[model]
    kinds = [kind for kind in demo.check.KINDS if kind in document["right"]["drawn"]]
    return render("models/demos.md.jinja", model=model, what=demo.what, kinds=kinds, document=document)


def main() -> None:
    """Measure unless only the pages are wanted, and write or check their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=tuple(MODELS), default="scenes")
    parser.add_argument("--count", type=int, default=200, help="pictures or clips (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="solver steps (%(default)s)")
    parser.add_argument("--seed", type=int, default=40_000, help="of captions and what is drawn (%(default)s)")
    parser.add_argument("--sheet", action="store_true", help="draw the first captions, for the picture alone")
    parser.add_argument("--page", action="store_true", help="write the tables from the result files that are there")
    parser.add_argument("--check", action="store_true", help="fail if the tables are not what the result files say")
    options = parser.parse_args()
    draw = {"steps": options.steps, "guidance": CALLS[options.model]["guidance"]}
    if options.sheet:
        draw_sheet(options.model, options.seed, **draw)
        return
    if not options.page and not options.check:
        settings = {"number": options.count, "seed": options.seed, "captions": "unseen", **draw}
        document = measure(options.model, options.count, options.seed, **draw)
        write(f"demo-{options.model}.json", {"settings": settings, **document})
    pages = {DOCS / f"{model}.md": compose(model) for model in MODELS}
    script = "benchmarks/models/demos.py"
    publish({page: insert(page, script, text) for page, text in pages.items()}, check=options.check)


if __name__ == "__main__":
    main()
