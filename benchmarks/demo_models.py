"""How often the demo models draw what their captions say, uncached, and sheets of what they draw.

    python benchmarks/demo_models.py            # 200 pictures in 20 steps: scenes
    python benchmarks/demo_models.py --page     # the table of docs/scenes.md from the result file alone

Captions are of combinations of colour, shape and relation that training never saw. Every picture is read by geometry
alone (`padecast.zoo.scenes.read`). Beside them, in the same file: the same captions, rendered, and rendered and sent
through the autoencoder, which bounds what any denoiser can reach. Writes benchmarks/results/demo-scenes.json,
docs/images/scenes.png and the table of docs/scenes.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, write

from padecast import zoo
from padecast._provenance import Provenance
from padecast.zoo.scenes.check import KINDS, sample, save_sheet, shares
from padecast.zoo.scenes.grammar import Scene, draw
from padecast.zoo.scenes.render import picture

DOCS = Path(__file__).parent.parent / "docs"
OPEN, CLOSE = "<!-- table: benchmarks/demo_models.py -->\n", "<!-- end -->"
ROWS = {
    "drawn": "drawn by the model",
    "drawn, 512 tokens": "the same, captions padded to 512 tokens",
    "decoded": "rendered, through the autoencoder",
    "rendered": "rendered",
}
SHOWN = 32  # pictures on the sheet


def measured(count: int, steps: int, guidance: float, seed: int) -> dict[str, Any]:
    """Draw, read, and save the sheet; return the shares of pictures that are right."""
    generator = torch.Generator().manual_seed(seed)
    scenes = [draw(generator, held_out=True) for _ in range(count)]
    pipe = zoo.load("scenes")
    pipe.set_progress_bar_config(disable=True)
    drawn = sample(pipe, scenes, steps=steps, guidance=guidance, length=32, seed=seed)
    save_sheet(scenes[:SHOWN], drawn[:SHOWN], DOCS / "images" / "scenes.png", zoom=2)
    few = scenes[: count // 4]  # 512 tokens take six times as long
    padded = sample(pipe, few, steps=steps, guidance=guidance, length=512, seed=seed)
    rendered = picture(scenes, generator)
    found = {
        "drawn": drawn,
        "drawn, 512 tokens": padded,
        "decoded": decoded(pipe.vae, rendered),
        "rendered": rendered,
    }
    return {
        "settings": {"pictures": count, "steps": steps, "guidance": guidance, "seed": seed, "captions": "unseen"},
        "right": {name: {"pictures": len(images), **right(scenes, images)} for name, images in found.items()},
        "provenance": dataclasses.asdict(Provenance.of(pipe)),
    }


def right(scenes: list[Scene], images: torch.Tensor) -> dict[str, float]:
    """Share of the pictures, the first of these scenes, that show what is said of each kind."""
    return shares(scenes[: len(images)], images)


@torch.no_grad()
def decoded(vae: Any, images: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] through the autoencoder."""
    back = [vae.decode(vae.encode(some * 2 - 1).latent_dist.mode()).sample for some in images.split(20)]
    result: torch.Tensor = ((torch.cat(back) + 1) / 2).clamp(0, 1)
    return result


def table(document: dict[str, Any]) -> str:
    """Return the table of the page."""
    settings, found = document["settings"], document["right"]
    kinds = [kind for kind in KINDS if kind in found["drawn"]]
    lines = [
        f"Share of pictures that show what their caption says, on captions of unseen combinations, {settings['steps']} "
        f"steps, guidance {settings['guidance']:g}, uncached:",
        "",
        "| pictures | number | " + " | ".join(kinds) + " |",
        "|---|" + "---|" * (len(kinds) + 1),
    ]
    for name, words in ROWS.items():
        row = found[name]
        lines.append(f"| {words} | {row['pictures']} | " + " | ".join(f"{row[kind]:.1%}" for kind in kinds) + " |")
    lines += ["", "From `benchmarks/results/demo-scenes.json`, made by `python benchmarks/demo_models.py`."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure unless only the page is wanted, and write the page's table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="pictures (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="solver steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=3.5, help="guidance scale (%(default)s)")
    parser.add_argument("--seed", type=int, default=40_000, help="of captions and pictures (%(default)s)")
    parser.add_argument("--page", action="store_true", help="write the page from the result file that is there")
    options = parser.parse_args()
    if not options.page:
        write("demo-scenes.json", measured(options.count, options.steps, options.guidance, options.seed))
    page = DOCS / "scenes.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(OPEN)
    document = json.loads((RESULTS / "demo-scenes.json").read_text(encoding="utf-8"))
    page.write_text(before + OPEN + table(document) + CLOSE + rest.partition(CLOSE)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
