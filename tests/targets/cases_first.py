"""Tiny random-weight instances of DiT, FLUX and U-Nets, and calls that they take."""

from __future__ import annotations

from typing import Any

import torch
from tests.targets.case import Case, noise

SHAPE: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 1,
    "block_out_channels": (8, 8, 16),
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "cross_attention_dim": 8,
}
CROSS = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")


def extra() -> dict[str, Any]:
    return {"text_embeds": noise(1, 8, seed=102), "time_ids": torch.tensor([[16.0, 16.0, 0.0, 0.0, 16.0, 16.0]])}


def flux_text() -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, 5, 8, seed=101),
        "pooled_projections": noise(1, 8, seed=102),
        "img_ids": torch.zeros(16, 3),
        "txt_ids": torch.zeros(5, 3),
    }


FLUX: dict[str, Any] = {
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "in_channels": 4,
    "joint_attention_dim": 8,
    "pooled_projection_dim": 8,
    "axes_dims_rope": (4, 4, 8),
}

CASES = (
    Case(
        "DiTTransformer2DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "num_layers": 3,
            "sample_size": 8,
            "in_channels": 4,
            "num_embeds_ada_norm": 10,
            "norm_num_groups": 1,
        },
        lambda: {"class_labels": torch.tensor([3])},
        lambda seed: noise(1, 4, 8, 8, seed=seed),
        timestep=lambda t: torch.tensor([int(1000 * t)]),
    ),
    Case(
        "FluxTransformer2DModel",
        FLUX,
        flux_text,
        lambda seed: noise(1, 16, 4, seed=seed),
        timestep=lambda t: torch.tensor([t]),
    ),
    Case(
        "FluxTransformer2DModel",
        {**FLUX, "guidance_embeds": True},
        lambda: {**flux_text(), "guidance": torch.tensor([3.5])},
        lambda seed: noise(1, 16, 4, seed=seed),
        timestep=lambda t: torch.tensor([t]),
        variant="guidance",
    ),
    Case(
        "UNet2DConditionModel",
        {**SHAPE, "down_block_types": CROSS, "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 2)},
        lambda: {"encoder_hidden_states": noise(1, 5, 8, seed=101)},
        lambda seed: noise(1, 4, 16, 16, seed=seed),
        latent_name="sample",
    ),
    Case(
        "UNet2DConditionModel",
        {
            **SHAPE,
            "down_block_types": ("DownBlock2D", *CROSS[:2]),
            "up_block_types": (*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
            "transformer_layers_per_block": (1, 1, 2),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 32,
        },
        lambda: {"encoder_hidden_states": noise(1, 5, 8, seed=101), "added_cond_kwargs": extra()},
        lambda seed: noise(1, 4, 16, 16, seed=seed),
        latent_name="sample",
        variant="XL",
    ),
)
