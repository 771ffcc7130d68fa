"""padecast's trained demo models inside ComfyUI's own classes: scenes in its Flux, motion in its WanModel."""

from __future__ import annotations

import importlib
import math
import re
from functools import cache
from typing import Any

import torch
from tests.comfy import engine
from tests.comfy.models import Conditioning
from torch import Tensor

from padecast import zoo

WAN_NAMES = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("proj_out", "head.head"),
    (r"^scale_shift_table", "head.modulation"),
    ("scale_shift_table", "modulation"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.norm2\.", ".norm3."),
    (r"ffn\.net\.0\.proj", "ffn.0"),
    (r"ffn\.net\.2", "ffn.2"),
)
"""What diffusers calls parts of a Wan model, and what ComfyUI does."""


@cache
def pipeline(name: str) -> Any:
    """Return the demo pipeline of diffusers, which encodes and decodes."""
    return zoo.load(name)


def _make(config: Any, options: dict[str, Any], settings: dict[str, float]) -> Any:
    made = config({**options, "dtype": torch.float32})
    made.sampling_settings = {**made.sampling_settings, **settings}
    return made.get_model({}, device=torch.device("cpu"))


def _patch(model: Any) -> Any:
    cpu = torch.device("cpu")
    return engine.load().model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def scenes(shift: float = math.log(3)) -> Any:
    """Return scenes as a ModelPatcher of ComfyUI's Flux.

    Args:
        shift: Of its noise levels, in the exponent; that of the pipeline unless given.
    """
    weights = pipeline("scenes").transformer.state_dict()
    options = {
        "image_model": "flux",
        "in_channels": 4,
        "out_channels": 4,
        "patch_size": 2,
        "vec_in_dim": 128,
        "context_in_dim": 128,
        "hidden_size": 192,
        "mlp_ratio": 4.0,
        "num_heads": 6,
        "depth": 2,
        "depth_single_blocks": 4,
        "axes_dim": [8, 12, 12],
        "theta": 10000,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
    }
    model = _make(engine.load().supported_models.Flux, options, {"shift": shift})
    names = importlib.import_module("comfy.utils").flux_to_diffusers(options)
    target = model.diffusion_model.state_dict()
    for name, weight in weights.items():
        place = names[name]
        place, part, change = (*((place,) if isinstance(place, str) else place), None, None)[:3]
        value = weight if change is None else change(weight)
        (target[place] if part is None else target[place].narrow(*part)).copy_(value)
    return _patch(model)


def motion() -> Any:
    """Return motion as a ModelPatcher of ComfyUI's WanModel."""
    options = {
        "image_model": "wan2.1",
        "model_type": "t2v",
        "dim": 128,
        "ffn_dim": 384,
        "freq_dim": 256,
        "text_dim": 128,
        "num_heads": 4,
        "num_layers": 8,
    }
    model = _make(engine.load().supported_models.WAN21_T2V, options, {"shift": 3.0})
    weights: dict[str, Tensor] = {}
    for name, weight in pipeline("motion").transformer.state_dict().items():
        for pattern, word in WAN_NAMES:
            name = re.sub(pattern, word, name)
        weights[name] = weight
    model.diffusion_model.load_state_dict(weights)
    return _patch(model)


def encode_scene(caption: str, guidance: float = 3.5) -> Conditioning:
    """Return what a caption becomes for scenes."""
    with torch.no_grad():
        text, pooled, _ = pipeline("scenes").encode_prompt(caption, None)
    return [[text, {"pooled_output": pooled, "guidance": guidance}]]


def encode_clip(caption: str) -> Conditioning:
    """Return what a caption becomes for motion."""
    with torch.no_grad():
        text, _ = pipeline("motion").encode_prompt(caption, do_classifier_free_guidance=False)
    return [[text, {}]]


def latents_of(model: Any, result: Tensor) -> Tensor:
    """Return what ComfyUI's sampler made, on the model's own scale."""
    latents: Tensor = model.model.process_latent_in(result)
    return latents


def show_scene(latents: Tensor) -> Tensor:
    """Decode latents of scenes, to 0 to 1."""
    vae = pipeline("scenes").vae
    with torch.no_grad():
        picture: Tensor = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
    return (picture / 2 + 0.5).clamp(0, 1)


def decibels(picture: Tensor, reference: Tensor) -> float:
    """Return the PSNR of pictures of 0 to 1."""
    return float(-10 * (picture - reference).square().mean().log10())


def show_clip(latents: Tensor) -> Tensor:
    """Decode latents of motion, to 0 to 1, as one sample of frames."""
    pipe = pipeline("motion")
    config = pipe.vae.config
    mean, std = (torch.tensor(config[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    with torch.no_grad():
        clip: Tensor = pipe.vae.decode(latents * std + mean, return_dict=False)[0]
    return (clip / 2 + 0.5).clamp(0, 1)
