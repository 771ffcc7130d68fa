"""Measure the motion model: how often its clips obey their captions.

For example::

    python -m demos.motion.check runs/motion/pipeline --count 100 --steps 20 --sheet motion.png
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demos.motion.tokens import LENGTH
from demos.pictures import write_picture
from padecast import files
from padecast.calibration.provenance import Provenance
from padecast.zoo.motion.appearance import FRAMES
from padecast.zoo.motion.grammar import Clip, draw
from padecast.zoo.motion.judge import KINDS, obeyed
from padecast.zoo.motion.pipeline import load
from padecast.zoo.motion.read import read
from padecast.zoo.scenes.appearance import SIZE

PICKED = (0, 4, 8, 12, 16)  # frames on a sheet


def shares(clips: Sequence[Clip], pixels: Tensor) -> dict[str, float]:
    """Share of clips (B, 3, 17, 64, 64) in [0, 1] that obey, for each kind that any caption speaks of."""
    results = [obeyed(clip, reading) for clip, reading in zip(clips, read(pixels), strict=True)]
    spoken = {kind: [result[kind] for result in results if kind in result] for kind in KINDS}
    return {kind: sum(values) / len(values) for kind, values in spoken.items() if values}


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
    drawn = []
    for chosen in torch.arange(len(clips)).split(batch):
        output = pipe(
            [clips[index].caption for index in chosen.tolist()],
            height=SIZE,
            width=SIZE,
            num_frames=FRAMES,
            num_inference_steps=steps,
            guidance_scale=guidance,
            max_sequence_length=length,
            generator=[torch.Generator().manual_seed(seed + index) for index in chosen.tolist()],
            output_type="pt",
        )
        drawn.append(output.frames.float().cpu().transpose(1, 2))
    return torch.cat(drawn)


def save_sheet(clips: Sequence[Clip], pixels: Tensor, path: Path, *, columns: int = 2, zoom: int = 2) -> None:
    """Write clips (B, 3, 17, 64, 64) as one picture: five frames in a row above the caption; one disobeyed is red."""
    from PIL import Image, ImageDraw

    side = SIZE * zoom
    wide, high = (side + 2) * len(PICKED) + 14, side + 26
    sheet = Image.new("RGB", (wide * columns, high * -(-len(clips) // columns)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (clip, reading) in enumerate(zip(clips, read(pixels), strict=True)):
        x, y = wide * (index % columns), high * (index // columns)
        for place, frame in enumerate(PICKED):
            values = (pixels[index, :, frame] * 255).round().byte().permute(1, 2, 0).numpy()
            shown = Image.fromarray(values).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(shown, (x + (side + 2) * place, y))
        pen.text((x, y + side + 4), clip.caption, fill="black" if obeyed(clip, reading)["all"] else "red")
    write_picture(sheet, path)


def read_options(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.motion.check", description="measure how often clips obey their captions"
    )
    parser.add_argument("folder", type=Path, help="a motion pipeline, as training writes it")
    parser.add_argument("--count", type=int, default=100, help="clips (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="solver steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=3.0, help="guidance scale (%(default)s)")
    parser.add_argument("--length", type=int, default=LENGTH, help="tokens that captions are padded to (%(default)s)")
    parser.add_argument("--seen", action="store_true", help="captions like those of training, instead of unseen ones")
    parser.add_argument("--seed", type=int, default=0, help="seed of captions and of the first clip (%(default)s)")
    parser.add_argument("--sheet", type=Path, help="write the first 24 clips with their captions as a PNG")
    parser.add_argument("--json", type=Path, help="write the shares, and where they come from, as JSON")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.motion.check --help``."""
    options = read_options(argv)
    generator = torch.Generator().manual_seed(options.seed)
    clips = [draw(generator, held_out=not options.seen) for _ in range(options.count)]
    pipe = load(options.folder)
    pipe.set_progress_bar_config(disable=True)
    settings = {name: getattr(options, name) for name in ("steps", "guidance", "length", "seed")}
    pixels = sample(pipe, clips, **settings)
    if options.sheet:
        save_sheet(clips[:24], pixels[:24], options.sheet)
    found = shares(clips, pixels)
    kind = "seen" if options.seen else "unseen"
    print(f"{options.count} clips of {kind} captions, {options.steps} steps, guidance {options.guidance}: share right")
    for name, share in found.items():
        print(f"    {name:<12}{share:.3f}")
    if options.json:
        document = {"captions": kind, "count": options.count, **settings, "right": found}
        document["provenance"] = dataclasses.asdict(Provenance.of(pipe))
        files.write(options.json, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
