"""FLUX.1-dev on one card of 24 GB, with and without forecasts.

    pip install . "diffusers>=0.40" transformers accelerate sentencepiece
    python examples/flux.py --prompt "a red fox in the snow"

The weights are gated: accept the licence of black-forest-labs/FLUX.1-dev on the Hub, and log in (`hf auth login`).

Not run with real weights: this project had no GPU. Its calls are tested with a tiny FLUX.

The weights are about 33 GB in bfloat16, more than such a card has. So the pipeline keeps them in host memory and moves
to the card what runs (`enable_model_cpu_offload`). The transformer alone is 24 GB: where it does not fit, take
--offload group, which has a few layers on the card at a time and is slower. On a larger card say --offload none.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import padecast


def load(name: str, offload: str) -> Any:
    """Load the pipeline in bfloat16."""
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained(name, dtype=torch.bfloat16)
    if pipe.transformer.dtype != torch.bfloat16:  # older releases ignore dtype=, and load twice as much
        raise SystemExit("this diffusers does not know dtype=: pip install -U 'diffusers>=0.40'")
    if offload == "model":
        pipe.enable_model_cpu_offload()
    elif offload == "group":
        pipe.enable_group_offload(onload_device=torch.device("cuda"), offload_type="leaf_level", use_stream=True)
    else:
        pipe.to("cuda")
    return pipe


def draw(pipe: Any, prompt: str, steps: int, size: int, seed: int) -> Any:
    """Draw one image."""
    generator = torch.Generator("cpu").manual_seed(seed)  # on the host, so that a seed means the same everywhere
    return pipe(
        prompt, height=size, width=size, num_inference_steps=steps, guidance_scale=3.5, generator=generator
    ).images[0]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="black-forest-labs/FLUX.1-dev")
    parser.add_argument("--prompt", default="a red fox in the snow")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--computed", type=int, default=10, help="steps of a run that are computed")
    parser.add_argument("--offload", choices=("model", "group", "none"), default="model")
    parser.add_argument("--out", type=Path, default=Path("flux-images"))
    options = parser.parse_args(words)

    options.out.mkdir(parents=True, exist_ok=True)
    pipe = load(options.model, options.offload)
    with padecast.accelerate(pipe, "learned", computed=options.computed) as run:
        for seed in range(options.seeds):  # the first is computed whole and teaches; the next follow a plan
            image = draw(pipe, options.prompt, options.steps, options.size, seed)
            image.save(options.out / f"{seed}.png")
            print(run.report)
    last = options.seeds - 1
    draw(pipe, options.prompt, options.steps, options.size, last).save(options.out / f"{last}-uncached.png")


if __name__ == "__main__":
    main()
