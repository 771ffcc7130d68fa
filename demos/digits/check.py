"""Measure the demo digits model: how many of its samples are read as their label.

For example::

    python -m demos.digits.check --steps 20 --guidance 3 --shift 1 --grid digits.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from demos import obedience
from demos.pictures import write_picture
from padecast.zoo import load
from padecast.zoo.classifier import load_classifier
from padecast.zoo.digits import DigitsPipeline


def sample(
    pipe: DigitsPipeline,
    count: int,
    *,
    steps: int,
    guidance: float,
    shift: float,
    seed: int = 0,
    batch: int = 64,
) -> tuple[Tensor, Tensor]:
    """Draw digits 0, 1, ..., 9, 0, 1, ...; sample k has the generator seed ``seed + k``.

    Args:
        pipe: the demo pipeline.
        count: how many digits.
        steps: solver steps.
        guidance: guidance scale.
        shift: shift of the schedule.
        seed: of the first sample, default 0.
        batch: digits per call, default 64.

    Returns:
        Images (count, 1, 16, 16) in [0, 1], and labels (count,).
    """
    labels = torch.arange(count) % 10

    def call(labels: list[int], generator: list[torch.Generator]) -> Tensor:
        images: Tensor = pipe(
            torch.tensor(labels),
            num_inference_steps=steps,
            guidance_scale=guidance,
            shift=shift,
            generator=generator,
            output_type="pt",
        ).images
        return images

    return obedience.sample(call, labels.tolist(), seed=seed, batch=batch), labels


@torch.no_grad()
def share_read(images: Tensor, labels: Tensor) -> float:
    """Share of images (B, 1, 16, 16) that the shipped classifier reads as their label (B,)."""
    return float((load_classifier()(images).argmax(1) == labels).double().mean())


def save_grid(images: Tensor, path: Path, *, columns: int = 20, zoom: int = 4) -> None:
    """Write images (B, 1, 16, 16) as one picture, ``columns`` to a row, enlarged ``zoom`` times."""
    from PIL import Image

    rows = [torch.cat(list(row), dim=-1) for row in images[: len(images) // columns * columns].split(columns)]
    pixels = (torch.cat(rows, dim=-2)[0] * 255).round().byte().numpy()
    picture = Image.fromarray(pixels)
    write_picture(picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST), path)


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.digits.check --help``."""
    parser = argparse.ArgumentParser(prog="python -m demos.digits.check", description="measure the demo digits model")
    parser.add_argument("--count", type=int, default=640, help="samples (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="solver steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=3.0, help="guidance scale (%(default)s)")
    parser.add_argument("--shift", type=float, default=1.0, help="shift of the schedule (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first sample (%(default)s)")
    parser.add_argument("--pipeline", type=Path, help="a pipeline folder (the shipped one)")
    parser.add_argument("--grid", type=Path, help="write the samples as a picture")
    options = parser.parse_args(argv)
    pipe = (
        DigitsPipeline.from_pretrained(options.pipeline, use_safetensors=True) if options.pipeline else load("digits")
    )
    pipe.set_progress_bar_config(disable=True)
    images, labels = sample(
        pipe,
        options.count,
        steps=options.steps,
        guidance=options.guidance,
        shift=options.shift,
        seed=options.seed,
    )
    if options.grid:
        save_grid(images, options.grid)
    print(
        f"{share_read(images, labels):.4f} of {options.count} samples are read as their label "
        f"({options.steps} steps, guidance {options.guidance}, shift {options.shift})"
    )


if __name__ == "__main__":
    main()
