"""Measure the motion model: how often its clips obey their captions.

For example::

    python -m demos.motion.check runs/motion/pipeline --count 100 --steps 20 --sheet motion.png
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demos import obedience
from demos.motion.tokens import LENGTH
from demos.pictures import EDGE, LINE, break_lines, write_caption, write_picture
from padecast import files
from padecast.calibration.provenance import Provenance
from padecast.zoo.motion.appearance import FRAMES
from padecast.zoo.motion.grammar import Clip, draw
from padecast.zoo.motion.judge import KINDS, obeyed
from padecast.zoo.motion.pipeline import load
from padecast.zoo.motion.read import read
from padecast.zoo.scenes.appearance import SIZE

PICKED = (0, 4, 8, 12, 16)  # frames on a sheet


def sample(
    pipe: Any, clips: Sequence[Clip], *, steps: int, guidance: float, length: int, seed: int = 0, batch: int = 20
) -> Tensor:
    """Draw each caption with the pipeline; clip k has the generator seed ``seed + k``.

    Args:
        pipe: the motion pipeline.
        clips: B of them.
        steps: solver steps.
        guidance: guidance scale.
        length: tokens that captions are padded to; the pipeline's own default is 512.
        seed: of the first clip, default 0.
        batch: clips per call, default 20.

    Returns:
        (B, 3, 17, 64, 64) in [0, 1], float32.
    """

    def call(captions: list[str], generator: list[torch.Generator]) -> Tensor:
        frames: Tensor = pipe(
            captions,
            height=SIZE,
            width=SIZE,
            num_frames=FRAMES,
            num_inference_steps=steps,
            guidance_scale=guidance,
            max_sequence_length=length,
            generator=generator,
            output_type="pt",
        ).frames
        return frames.float().transpose(1, 2)

    return obedience.sample(call, [clip.caption for clip in clips], seed=seed, batch=batch)


def save_sheet(clips: Sequence[Clip], pixels: Tensor, path: Path, *, columns: int = 2, zoom: int = 1) -> None:
    """Write clips (B, 3, 17, 64, 64) as one picture: five frames in a row above the caption; one disobeyed is red."""
    from PIL import Image, ImageDraw

    side = SIZE * zoom
    strip = (side + 2) * len(PICKED)
    lines = max(len(break_lines(f"not obeyed: {clip.caption}", strip - EDGE)) for clip in clips)
    wide, high = strip + 2 * EDGE, side + LINE * (lines + 1)
    sheet = Image.new("RGB", (wide * columns, high * -(-len(clips) // columns)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (clip, reading) in enumerate(zip(clips, read(pixels), strict=True)):
        x, y = wide * (index % columns) + EDGE, high * (index // columns)
        for place, frame in enumerate(PICKED):
            values = (pixels[index, :, frame] * 255).round().byte().permute(1, 2, 0).numpy()
            shown = Image.fromarray(values).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(shown, (x + (side + 2) * place, y))
        write_caption(pen, (x, y + side), clip.caption, strip, obeyed=obeyed(clip, reading)["all"])
    write_picture(sheet, path)


EXAMINATION = obedience.Examination("motion", "clips", 24, KINDS, draw, load, sample, read, obeyed, save_sheet)
shares = EXAMINATION.shares


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.motion.check --help``."""
    parser = EXAMINATION.parser(count=100, guidance=3.0, length=LENGTH)
    parser.add_argument("--json", type=Path, help="write the shares, and where they come from, as JSON")
    options = parser.parse_args(argv)
    pipe, right = EXAMINATION.examine(options)
    if options.json:
        settings = {name: getattr(options, name) for name in obedience.SETTINGS}
        document = {"captions": obedience.describe(options), "count": options.count, **settings, "right": right}
        document["provenance"] = dataclasses.asdict(Provenance.of(pipe))
        files.write(options.json, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
