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
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import CALLS, RESULTS, write

sys.path.append(str(Path(__file__).parent.parent))  # where ``demos`` lies

from demos.motion import check as clips
from demos.motion.course import plot
from demos.motion.render import render
from demos.scenes import check as pictures
from demos.scenes.render import picture
from padecast import files, zoo
from padecast.calibration.provenance import Provenance
from padecast.zoo.motion.grammar import draw as draw_clip
from padecast.zoo.scenes.grammar import draw as draw_scene

DOCS = Path(__file__).parent.parent / "docs"
OPEN, CLOSE = "<!-- table: benchmarks/demo_models.py -->\n", "<!-- end -->"
ROWS = {
    "drawn": "drawn by the model",
    "drawn, 512 tokens": "the same, captions padded to 512 tokens",
    "decoded": "rendered, through the autoencoder",
    "rendered": "rendered",
}


@dataclasses.dataclass(frozen=True)
class Demo:
    """What is drawn, and how it is read.

    Args:
        what: The word for what the model draws.
        draw: Draws what a caption is to say.
        render: Shows that, in [0, 1].
        check: Draws by the pipeline, reads, and saves the sheet.
        lengths: Tokens that captions are padded to, and the part of all captions that is drawn so, by row.
        shown: How many are on the sheet.
        sheet: Options of the sheet.
    """

    what: str
    draw: Callable[..., Any]
    render: Callable[[list[Any], torch.Generator], torch.Tensor]
    check: Any
    lengths: dict[str, tuple[int, float]]
    shown: int
    sheet: dict[str, Any]


MODELS = {
    # 512 tokens take six times as long there, and a quarter of the captions has to do; clips do not mind
    "scenes": Demo(
        "pictures",
        draw_scene,
        picture,
        pictures,
        {"drawn": (32, 1), "drawn, 512 tokens": (512, 1 / 4)},
        32,
        {"zoom": 2},
    ),
    "motion": Demo(
        "clips", draw_clip, lambda asked, generator: render(plot(asked, generator)), clips, {"drawn": (512, 1)}, 24, {}
    ),
}


def measured(model: str, count: int, seed: int, **options: Any) -> dict[str, Any]:
    """Draw captions, read what was drawn, and save the sheet; return the shares that are right."""
    demo, pipe, generator = MODELS[model], loaded(model), torch.Generator().manual_seed(seed)
    asked = [demo.draw(generator, held_out=True) for _ in range(count)]
    found = {
        name: demo.check.sample(pipe, asked[: round(count * part)], length=length, seed=seed, **options)
        for name, (length, part) in demo.lengths.items()
    }
    demo.check.save_sheet(
        asked[: demo.shown], found["drawn"][: demo.shown], DOCS / "images" / f"{model}.png", **demo.sheet
    )
    rendered = demo.render(asked, generator)
    found |= {"decoded": decoded(pipe.vae, rendered), "rendered": rendered}
    right = {
        name: {"number": len(images), **demo.check.shares(asked[: len(images)], images)}
        for name, images in found.items()
    }
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


def table(model: str, document: dict[str, Any]) -> str:
    """Return the table of the page."""
    settings, found = document["settings"], document["right"]
    kinds = [kind for kind in MODELS[model].check.KINDS if kind in found["drawn"]]
    lines = [
        f"Share of {MODELS[model].what} that show what their caption says, on captions of unseen combinations, "
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
        write(name, {"settings": settings, **measured(model, options.count, options.seed, **drawn)})
    page = DOCS / f"{model}.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(OPEN)
    document = files.read_json(RESULTS / name)
    files.write(page, before + OPEN + table(model, document) + CLOSE + rest.partition(CLOSE)[2])


if __name__ == "__main__":
    main()
