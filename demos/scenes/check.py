"""Measure the scenes model: how often its pictures obey their captions.

For example::

    python -m demos.scenes.check runs/scenes/pipeline --count 200 --steps 20 --sheet scenes.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demos import obedience
from demos.pictures import EDGE, LINE, break_lines, write_caption, write_picture
from padecast.zoo.scenes.appearance import SIZE
from padecast.zoo.scenes.grammar import Scene, draw
from padecast.zoo.scenes.judge import KINDS, obeyed
from padecast.zoo.scenes.pipeline import load
from padecast.zoo.scenes.read import read


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

    def call(captions: list[str], generator: list[torch.Generator]) -> Tensor:
        images: Tensor = pipe(
            captions,
            height=SIZE,
            width=SIZE,
            num_inference_steps=steps,
            guidance_scale=guidance,
            max_sequence_length=length,
            generator=generator,
            output_type="pt",
        ).images
        return images.float()

    return obedience.sample(call, [scene.caption for scene in scenes], seed=seed, batch=batch)


def save_sheet(scenes: Sequence[Scene], images: Tensor, path: Path, *, columns: int = 6, zoom: int = 2) -> None:
    """Write pictures (B, 3, 64, 64) as one, each enlarged and above its caption; a caption disobeyed is red."""
    from PIL import Image, ImageDraw

    side = SIZE * zoom
    lines = max(len(break_lines(f"not obeyed: {scene.caption}", side - EDGE)) for scene in scenes)
    wide, high = side + 2 * EDGE, side + LINE * (lines + 1)
    sheet = Image.new("RGB", (wide * columns, high * -(-len(scenes) // columns)), "white")
    pen = ImageDraw.Draw(sheet)
    readings = read(images)
    for index, scene in enumerate(scenes):
        x, y = wide * (index % columns) + EDGE, high * (index // columns)
        pixels = (images[index] * 255).round().byte().permute(1, 2, 0).numpy()
        sheet.paste(Image.fromarray(pixels).resize((side,) * 2, Image.Resampling.NEAREST), (x, y))
        write_caption(pen, (x, y + side), scene.caption, side, obeyed=obeyed(scene, readings[index])["all"])
    write_picture(sheet, path)


EXAMINATION = obedience.Examination("scenes", "pictures", 48, KINDS, draw, load, sample, read, obeyed, save_sheet)
shares = EXAMINATION.shares


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.scenes.check --help``."""
    EXAMINATION.examine(EXAMINATION.parser(count=200, guidance=3.5, length=512).parse_args(argv))


if __name__ == "__main__":
    main()
