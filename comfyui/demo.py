"""A model that comes with padecast, inside ComfyUI's own class: the nodes can be tried without a download."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import comfy.utils
import torch
from comfy_api.latest import io

from .nodes import CATEGORY

SIZE, CHANNELS = 16, 4
"""Of latents: height and width, and channels."""
GUIDANCE = 3.5
OPTIONS: dict[str, Any] = {
    "image_model": "flux",
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
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
"""The denoiser, in ComfyUI's words."""


@cache
def pipeline() -> Any:
    """Return the demo pipeline, whose text encoder and decoder are used.

    Raises:
        RuntimeError: If diffusers is missing, with the remedy.
    """
    try:
        from padecast import zoo

        return zoo.load("scenes")
    except ImportError as error:
        raise RuntimeError(
            f"the demo model needs diffusers and transformers ({error}).\n"
            'Install them into ComfyUI\'s Python: pip install "padecast[diffusers]"'
        ) from error


@cache
def build() -> Any:
    """Return the demo model as ComfyUI's Flux."""
    config = comfy.supported_models.Flux({**OPTIONS, "dtype": torch.float32})
    config.sampling_settings = {**config.sampling_settings, "shift": math.log(3)}
    model = config.get_model({}, device=torch.device("cpu"))
    model.latent_format = copy.copy(model.latent_format)
    model.latent_format.latent_channels = CHANNELS
    names, target = comfy.utils.flux_to_diffusers(OPTIONS), model.diffusion_model.state_dict()
    for name, weight in pipeline().transformer.state_dict().items():
        place = names[name]
        place, part, change = (*((place,) if isinstance(place, str) else place), None, None)[:3]
        value = weight if change is None else change(weight)
        (target[place] if part is None else target[place].narrow(*part)).copy_(value)
    return model


class PadecastDemoModel(io.ComfyNode):
    """The demo model, with a prompt and empty latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastDemoModel",
            display_name="padecast demo model",
            category=CATEGORY,
            description="A small FLUX model that comes with padecast: try the nodes without a download. It draws "
            "coloured shapes of 64 x 64 pixels.",
            inputs=[
                io.String.Input(
                    "caption",
                    default="a large red circle left of a small blue square",
                    tooltip='What is drawn, such as "a small striped green star on a gradient dark blue background".',
                ),
                io.Int.Input("batch_size", default=1, min=1, max=64, tooltip="Pictures that are drawn at once."),
            ],
            outputs=[
                io.Model.Output(tooltip="The model."),
                io.Conditioning.Output(tooltip="The caption; take it as the negative too, at CFG 1."),
                io.Latent.Output(tooltip="Empty latents."),
            ],
        )

    @classmethod
    def execute(cls, caption: str, batch_size: int) -> io.NodeOutput:
        """Return model, conditioning and latents."""
        device = comfy.model_management.get_torch_device()
        model = comfy.model_patcher.ModelPatcher(build(), load_device=device, offload_device=torch.device("cpu"))
        with torch.no_grad():
            text, pooled, _ = pipeline().encode_prompt(caption, None, max_sequence_length=32)
        conditioning = [[text, {"pooled_output": pooled, "guidance": GUIDANCE}]]
        return io.NodeOutput(model, conditioning, {"samples": torch.zeros(batch_size, CHANNELS, SIZE, SIZE)})


class PadecastDemoDecode(io.ComfyNode):
    """Pictures of the demo model's latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastDemoDecode",
            display_name="padecast demo decode",
            category=CATEGORY,
            description="Turn latents of the demo model into pictures.",
            inputs=[io.Latent.Input("latent", tooltip="What the sampler returned.")],
            outputs=[io.Image.Output(tooltip="Pictures, 64 x 64 pixels.")],
        )

    @classmethod
    def execute(cls, latent: dict[str, Any]) -> io.NodeOutput:
        """Return pictures."""
        vae = pipeline().vae
        latents = comfy.latent_formats.Flux().process_in(latent["samples"]).float().cpu()
        with torch.no_grad():
            picture = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
        return io.NodeOutput((picture / 2 + 0.5).clamp(0, 1).movedim(1, -1))


DEMO_NODES = [PadecastDemoModel, PadecastDemoDecode]
