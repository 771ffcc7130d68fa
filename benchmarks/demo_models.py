"""How often the demo models draw what their captions say, uncached, and sheets of what they draw.

    python benchmarks/demo_models.py                                  # scenes: 200 pictures in 20 steps
    python benchmarks/demo_models.py --model motion --count 100       # motion: 100 clips in 20 steps
    python benchmarks/demo_models.py --page                           # the table of docs/scenes.md from the file alone

Captions are of combinations that training never saw. Everything is read by geometry alone (`padecast.zoo.*.read`).
Beside them, in the same file: the same captions, rendered, and rendered and sent through the autoencoder, which bounds
what any denoiser can reach. Writes benchmarks/results/demo-MODEL.json, docs/images/MODEL.png and the table of
docs/MODEL.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from common import CALLS, RESULTS, write

from padecast import zoo
from padecast._provenance import Provenance
from padecast.zoo.motion import check as clips
from padecast.zoo.motion.course import plot
from padecast.zoo.motion.grammar import draw as draw_clip
from padecast.zoo.motion.render import render
from padecast.zoo.scenes import check as pictures
from padecast.zoo.scenes.grammar import draw as draw_scene
from padecast.zoo.scenes.render import picture

DOCS = Path(__file__).parent.parent / "docs"
OPEN, CLOSE = "<!-- table: benchmarks/demo_models.py -->\n", "<!-- end -->"
ROWS = {
    "drawn": "drawn by the model",
    "drawn, 512 tokens": "the same, captions padded to 512 tokens",
    "decoded": "rendered, through the autoencoder",
    "rendered": "rendered",
}
SHOWN = {"scenes": 32, "motion": 24}  # how many are on the sheet
WHAT = {"scenes": "pictures", "motion": "clips"}


def scenes(count: int, seed: int, **options: Any) -> dict[str, Any]:
    """Draw pictures, read them, and save the sheet; return the shares that are right."""
    generator = torch.Generator().manual_seed(seed)
    asked = [draw_scene(generator, held_out=True) for _ in range(count)]
    pipe = loaded("scenes")
    drawn = pictures.sample(pipe, asked, length=32, seed=seed, **options)
    pictures.save_sheet(asked[: SHOWN["scenes"]], drawn[: SHOWN["scenes"]], DOCS / "images" / "scenes.png", zoom=2)
    few = asked[: count // 4]  # 512 tokens take six times as long
    padded = pictures.sample(pipe, few, length=512, seed=seed, **options)
    rendered = picture(asked, generator)
    found = {
        "drawn": drawn,
        "drawn, 512 tokens": padded,
        "decoded": decoded(pipe.vae, rendered),
        "rendered": rendered,
    }
    right = {
        name: {"number": len(images), **pictures.shares(asked[: len(images)], images)} for name, images in found.items()
    }
    return {"right": right, "provenance": dataclasses.asdict(Provenance.of(pipe))}


def motion(count: int, seed: int, **options: Any) -> dict[str, Any]:
    """The same with clips, whose captions are padded to 512 tokens at no cost."""
    generator = torch.Generator().manual_seed(seed)
    asked = [draw_clip(generator, held_out=True) for _ in range(count)]
    pipe = loaded("motion")
    drawn = clips.sample(pipe, asked, length=512, seed=seed, **options)
    clips.save_sheet(asked[: SHOWN["motion"]], drawn[: SHOWN["motion"]], DOCS / "images" / "motion.png")
    rendered = render(plot(asked, generator))
    found = {"drawn": drawn, "decoded": decoded(pipe.vae, rendered), "rendered": rendered}
    right = {name: {"number": count, **clips.shares(asked, pixels)} for name, pixels in found.items()}
    return {"right": right, "provenance": dataclasses.asdict(Provenance.of(pipe))}


def loaded(model: str) -> Any:
    """A demo pipeline without its progress bar."""
    pipe = zoo.load(model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def decoded(vae: Any, images: torch.Tensor) -> torch.Tensor:
    """Pictures or clips in [0, 1] through the autoencoder."""
    back = [vae.decode(vae.encode(some * 2 - 1).latent_dist.mode()).sample for some in images.split(20)]
    result: torch.Tensor = ((torch.cat(back) + 1) / 2).clamp(0, 1)
    return result


MODELS = {"scenes": (scenes, pictures.KINDS), "motion": (motion, clips.KINDS)}


def table(model: str, document: dict[str, Any]) -> str:
    """Return the table of the page."""
    settings, found = document["settings"], document["right"]
    kinds = [kind for kind in MODELS[model][1] if kind in found["drawn"]]
    lines = [
        f"Share of {WHAT[model]} that show what their caption says, on captions of unseen combinations, "
        f"{settings['steps']} steps, guidance {settings['guidance']:g}, uncached:",
        "",
        "| what | number | " + " | ".join(kinds) + " |",
        "|---|" + "---|" * (len(kinds) + 1),
    ]
    for name, words in ROWS.items():
        if name not in found:
            continue
        row = found[name]
        lines.append(f"| {words} | {row['number']} | " + " | ".join(f"{row[kind]:.1%}" for kind in kinds) + " |")
    command = document["provenance"]["command"]
    lines += ["", f"From `benchmarks/results/demo-{model}.json`, made by `python benchmarks/{command}`."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure unless only the page is wanted, and write the page's table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=tuple(MODELS), default="scenes")
    parser.add_argument("--count", type=int, default=200, help="pictures or clips (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="solver steps (%(default)s)")
    parser.add_argument("--seed", type=int, default=40_000, help="of captions and what is drawn (%(default)s)")
    parser.add_argument("--page", action="store_true", help="write the page from the result file that is there")
    options = parser.parse_args()
    model, name = options.model, f"demo-{options.model}.json"
    if not options.page:
        drawn = {"steps": options.steps, "guidance": CALLS[model]["guidance"]}
        settings = {"number": options.count, "seed": options.seed, "captions": "unseen", **drawn}
        write(name, {"settings": settings, **MODELS[model][0](options.count, options.seed, **drawn)})
    page = DOCS / f"{model}.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(OPEN)
    document = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    page.write_text(before + OPEN + table(model, document) + CLOSE + rest.partition(CLOSE)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
