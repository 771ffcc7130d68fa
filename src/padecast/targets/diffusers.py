"""The transformer and U-Net classes of diffusers: one to five lines each."""

from __future__ import annotations

from padecast.targets.base import HIDDEN, TEXT_IMAGE, Target

DEEP = dict.fromkeys(("down_blocks[1:]", "mid_block", "up_blocks[:-1]"), HIDDEN)
"""All of a U-Net but its outermost blocks, which keep what the input looks like: the boundary of DeepCache."""

DIFFUSERS = (
    Target("DiTTransformer2DModel", {"transformer_blocks": HIDDEN}, pipelines=("DiT", "padecast.zoo digits")),
    Target(
        "FluxTransformer2DModel",
        {"transformer_blocks": TEXT_IMAGE, "single_transformer_blocks": TEXT_IMAGE},
        spans={"double": ("transformer_blocks",), "single": ("single_transformer_blocks",)},
        pipelines=("Flux", "FluxImg2Img", "FluxInpaint", "FluxFill", "FluxControl", "FluxControlNet", "FluxKontext"),
    ),
    Target("WanTransformer3DModel", {"blocks": HIDDEN}, pipelines=("Wan", "WanImageToVideo", "WanVideoToVideo")),
    Target("UNet2DConditionModel", DEEP, opaque=True, pipelines=("StableDiffusion", "StableDiffusionXL")),
)
