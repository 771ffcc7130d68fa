"""Tiny pipelines with random weights, and how an image is drawn with them."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from benchmarks.common import hush

STEPS = 8
ROUNDING = 1e-4
"""Of steady runs: a larger share of the largest value than this is not rounding."""

FLUX = {
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "in_channels": 4,
    "joint_attention_dim": 8,
    "pooled_projection_dim": 8,
    "axes_dims_rope": (4, 4, 8),
}
WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 8,
    "freq_dim": 16,
    "ffn_dim": 32,
    "num_layers": 3,
    "rope_max_seq_len": 32,
}


def random(*shape: int, seed: int) -> Tensor:
    """Return random numbers of a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def autoencoder() -> nn.Module:
    """Return a tiny autoencoder."""
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=1,
        norm_num_groups=2,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1,
        scaling_factor=0.5,
    ).eval()


def flux(kind: Any = None, **parts: Any) -> Any:
    """Return a FLUX pipeline, or one of another kind of the same parts."""
    torch.manual_seed(0)
    fixed = {
        "transformer": diffusers.FluxTransformer2DModel(**FLUX).eval(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": autoencoder(),
        **dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")),
    }
    return hush((kind or diffusers.FluxPipeline)(**{**fixed, **parts}))


def image_to_image(**parts: Any) -> Any:
    """Return a FLUX image-to-image pipeline."""
    return flux(diffusers.FluxImg2ImgPipeline, **parts)


def flux_controlnet() -> Any:
    """Return a FLUX ControlNet pipeline."""
    torch.manual_seed(4)
    net = diffusers.FluxControlNetModel(**FLUX).eval()
    for projection in (*net.controlnet_blocks, *net.controlnet_single_blocks):
        nn.init.normal_(projection.weight)  # they start as zeros, and a control that adds nothing tests nothing
    return flux(diffusers.FluxControlNetPipeline, controlnet=net)


def wan(scheduler: Any = None) -> Any:
    """Return a Wan pipeline."""
    torch.manual_seed(0)
    model = diffusers.WanTransformer3DModel(**WAN).eval()
    scheduler = scheduler or diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    return hush(diffusers.WanPipeline(transformer=model, scheduler=scheduler, **parts))


def wan_heun() -> Any:
    """Return a Wan pipeline under Heun's method."""
    return wan(diffusers.FlowMatchHeunDiscreteScheduler())


def prompts(count: int, mate: int = 7, first: int = 0, strength: float = 1.0) -> dict[str, Tensor]:
    """Embeddings of one prompt, and of another one in the batch: which prompts, and how large the other's are."""
    shapes = {"prompt_embeds": (5, 8), "negative_prompt_embeds": (5, 8)}
    shapes |= {"pooled_prompt_embeds": (8,), "negative_pooled_prompt_embeds": (8,)}
    which = [(first, 1.0), *[(mate, strength)] * (count - 1)]
    return {
        name: torch.cat([size * random(1, *shape, seed=2 + 1000 * i + number) for number, size in which])
        for i, (name, shape) in enumerate(shapes.items())
    }


def draw(pipe: Any, seed: int = 3, size: int = 16, count: int = 1, guided: bool = False, **options: Any) -> Tensor:
    """Run a pipeline of any of the kinds above."""
    fixed: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "latent", **prompts(count)}
    fixed["generator"] = [torch.Generator().manual_seed(seed + j) for j in range(count)]
    if isinstance(pipe, diffusers.WanPipeline):
        fixed = {name: value for name, value in fixed.items() if "pooled" not in name}
        fixed |= {"height": 2 * size, "width": 2 * size, "num_frames": 5, "guidance_scale": 5.0 if guided else 1.0}
        return pipe(**{**fixed, **options}).frames
    fixed |= {"height": size, "width": size, "true_cfg_scale": 3.0 if guided else 1.0}
    picture = random(count, 3, size, size, seed=6).sigmoid()
    if isinstance(pipe, diffusers.FluxImg2ImgPipeline):
        fixed |= {"image": picture, "strength": 0.6}
    if isinstance(pipe, diffusers.FluxControlNetPipeline):
        fixed |= {"control_image": picture}
    return pipe(**{**fixed, **options}).images


def steady(pipe: Any) -> Any:
    """Make a pipeline's models blind to the timestep."""
    for name, model in pipe.components.items():
        if name in ("transformer", "controlnet"):
            for path, part in model.named_modules():
                if path.endswith(("timestep_embedder", "time_embedder")):
                    nn.init.zeros_(part.linear_2.weight)
    return pipe


def put_back(pipe: Any) -> dict[str, Any]:
    """What makes a run steady: the latents it starts from, and puts back after each step."""
    latents = random(1, 4, 2, 4, 4, seed=8) if isinstance(pipe, diffusers.WanPipeline) else random(1, 16, 4, seed=8)
    return {"latents": latents.clone(), "callback_on_step_end": lambda *_: {"latents": latents.clone()}}
