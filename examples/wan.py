"""Wan2.1 on one card of 24 GB: a clip with forecasts, and the same clip without.

    pip install . "diffusers>=0.40" transformers accelerate sentencepiece ftfy imageio imageio-ffmpeg
    python examples/wan.py --prompt "a cat walks on the grass"

Not run with real weights: this project had no GPU. Its calls are tested with a tiny Wan.

The model of 1.3 billion parameters fits such a card; its text encoder is larger than it. So the pipeline keeps weights
in host memory and moves to the card what runs (`enable_model_cpu_offload`). For the model of 14 billion say
--offload group.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import padecast


def load(name: str, offload: str) -> Any:
    """Load the pipeline in bfloat16, its decoder in float32."""
    from diffusers import AutoencoderKLWan, WanPipeline

    vae = AutoencoderKLWan.from_pretrained(name, subfolder="vae", dtype=torch.float32)
    pipe = WanPipeline.from_pretrained(name, vae=vae, dtype=torch.bfloat16)
    if pipe.transformer.dtype != torch.bfloat16:  # older releases ignore dtype=, and load twice as much
        raise SystemExit("this diffusers does not know dtype=: pip install -U 'diffusers>=0.40'")
    if offload == "model":
        pipe.enable_model_cpu_offload()
    elif offload == "group":
        pipe.enable_group_offload(onload_device=torch.device("cuda"), offload_type="leaf_level", use_stream=True)
    else:
        pipe.to("cuda")
    return pipe


def draw(pipe: Any, options: argparse.Namespace) -> Any:
    """Draw one clip."""
    height, width = map(int, options.size.split("x"))
    return pipe(
        options.prompt,
        negative_prompt=options.negative,
        height=height,
        width=width,
        num_frames=options.frames,
        num_inference_steps=options.steps,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(options.seed),
    ).frames[0]


def save(frames: Any, path: Path) -> None:
    """Write a clip."""
    from diffusers.utils import export_to_video

    export_to_video(frames, str(path), fps=16)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="Wan-AI/Wan2.1-T2V-1.3B-Diffusers")
    parser.add_argument("--prompt", default="a cat walks on the grass")
    parser.add_argument("--negative", default="blurry, low quality")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--size", default="480x832", help="height x width")
    parser.add_argument("--frames", type=int, default=33, help="4 k + 1 of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=3.0, help="one step of so many is computed, and the last")
    parser.add_argument("--offload", choices=("model", "group", "none"), default="model")
    parser.add_argument("--out", type=Path, default=Path("wan-clips"))
    options = parser.parse_args(words)

    options.out.mkdir(parents=True, exist_ok=True)
    pipe = load(options.model, options.offload)
    with padecast.accelerate(pipe, f"tc-pade:every={options.every:g}") as run:
        save(draw(pipe, options), options.out / "forecast.mp4")
        print(run.report)
    save(draw(pipe, options), options.out / "uncached.mp4")


if __name__ == "__main__":
    main()
