"""Models that come with padecast, as nodes: the others can be tried without a download."""

from __future__ import annotations

from functools import cache
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import torch
from comfy_api.latest import io

from . import models
from .nodes import CATEGORY

VIDEO = 5
"""Dimensions of latents of motion; those of scenes have one less."""


@cache
def build(name: str) -> Any:
    """Return a demo model by its name, made once."""
    return models.make_motion() if name == "motion" else models.make_scenes()


class PadecastDemoModel(io.ComfyNode):
    """A demo model, with a prompt and empty latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastDemoModel",
            display_name="padecast demo model",
            category=CATEGORY,
            description="A small FLUX or Wan model that comes with padecast: try the nodes without a download. It "
            "draws coloured shapes of 64 x 64 pixels.",
            inputs=[
                io.String.Input(
                    "caption",
                    default="a large red circle left of a small blue square",
                    multiline=True,
                    tooltip='What is drawn, such as "a small striped green star on a gradient dark blue background"; '
                    'of motion, "a large red star moving left".',
                ),
                io.Int.Input("batch_size", default=1, min=1, max=64, tooltip="Pictures that are drawn at once."),
                io.Combo.Input(
                    "name",
                    options=[*models.SHAPES],
                    default="scenes",
                    tooltip="scenes: pictures, a FLUX model; CFG 1. motion: clips of 17 frames, a Wan model; CFG 3.",
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="The model."),
                io.Conditioning.Output(display_name="positive", tooltip="The caption."),
                io.Latent.Output(tooltip="Empty latents."),
                io.Conditioning.Output(display_name="negative", tooltip="No caption."),
            ],
        )

    @classmethod
    def execute(cls, caption: str, batch_size: int, name: str = "scenes") -> io.NodeOutput:
        """Return model, conditioning, latents, and conditioning without a caption."""
        device = comfy.model_management.get_torch_device()
        model = comfy.model_patcher.ModelPatcher(build(name), load_device=device, offload_device=torch.device("cpu"))
        encode = models.encode_clip if name == "motion" else models.encode_scene
        latents = torch.zeros(batch_size, *models.SHAPES[name])
        return io.NodeOutput(model, encode(caption), {"samples": latents}, encode(""))


class PadecastDemoDecode(io.ComfyNode):
    """Pictures of a demo model's latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastDemoDecode",
            display_name="padecast demo decode",
            category=CATEGORY,
            description="Turn latents of a demo model into pictures.",
            inputs=[
                io.Latent.Input("latent", tooltip="What the sampler returned."),
                io.Int.Input(
                    "scale",
                    default=4,
                    min=1,
                    max=16,
                    tooltip="Pixels of the picture for one of the model's, which are 64 x 64.",
                ),
            ],
            outputs=[io.Image.Output(tooltip="Pictures; the frames of a clip one after another.")],
        )

    @classmethod
    def execute(cls, latent: dict[str, Any], scale: int = 4) -> io.NodeOutput:
        """Return pictures."""
        samples = latent["samples"].float().cpu()
        if samples.ndim == VIDEO:
            clip = models.show_clip(comfy.latent_formats.Wan21().process_in(samples))
            pictures = clip.transpose(1, 2).flatten(0, 1)
        else:
            pictures = models.show_scene(comfy.latent_formats.Flux().process_in(samples))
        large = pictures.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        return io.NodeOutput(large.movedim(1, -1))


DEMO_NODES = [PadecastDemoModel, PadecastDemoDecode]
