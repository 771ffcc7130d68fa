"""Measure the scenes model: how often its pictures obey their captions.

For example::

    python -m demos.scenes.check runs/scenes/pipeline --count 200 --steps 20 --sheet scenes.png
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demos.pictures import write_picture
from padecast.zoo.scenes.appearance import SIZE
from padecast.zoo.scenes.grammar import Scene, draw
from padecast.zoo.scenes.judge import KINDS, obeyed
from padecast.zoo.scenes.pipeline import load
from padecast.zoo.scenes.read import read

LETTER = 5  # pixels that a letter of a sheet takes


def shares(scenes: Sequence[Scene], images: Tensor) -> dict[str, float]:
    """Share of pictures (B, 3, 64, 64) in [0, 1] that obey their scenes, for each kind that any of them speaks of."""
    results = [obeyed(scene, reading) for scene, reading in zip(scenes, read(images), strict=True)]
    spoken = {kind: [result[kind] for result in results if kind in result] for kind in KINDS}
    return {kind: sum(values) / len(values) for kind, values in spoken.items() if values}


def sample(
    pipe: Any, scenes: Sequence[Scene], *, steps: int, guidance: float, length: int, seed: int = 0, batch: int = 20
) -> Tensor:
    """Draw each scene's caption with the pipeline; picture k has the generator seed ``seed + k``.

    Args:
        pipe: the scenes pipeline.
        scenes: B of them.
        steps: solver steps.
        guidance: guidance scale.
        length: tokens that captions are padded to; the pipeline's own default is 512.
        seed: of the first picture, default 0.
        batch: pictures per call, default 20.

    Returns:
        (B, 3, 64, 64) in [0, 1], float32.
    """
    images = []
    for chosen in torch.arange(len(scenes)).split(batch):
        output = pipe(
            [scenes[index].caption for index in chosen.tolist()],
            height=SIZE,
            width=SIZE,
            num_inference_steps=steps,
            guidance_scale=guidance,
            max_sequence_length=length,
            generator=[torch.Generator().manual_seed(seed + index) for index in chosen.tolist()],
            output_type="pt",
        )
        images.append(output.images.float().cpu())
    return torch.cat(images)


def save_sheet(scenes: Sequence[Scene], images: Tensor, path: Path, *, columns: int = 8, zoom: int = 3) -> None:
    """Write pictures (B, 3, 64, 64) as one, each enlarged and above its caption; a caption disobeyed is red."""
    from PIL import Image, ImageDraw

    wide, high = SIZE * zoom + 8, SIZE * zoom + 56
    sheet = Image.new("RGB", (wide * columns, high * -(-len(scenes) // columns)), "white")
    pen = ImageDraw.Draw(sheet)
    readings = read(images)
    for index, scene in enumerate(scenes):
        x, y = wide * (index % columns), high * (index // columns)
        pixels = (images[index] * 255).round().byte().permute(1, 2, 0).numpy()
        sheet.paste(Image.fromarray(pixels).resize((SIZE * zoom,) * 2, Image.Resampling.NEAREST), (x, y))
        lines = textwrap.wrap(scene.caption, wide // LETTER)
        colour = "black" if obeyed(scene, readings[index])["all"] else "red"
        pen.multiline_text((x, y + SIZE * zoom), "\n".join(lines), fill=colour, spacing=0)
    write_picture(sheet, path)


def read_options(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.scenes.check", description="measure how often pictures obey their captions"
    )
    parser.add_argument("folder", type=Path, help="a scenes pipeline, as training writes it")
    parser.add_argument("--count", type=int, default=200, help="pictures (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="solver steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=3.5, help="guidance scale (%(default)s)")
    parser.add_argument("--length", type=int, default=512, help="tokens that captions are padded to (%(default)s)")
    parser.add_argument("--seen", action="store_true", help="captions like those of training, instead of unseen ones")
    parser.add_argument("--seed", type=int, default=0, help="seed of captions and of the first picture (%(default)s)")
    parser.add_argument("--sheet", type=Path, help="write the first 48 pictures with their captions as a PNG")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.scenes.check --help``."""
    options = read_options(argv)
    generator = torch.Generator().manual_seed(options.seed)
    scenes = [draw(generator, held_out=not options.seen) for _ in range(options.count)]
    pipe = load(options.folder)
    pipe.set_progress_bar_config(disable=True)
    images = sample(
        pipe, scenes, steps=options.steps, guidance=options.guidance, length=options.length, seed=options.seed
    )
    if options.sheet:
        save_sheet(scenes[:48], images[:48], options.sheet)
    kind = "seen" if options.seen else "unseen"
    print(
        f"{options.count} pictures of {kind} captions, {options.steps} steps, guidance {options.guidance}: share right"
    )
    for name, share in shares(scenes, images).items():
        print(f"    {name:<12}{share:.3f}")


if __name__ == "__main__":
    main()
