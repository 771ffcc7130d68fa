"""Models with random weights, or the demo model, and how they are run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

import padecast
from benchmarks.common import SETTINGS, hush, load
from padecast import Handle, lab
from padecast.methods import Method

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")


@dataclass
class Case:
    """A model, how it is run for some steps, and on what.

    Args:
        name: As in the tables.
        pipe: A pipeline, or what has a ``transformer``.
        run: Samples with so many steps.
        target: What padecast is put on: the pipeline, or the bare model.
        steps: Sampler steps.
        about: Sizes, in words.
    """

    name: str
    pipe: Any
    run: Callable[[int], Any]
    steps: int
    about: str
    target: Any = None

    def __call__(self) -> Any:
        with torch.no_grad():
            return self.run(self.steps)

    def accelerate(self, method: Method, *, measure: bool = False, offload: bool = False) -> Handle:
        """Switch padecast on, to be used as a context; a bare model has no scheduler that says its steps."""
        steps = self.steps if isinstance(self.target, nn.Module) else None
        return padecast.accelerate(self.target, method, steps=steps, measure=measure, offload=offload)

    @property
    def model(self) -> nn.Module:
        return self.pipe.transformer  # type: ignore[no-any-return]

    @property
    def blocks(self) -> list[nn.Module]:
        names = ("transformer_blocks", "single_transformer_blocks", "blocks")
        return [block for name in names for block in getattr(self.model, name, ())]


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the same random numbers every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)


def make(kind: Any, dtype: torch.dtype, **sizes: Any) -> Any:
    """Make a model with random weights where it is to lie, in the dtype it is to have."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with DEVICE:
            model = kind(**sizes)
    finally:
        torch.set_default_dtype(before)
    return nn.Module.to(model, dtype).eval()  # diffusers' own `to` warns


def digits(batch: int = 16, steps: int = 20) -> Case:
    """Return the demo model."""
    pipe = hush(load("digits"))
    call, seeds = lab.Sampling(**SETTINGS["hard"]), tuple(range(20_000, 20_000 + batch))
    return Case("digits", pipe, lambda n: call(pipe, seeds, num_inference_steps=n), steps, f"batch {batch}, hard", pipe)


def flux(name: str, size: int, steps: int, text: int, dtype: torch.dtype = torch.float32, **sizes: Any) -> Case:
    """Return a FluxPipeline without text encoders."""
    model = make(diffusers.FluxTransformer2DModel, dtype, **sizes)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe = hush(diffusers.FluxPipeline(transformer=model, scheduler=scheduler, **parts))
    config = model.config
    embeds = {
        "prompt_embeds": random(1, text, config.joint_attention_dim, dtype=dtype),
        "pooled_prompt_embeds": random(1, config.pooled_projection_dim, dtype=dtype),
    }

    def run(n: int) -> Any:
        generator = torch.Generator().manual_seed(3)
        fixed = {"height": size, "width": size, "output_type": "latent", "generator": generator}
        return pipe(num_inference_steps=n, **embeds, **fixed)

    blocks = f"{config.num_layers} + {config.num_single_layers} blocks"
    width = config.num_attention_heads * config.attention_head_dim
    about = f"{blocks} of width {width}, {(size // 16) ** 2} + {text} tokens, {str(dtype)[6:]}"
    return Case(name, pipe, run, steps, about, pipe)


def wan(
    name: str, size: tuple[int, int, int], steps: int, text: int, dtype: torch.dtype = torch.float32, **sizes: Any
) -> Case:
    """Return a WanPipeline without a text encoder."""
    model = make(diffusers.WanTransformer3DModel, dtype, **sizes)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    pipe = hush(diffusers.WanPipeline(transformer=model, scheduler=scheduler, **parts))
    embeds = random(1, text, model.config.text_dim, dtype=dtype)
    height, width, frames = size

    def run(n: int) -> Any:
        fixed = {"height": height, "width": width, "num_frames": frames, "output_type": "latent"}
        generator = torch.Generator().manual_seed(3)
        return pipe(prompt_embeds=embeds, guidance_scale=1.0, num_inference_steps=n, generator=generator, **fixed)

    about = f"{model.config.num_layers} blocks, {height} x {width} x {frames}, {str(dtype)[6:]}, one branch"
    return Case(name, pipe, run, steps, about, pipe)


def dit_xl(steps: int, batch: int = 2, dtype: torch.dtype = torch.float32, **changes: Any) -> Case:
    """DiT-XL/2 at 256 x 256, called in a loop without a scheduler; its defaults are nearly the class's."""
    sizes: dict[str, Any] = {"num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4, "out_channels": 8}
    sizes |= {"num_layers": 28, "sample_size": 32, "patch_size": 2, "num_embeds_ada_norm": 1000, **changes}
    model, side = make(diffusers.DiTTransformer2DModel, dtype, **sizes), sizes["sample_size"]
    x, labels = random(batch, 4, side, side, dtype=dtype), torch.zeros(batch, dtype=torch.long, device=DEVICE)

    def run(n: int) -> Any:
        for t in torch.linspace(999, 0, n).long().tolist():
            timestep = torch.full((batch,), t, device=DEVICE)
            out = model(x, timestep=timestep, class_labels=labels).sample
        return out

    about = f"batch {batch}, {(side // 2) ** 2} tokens, {str(dtype)[6:]}, model called in a loop"
    return Case("DiT-XL/2", SimpleNamespace(transformer=model), run, steps, about, model)


def middle_flux(quick: bool) -> Case:
    """Return a FLUX of middle size."""
    sizes: dict[str, Any] = {"num_layers": 3, "num_single_layers": 6, "attention_head_dim": 64}
    sizes |= {"num_attention_heads": 8, "in_channels": 64, "joint_attention_dim": 256, "pooled_projection_dim": 128}
    sizes |= {"axes_dims_rope": (8, 28, 28)}
    sizes |= {"num_layers": 1, "num_single_layers": 2, "num_attention_heads": 2} if quick else {}
    return flux("FLUX, mid-size", 128 if quick else 256, 20, 64, **sizes)


def middle_wan(quick: bool) -> Case:
    """Return a Wan of middle size."""
    heads = 2 if quick else 8
    sizes: dict[str, Any] = {"num_attention_heads": heads, "attention_head_dim": 64, "text_dim": 256}
    sizes |= {"in_channels": 16, "out_channels": 16, "freq_dim": 256, "ffn_dim": 4 * 64 * heads, "num_layers": 6}
    return wan("Wan, mid-size", (64, 64, 5) if quick else (128, 128, 9), 20, 64, **sizes)


def flux_dev(steps: int) -> Case:
    """Return a FLUX of the size of FLUX.1-dev."""
    return flux(f"FLUX.1-dev, {steps} steps", 1024, steps, 512, torch.bfloat16, guidance_embeds=True)


def wan_small(steps: int, frames: int = 81) -> Case:
    """Return a Wan of the size of Wan2.1-1.3B."""
    sizes: dict[str, Any] = {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30}
    return wan("Wan2.1-1.3B", (480, 832, frames), steps, 512, torch.bfloat16, **sizes)
