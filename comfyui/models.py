"""The demo models of padecast inside ComfyUI's own classes: scenes in its Flux, motion in its WanModel."""

from __future__ import annotations

import copy
import math
import re
from functools import cache
from typing import Any

import comfy.supported_models
import comfy.utils
import torch
from torch import Tensor

GUIDANCE = 3.5
"""Of scenes, which is told it; motion is guided by what it predicts without a caption, at CFG 3."""
SCENES: dict[str, Any] = {
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
    "theta": 10_000,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
"""Its denoiser, in ComfyUI's words."""
MOTION: dict[str, Any] = {
    "image_model": "wan2.1",
    "model_type": "t2v",
    "dim": 128,
    "ffn_dim": 384,
    "freq_dim": 256,
    "text_dim": 128,
    "num_heads": 4,
    "num_layers": 8,
}
"""Its denoiser, in ComfyUI's words."""
SHAPES = {"scenes": (4, 16, 16), "motion": (16, 5, 8, 8)}
"""Of one sample's latents."""
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
    """Return a demo pipeline, whose text encoder and decoder are used.

    Raises:
        RuntimeError: If what it needs is missing, with the remedy.
    """
    try:
        from padecast import zoo

        return zoo.load(name)
    except ImportError as error:
        raise RuntimeError(
            f"the demo models are in padecast-lab, which is not in ComfyUI's Python ({error}).\n"
            "Install it there, from the folder of padecast: pip install ./packages/lab\n"
            "The other nodes do not need it."
        ) from error


def make_model(config: Any, options: dict[str, Any], shift: float) -> Any:
    """Return an empty model of a class of ComfyUI's."""
    found = config({**options, "dtype": torch.float32})
    found.sampling_settings = {**found.sampling_settings, "shift": shift}
    return found.get_model({}, device=torch.device("cpu"))


def make_scenes(shift: float = math.log(3)) -> Any:
    """Return scenes as ComfyUI's Flux.

    Args:
        shift: Of its noise levels, in the exponent; that of the pipeline unless given.
    """
    model = make_model(comfy.supported_models.Flux, SCENES, shift)
    model.latent_format = copy.copy(model.latent_format)
    model.latent_format.latent_channels = SHAPES["scenes"][0]
    model.latent_format.latent_rgb_factors = None  # previews would take the latents for those of FLUX
    names, target = comfy.utils.flux_to_diffusers(SCENES), model.diffusion_model.state_dict()
    for name, weight in pipeline("scenes").transformer.state_dict().items():
        place = names[name]
        place, part, change = (*((place,) if isinstance(place, str) else place), None, None)[:3]
        value = weight if change is None else change(weight)
        (target[place] if part is None else target[place].narrow(*part)).copy_(value)
    return model


def make_motion(shift: float = 3.0) -> Any:
    """Return motion as ComfyUI's WanModel.

    Args:
        shift: Of its noise levels, a factor; that of the pipeline unless given.
    """
    model = make_model(comfy.supported_models.WAN21_T2V, MOTION, shift)
    model.latent_format = copy.copy(model.latent_format)
    model.latent_format.latent_rgb_factors = None  # previews would take the latents for those of Wan
    weights: dict[str, Tensor] = {}
    for name, weight in pipeline("motion").transformer.state_dict().items():
        for pattern, word in WAN_NAMES:
            name = re.sub(pattern, word, name)
        weights[name] = weight
    model.diffusion_model.load_state_dict(weights)
    return model


def encode_scene(caption: str, guidance: float = GUIDANCE) -> list[list[Any]]:
    """Return what a caption becomes for scenes."""
    with torch.no_grad():
        text, pooled, _ = pipeline("scenes").encode_prompt(caption, None)
    return [[text, {"pooled_output": pooled, "guidance": guidance}]]


def encode_clip(caption: str) -> list[list[Any]]:
    """Return what a caption becomes for motion."""
    with torch.no_grad():
        text, _ = pipeline("motion").encode_prompt(caption, do_classifier_free_guidance=False)
    return [[text, {}]]


def show_scene(latents: Tensor) -> Tensor:
    """Decode latents of scenes, ``(batch, 4, 16, 16)``, to pictures of 0 to 1, ``(batch, 3, 64, 64)``."""
    vae = pipeline("scenes").vae
    with torch.no_grad():
        picture: Tensor = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
    return (picture / 2 + 0.5).clamp(0, 1)


def show_clip(latents: Tensor) -> Tensor:
    """Decode latents of motion, ``(batch, 16, 5, 8, 8)``, to frames of 0 to 1, ``(batch, 3, 17, 64, 64)``."""
    pipe = pipeline("motion")
    config = pipe.vae.config
    mean, std = (torch.tensor(config[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    with torch.no_grad():
        clip: Tensor = pipe.vae.decode(latents * std + mean, return_dict=False)[0]
    return (clip / 2 + 0.5).clamp(0, 1)
