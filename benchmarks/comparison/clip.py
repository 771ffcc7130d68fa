"""The moving picture of docs/motion.md: one caption, one seed, six computed steps, every way above its difference.

    python -m benchmarks.comparison.clip            # draws: minutes on a core; results/clip.json, docs/images/clip.gif
    python -m benchmarks.comparison.clip --check    # fails if the caption is not what the result file says

The world is motion as Wan. The seed is chosen by a rule: of those of results/worlds-motion-as-wan-64.json, the one at
which padecast's PSNR is the median. Ways are drawn as benchmarks.comparison.hero draws them.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import DOCS, Document, insert, load, provenance, publish, read, render, write
from benchmarks.comparison.hero import COMPUTED, DEVELOPMENT, GAIN, PADECAST, choose_seed, enter, picture
from padecast import files, lab
from padecast.lab.experiment import read as read_experiment

FILE, SCRIPT = "clip.json", "benchmarks/comparison/clip.py"
PICTURE, PAGE = DOCS / "images" / "clip.gif", DOCS / "motion.md"
RESULT, EXPERIMENT = "worlds-motion-as-wan-64.json", "benchmarks/experiments/motion-as-wan.toml"
WAYS = ("uncached", "fewer-steps", PADECAST)
MILLISECONDS, LARGEST = 120, 1_500_000
"""How long a frame is shown, and the bytes of a picture that loads at once."""


def draw() -> tuple[Document, dict[str, Tensor]]:
    """Draw the seed in every way; return figures, and clips ``(frames, channels, height, width)``."""
    setting, chapter = (
        read_experiment(files.locate(EXPERIMENT)).settings[0],
        next(iter(read(RESULT)["chapters"].values())),
    )
    (row,) = (row for row in chapter["rows"] if row["wanted"] == COMPUTED and row["name"] == PADECAST)
    seed = choose_seed(row, chapter["settings"]["seeds"])
    call = lab.Sampling(setting.prompts, setting.classes, setting.guidance, arguments=dict(setting.arguments))
    work = lab.Task(load("motion:as-wan"), call, setting.steps, (seed,), 1, "clip", DEVELOPMENT)
    clips, figures = dict[str, Tensor](), list[Document]()
    for name in WAYS:
        drawn = lab.draw(work, enter(name, None, work), (seed,))
        clips[name] = drawn.images[0]
        decibels = lab.psnr(drawn.images, clips["uncached"][None]).clamp_max(100.0)
        figures.append({"name": name, "computed": drawn.nfe, "psnr": round(float(decibels[0]), 1)})
    return {
        "kind": "padecast clip",
        "provenance": provenance(work.pipe),
        "world": "motion:as-wan",
        "steps": setting.steps,
        "seed": seed,
        "seeds": len(chapter["settings"]["seeds"]),
        "prompt": setting.prompts[seed % len(setting.prompts)],
        "gain": GAIN,
        "rows": figures,
    }, clips


def animate(document: Document, clips: dict[str, Tensor]) -> bytes:
    """Return a GIF of all frames, in one palette, so that what stands still does not flicker."""
    from PIL import Image

    frames = [
        Image.fromarray(_render(picture(document, {name: clip[place] for name, clip in clips.items()})))
        for place in range(len(clips["uncached"]))
    ]
    palette = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames[::4]])).quantize(256)
    shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with BytesIO() as file:
        shown[0].save(file, "GIF", save_all=True, append_images=shown[1:], duration=MILLISECONDS, loop=0)
        return file.getvalue()


def _render(figure: Any) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def main() -> None:
    """Draw and write, or check the caption."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare the caption with what is committed")
    check = parser.parse_args().check
    if not check:
        with torch.no_grad():
            document, clips = draw()
        write(FILE, document)
        files.write(PICTURE, animate(document, clips))
    if PICTURE.stat().st_size > LARGEST:
        raise SystemExit(f"{PICTURE.name} has {PICTURE.stat().st_size} bytes, and {LARGEST} may be had")
    text = render("comparison/clip.md.jinja", clip=read(FILE), picture=f"images/{PICTURE.name}")
    publish({PAGE: insert(PAGE, SCRIPT, text)}, check=check)


if __name__ == "__main__":
    main()
