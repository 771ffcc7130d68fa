"""Tiny random-weight instances of image transformers, and calls that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models.embeddings import get_2d_rotary_pos_embed, get_2d_rotary_pos_embed_lumina
from tests.targets.case import Case, noise
from tests.targets.cases_more import Redrawn
from torch import Tensor, nn

SIDE = 4  # rows and columns of image tokens
TOKENS = SIDE * SIDE
TEXT = 5  # tokens of text
IMAGE = 8  # height and width of a latent of which a token is a square of 2 x 2


def unit(t: float) -> Tensor:
    """Give the timestep on a scale of 0 to 1."""
    return torch.tensor([t])


def reversed_unit(t: float) -> Tensor:
    """Give the timestep on a scale of 0, which is noise, to 1."""
    return torch.tensor([1.0 - t])


def images(channels: int, height: int = IMAGE, width: int = IMAGE) -> Callable[[int], Tensor]:
    """Draw a latent that is an image."""
    return lambda seed: noise(1, channels, height, width, seed=seed)


def tokens(count: int, channels: int) -> Callable[[int], Tensor]:
    """Draw a latent that is a sequence of tokens."""
    return lambda seed: noise(1, count, channels, seed=seed)


def text(width: int, length: int = TEXT, seed: int = 100) -> Tensor:
    """Draw the embeddings of a text."""
    return noise(1, length, width, seed=seed)


def padded(length: int = TEXT, padding: int = 1) -> Tensor:
    """Mask the last tokens of a text."""
    return (torch.arange(length) < length - padding).long()[None]


def ids(height: int, width: int, axes: int) -> Tensor:
    """Give the positions of image tokens, rows and columns on the second and the third axis."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    positions = torch.zeros(height * width, axes)
    positions[:, 1] = rows.flatten()
    positions[:, 2] = columns.flatten()
    return positions


def sizes() -> dict[str, Any]:
    """Give the sizes that a CogView is told."""
    return {
        "original_size": torch.tensor([[64.0, 64.0]]),
        "target_size": torch.tensor([[64.0, 48.0]]),
        "crop_coords": torch.tensor([[0.0, 8.0]]),
    }


class Unset(Case):
    """A class that leaves a parameter as the memory has it, which is ones here."""

    def make(self) -> nn.Module:
        with patch.object(torch, "empty", torch.ones):
            return super().make()


QWEN: dict[str, Any] = {
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 12,
    "axes_dims_rope": (4, 4, 8),
}


def qwen(*shapes: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "encoder_hidden_states": text(12),
        "encoder_hidden_states_mask": padded(),
        "img_shapes": [list(shapes)],
    }


QWEN_CASES = (
    Case("QwenImageTransformer2DModel", QWEN, lambda: qwen((1, SIDE, SIDE)), tokens(TOKENS, 16), timestep=unit),
    Case(
        "QwenImageTransformer2DModel",
        QWEN | {"zero_cond_t": True},
        lambda: qwen((1, SIDE, SIDE), (1, 2, SIDE)),
        tokens(TOKENS + 2 * SIDE, 16),
        timestep=unit,
        variant="edit",
    ),
    Case(
        "QwenImageTransformer2DModel",
        QWEN | {"use_layer3d_rope": True, "use_additional_t_cond": True},
        lambda: qwen(*[(1, SIDE, SIDE)] * 3) | {"additional_t_cond": torch.tensor([1])},
        tokens(3 * TOKENS, 16),
        timestep=unit,
        variant="layered",
    ),
)

FLUX2: dict[str, Any] = {
    "in_channels": 8,
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 12,
    "timestep_guidance_channels": 16,
    "axes_dims_rope": (4, 4, 4, 4),
}


def flux2() -> dict[str, Any]:
    words = torch.zeros(TEXT, 4)
    words[:, 3] = torch.arange(TEXT)
    return {"encoder_hidden_states": text(12), "img_ids": ids(SIDE, SIDE, 4), "txt_ids": words}


FLUX2_CASES = (
    Redrawn(
        "Flux2Transformer2DModel",
        FLUX2,
        lambda: flux2() | {"guidance": torch.tensor([4.0])},
        tokens(TOKENS, 8),
        timestep=unit,
        redrawn="modulation",
    ),
    Redrawn(
        "Flux2Transformer2DModel",
        FLUX2 | {"guidance_embeds": False},
        flux2,
        tokens(TOKENS, 8),
        timestep=unit,
        redrawn="modulation",
        variant="without guidance",
    ),
)

SD3: dict[str, Any] = {
    "sample_size": IMAGE,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 12,
    "caption_projection_dim": 16,
    "pooled_projection_dim": 10,
    "pos_embed_max_size": SIDE,
}


def sd3() -> dict[str, Any]:
    return {"encoder_hidden_states": text(12), "pooled_projections": noise(1, 10, seed=101)}


SD3_CASES = (
    Case("SD3Transformer2DModel", SD3, sd3, images(4)),
    Case(
        "SD3Transformer2DModel",
        SD3 | {"dual_attention_layers": (0, 1), "qk_norm": "rms_norm"},
        sd3,
        images(4),
        variant="dual attention",
    ),
)

CHROMA_CASES = (
    Case(
        "ChromaTransformer2DModel",
        {
            "in_channels": 8,
            "num_layers": 2,
            "num_single_layers": 3,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 12,
            "axes_dims_rope": (4, 4, 8),
            "approximator_num_channels": 32,
            "approximator_hidden_dim": 16,
            "approximator_layers": 2,
        },
        lambda: {
            "encoder_hidden_states": text(12),
            "img_ids": ids(SIDE, SIDE, 3),
            "txt_ids": torch.zeros(TEXT, 3),
            "attention_mask": torch.cat([padded().float(), torch.ones(1, TOKENS)], dim=1),
        },
        tokens(TOKENS, 8),
        timestep=unit,
    ),
)

HIDREAM: dict[str, Any] = {
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "caption_channels": [12, 10],
    "text_emb_dim": 14,
    "num_routed_experts": 3,
    "num_activated_experts": 2,
    "axes_dims_rope": (8, 4, 4),
    "max_resolution": (IMAGE, IMAGE),
    "llama_layers": [0, 1, 2, 3, 4],
}


def hidream() -> dict[str, Any]:
    return {
        "encoder_hidden_states_t5": text(12),
        "encoder_hidden_states_llama3": noise(5, 1, TEXT - 1, 10, seed=101),
        "pooled_embeds": noise(1, 14, seed=102),
    }


HIDREAM_CASES = (
    Case("HiDreamImageTransformer2DModel", HIDREAM, hidream, images(4), timestep_name="timesteps"),
    Case(
        "HiDreamImageTransformer2DModel",
        HIDREAM,
        hidream,
        images(4, IMAGE, IMAGE // 2),
        timestep_name="timesteps",
        variant="not square",
    ),
)

LUMINA2_CASES = (
    Case(
        "Lumina2Transformer2DModel",
        {
            "sample_size": IMAGE,
            "in_channels": 4,
            "hidden_size": 24,
            "num_layers": 3,
            "num_refiner_layers": 2,
            "num_attention_heads": 2,
            "num_kv_heads": 1,
            "multiple_of": 8,
            "axes_dim_rope": (4, 4, 4),
            "axes_lens": (16, 16, 16),
            "cap_feat_dim": 12,
        },
        lambda: {"encoder_hidden_states": text(12), "encoder_attention_mask": padded()},
        images(4),
        timestep=reversed_unit,
    ),
)

Z_IMAGE: dict[str, Any] = {
    "in_channels": 4,
    "dim": 24,
    "n_layers": 3,
    "n_refiner_layers": 2,
    "n_heads": 2,
    "n_kv_heads": 2,
    "cap_feat_dim": 12,
    "axes_dims": [4, 4, 4],
    "axes_lens": [128, 16, 16],
}

Z_IMAGE_CASES = (
    Case(
        "ZImageTransformer2DModel",
        Z_IMAGE,
        lambda: {"cap_feats": [noise(TEXT, 12, seed=100)]},
        lambda seed: [noise(4, 1, IMAGE, IMAGE, seed=seed)],
        latent_name="x",
        timestep_name="t",
        timestep=reversed_unit,
    ),
    Case(
        "ZImageTransformer2DModel",
        Z_IMAGE | {"siglip_feat_dim": 10},
        lambda: {
            "cap_feats": [[noise(TEXT, 12, seed=100), noise(TEXT - 1, 12, seed=101)]],
            "siglip_feats": [[noise(2, 2, 10, seed=102), None]],
            "image_noise_mask": [[0, 1]],
        },
        lambda seed: [[noise(4, 1, SIDE, IMAGE, seed=103), noise(4, 1, IMAGE, IMAGE, seed=seed)]],
        latent_name="x",
        timestep_name="t",
        timestep=reversed_unit,
        variant="omni",
    ),
)

PIXART: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 3,
    "cross_attention_dim": 24,
    "sample_size": IMAGE,
    "caption_channels": 12,
}


def pixart() -> dict[str, Any]:
    return {"encoder_hidden_states": text(12), "encoder_attention_mask": padded()}


PIXART_CASES = (
    Case("PixArtTransformer2DModel", PIXART, pixart, images(4)),
    Case(
        "PixArtTransformer2DModel",
        PIXART | {"use_additional_conditions": True},
        lambda: (
            pixart()
            | {
                "added_cond_kwargs": {
                    "resolution": torch.tensor([[64.0, 64.0]]),
                    "aspect_ratio": torch.tensor([[1.0]]),
                }
            }
        ),
        images(4),
        variant="told the size",
    ),
)

SANA: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 8,
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "num_layers": 3,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 8,
    "cross_attention_dim": 16,
    "caption_channels": 12,
    "sample_size": SIDE,
}


def sana() -> dict[str, Any]:
    return {"encoder_hidden_states": text(12), "encoder_attention_mask": padded()}


SANA_CASES = (
    Case("SanaTransformer2DModel", SANA, sana, images(8, SIDE, SIDE + 2)),
    Case(
        "SanaTransformer2DModel",
        SANA | {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"},
        lambda: sana() | {"guidance": torch.tensor([0.45])},
        images(8, SIDE, SIDE + 2),
        timestep=unit,
        variant="sprint",
    ),
)

COGVIEW: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "text_embed_dim": 12,
    "time_embed_dim": 16,
    "condition_dim": 8,
    "pos_embed_max_size": IMAGE,
    "sample_size": IMAGE,
}

COGVIEW_CASES = (
    Case(
        "CogView4Transformer2DModel",
        COGVIEW | {"rope_axes_dim": (16, 16)},
        lambda: {"encoder_hidden_states": text(12)} | sizes(),
        images(4),
    ),
    Case(
        "CogView3PlusTransformer2DModel",
        COGVIEW,
        lambda: {"encoder_hidden_states": text(12)} | sizes(),
        images(4),
    ),
)

AURA_FLOW_CASES = (
    Redrawn(
        "AuraFlowTransformer2DModel",
        {
            "sample_size": IMAGE,
            "in_channels": 4,
            "out_channels": 4,
            "num_mmdit_layers": 2,
            "num_single_dit_layers": 3,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 12,
            "caption_projection_dim": 16,
            "pos_embed_max_size": IMAGE * IMAGE,
        },
        lambda: {"encoder_hidden_states": text(12)},
        images(4),
        timestep=unit,
        redrawn="norm1",
    ),
)

OMNIGEN: dict[str, Any] = {
    "in_channels": 4,
    "hidden_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "num_layers": 3,
    "pad_token_id": 0,
    "vocab_size": 20,
    "max_position_embeddings": 64,
    "original_max_position_embeddings": 64,
    "rope_scaling": {"short_factor": [1.0] * 6, "long_factor": [1.0] * 6},
    "pos_embed_max_size": IMAGE,
    "time_step_dim": 16,
}


def omnigen(length: int) -> dict[str, Any]:
    """Give a prompt, of which the timestep and the image are told only what went before."""
    count = length + 1 + TOKENS
    mask = torch.ones(1, count, count)
    mask[:, : length + 1] = torch.ones(length + 1, count).tril()
    return {
        "input_ids": torch.arange(1, length + 1)[None],
        "input_img_latents": [],
        "input_image_sizes": {},
        "attention_mask": mask,
        "position_ids": torch.arange(count)[None],
    }


OMNIGEN_CASES = (
    Case("OmniGenTransformer2DModel", OMNIGEN, lambda: omnigen(TEXT), images(4), timestep=reversed_unit),
    Case(
        "OmniGenTransformer2DModel",
        OMNIGEN,
        lambda: (
            omnigen(TEXT + 4)
            | {"input_img_latents": [noise(1, 4, SIDE, SIDE, seed=101)], "input_image_sizes": {0: [[2, 6]]}}
        ),
        images(4),
        timestep=reversed_unit,
        variant="image in the prompt",
    ),
)

HUNYUAN_IMAGE: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 8,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "num_single_layers": 3,
    "num_refiner_layers": 1,
    "mlp_ratio": 2.0,
    "text_embed_dim": 12,
    "rope_axes_dim": (8, 8),
}


def hunyuan_image() -> dict[str, Any]:
    return {"encoder_hidden_states": text(12), "encoder_attention_mask": padded()}


HUNYUAN_CASES = (
    Case("HunyuanImageTransformer2DModel", HUNYUAN_IMAGE, hunyuan_image, images(8, SIDE, SIDE + 2)),
    Case(
        "HunyuanImageTransformer2DModel",
        HUNYUAN_IMAGE | {"text_embed_2_dim": 10, "guidance_embeds": True, "use_meanflow": True},
        lambda: (
            hunyuan_image()
            | {
                "encoder_hidden_states_2": text(10, 4, seed=101),
                "encoder_attention_mask_2": padded(4, 2),
                "timestep_r": torch.tensor([100.0]),
                "guidance": torch.tensor([3500.0]),
            }
        ),
        images(8, SIDE, SIDE + 2),
        variant="distilled, with two texts",
    ),
    Case(
        "HunyuanImageTransformer2DModel",
        HUNYUAN_IMAGE
        | {"in_channels": 16, "patch_size": (1, 1, 1), "rope_axes_dim": (4, 6, 6), "guidance_embeds": True},
        lambda: hunyuan_image() | {"guidance": torch.tensor([3500.0])},
        lambda seed: noise(1, 16, 2, SIDE, SIDE, seed=seed),
        variant="refiner",
    ),
    Case(
        "HunyuanDiT2DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "in_channels": 4,
            "patch_size": 2,
            "sample_size": IMAGE,
            "hidden_size": 16,
            "num_layers": 6,
            "mlp_ratio": 2.0,
            "cross_attention_dim": 12,
            "cross_attention_dim_t5": 16,
            "pooled_projection_dim": 10,
            "text_len": TEXT,
            "text_len_t5": 4,
        },
        lambda: {
            "encoder_hidden_states": text(12),
            "text_embedding_mask": padded(),
            "encoder_hidden_states_t5": text(16, 4, seed=101),
            "text_embedding_mask_t5": padded(4, 2),
            "image_meta_size": torch.tensor([[64.0, 64.0, 64.0, 64.0, 0.0, 0.0]]),
            "style": torch.tensor([0]),
            "image_rotary_emb": get_2d_rotary_pos_embed(8, ((0, 0), (SIDE, SIDE)), (SIDE, SIDE), output_type="pt"),
        },
        images(4),
    ),
)

LUMINA_CASES = (
    Unset(
        "LuminaNextDiT2DModel",
        {
            "sample_size": IMAGE,
            "in_channels": 4,
            "hidden_size": 16,
            "num_layers": 3,
            "num_attention_heads": 2,
            "num_kv_heads": 1,
            "multiple_of": 8,
            "cross_attention_dim": 12,
        },
        lambda: {
            "encoder_hidden_states": text(12),
            "encoder_mask": padded(),
            "image_rotary_emb": get_2d_rotary_pos_embed_lumina(8, IMAGE, IMAGE),
            "cross_attention_kwargs": {},
        },
        images(4),
        timestep=reversed_unit,
    ),
)

BRIA_CASES = (
    Case(
        "BriaTransformer2DModel",
        {
            "in_channels": 8,
            "num_layers": 2,
            "num_single_layers": 3,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 12,
            "axes_dims_rope": [4, 4, 8],
        },
        lambda: {
            "encoder_hidden_states": text(12),
            "img_ids": ids(SIDE, SIDE, 3),
            "txt_ids": torch.zeros(TEXT, 3),
        },
        tokens(TOKENS, 8),
    ),
)

CASES = (
    *QWEN_CASES,
    *FLUX2_CASES,
    *SD3_CASES,
    *CHROMA_CASES,
    *HIDREAM_CASES,
    *LUMINA2_CASES,
    *Z_IMAGE_CASES,
    *PIXART_CASES,
    *SANA_CASES,
    *COGVIEW_CASES,
    *AURA_FLOW_CASES,
    *OMNIGEN_CASES,
    *HUNYUAN_CASES,
    *LUMINA_CASES,
    *BRIA_CASES,
)
