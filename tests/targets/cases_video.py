"""Tiny random-weight instances of video transformers, and calls that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from tests.targets.case import Case, noise
from torch import Tensor

FRAMES, HEIGHT, WIDTH = 3, 4, 6
IMAGE_TEXT = 512  # what Wan's image-to-video attention takes to be text


def video(channels: int, frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> Callable[[int], Tensor]:
    """Draw a latent with its channels ahead of its frames."""
    return lambda seed: noise(1, channels, frames, height, width, seed=seed)


def frames_first(channels: int, frames: int = FRAMES) -> Callable[[int], Tensor]:
    """Draw a latent with its frames ahead of its channels."""
    return lambda seed: noise(1, frames, channels, HEIGHT, WIDTH, seed=seed)


def tokens(count: int, channels: int) -> Callable[[int], Tensor]:
    """Draw a latent that is a sequence already."""
    return lambda seed: noise(1, count, channels, seed=seed)


def text(length: int, width: int, seed: int = 100) -> Tensor:
    """Draw the embeddings of a text."""
    return noise(1, length, width, seed=seed)


def padded(length: int, padding: int = 1) -> Tensor:
    """Mask the last tokens of a text."""
    return (torch.arange(length) < length - padding).long()[None]


def per_frame(t: float) -> Tensor:
    """Give the first frame, a condition, less noise than the others."""
    return torch.tensor([[0.0] + [1000.0 * t] * (FRAMES - 1)])


def per_token(t: float) -> Tensor:
    """Give the tokens of the first frame less noise than the others."""
    return per_frame(t).repeat_interleave(HEIGHT * WIDTH // 4, dim=1)


WAN: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 16,
    "ffn_dim": 32,
    "num_layers": 3,
    "rope_max_seq_len": 32,
}
WAN_IMAGE: dict[str, Any] = WAN | {"in_channels": 9, "image_dim": 16, "added_kv_proj_dim": 24}


def wan_text() -> dict[str, Any]:
    return {"encoder_hidden_states": text(5, 16)}


def wan_image() -> dict[str, Any]:
    return {"encoder_hidden_states": text(IMAGE_TEXT, 16), "encoder_hidden_states_image": text(4, 16, seed=101)}


WAN_CASES = (
    Case("WanTransformer3DModel", WAN, wan_text, video(4)),
    Case("WanTransformer3DModel", WAN_IMAGE, wan_image, video(9), variant="image"),
    Case("WanTransformer3DModel", WAN, wan_text, video(4), timestep=per_token, variant="timestep per token"),
    Case(
        "WanVACETransformer3DModel",
        WAN | {"num_layers": 4, "vace_layers": [0, 2], "vace_in_channels": 6},
        lambda: (
            wan_text()
            | {
                "control_hidden_states": noise(1, 6, FRAMES, HEIGHT, WIDTH, seed=101),
                "control_hidden_states_scale": torch.tensor([1.0, 0.5]),
            }
        ),
        video(4),
    ),
    Case(
        "WanVACETransformer3DModel",
        WAN | {"vace_layers": [0, 2], "vace_in_channels": 6},
        lambda: wan_text() | {"control_hidden_states": noise(1, 6, FRAMES, HEIGHT, WIDTH, seed=101)},
        video(4),
        variant="hint after the last block",
    ),
    Case(
        "WanAnimateTransformer3DModel",
        WAN_IMAGE
        | {
            "in_channels": 12,
            "latent_channels": 4,
            "num_layers": 4,
            "motion_encoder_channel_sizes": {"4": 8, "8": 8, "16": 8},
            "motion_encoder_size": 16,
            "motion_style_dim": 8,
            "motion_dim": 4,
            "motion_encoder_dim": 8,
            "face_encoder_hidden_dim": 8,
            "face_encoder_num_heads": 2,
            "inject_face_latents_blocks": 2,
        },
        lambda: (
            wan_image()
            | {
                "pose_hidden_states": noise(1, 4, FRAMES - 1, HEIGHT, WIDTH, seed=102),
                "face_pixel_values": noise(1, 3, 4 * (FRAMES - 2) + 1, 16, 16, seed=103),
            }
        ),
        video(12),
    ),
    Case("ChronoEditTransformer3DModel", WAN_IMAGE | {"rope_temporal_skip_len": 8}, wan_image, video(9)),
    Case("SkyReelsV2Transformer3DModel", WAN, wan_text, video(4)),
    Case(
        "SkyReelsV2Transformer3DModel",
        WAN | {"inject_sample_info": True, "num_frame_per_block": 3},
        lambda: wan_text() | {"enable_diffusion_forcing": True, "fps": [1]},
        video(4),
        timestep=per_frame,
        variant="diffusion forcing",
    ),
    Case(
        "AnyFlowTransformer3DModel",
        WAN,
        lambda: wan_text() | {"r_timestep": torch.full((1, FRAMES), 100.0)},
        frames_first(4),
        timestep=lambda t: torch.full((1, FRAMES), 1000.0 * t),
    ),
)

HUNYUAN: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "num_layers": 2,
    "num_single_layers": 3,
    "num_refiner_layers": 1,
    "mlp_ratio": 2.0,
    "text_embed_dim": 16,
    "pooled_projection_dim": 8,
    "rope_axes_dim": (4, 4, 4),
}


def hunyuan_text() -> dict[str, Any]:
    return {
        "encoder_hidden_states": text(5, 16),
        "encoder_attention_mask": padded(5),
        "pooled_projections": noise(1, 8, seed=101),
        "guidance": torch.tensor([6000.0]),
    }


HUNYUAN_CASES = (
    Case("HunyuanVideoTransformer3DModel", HUNYUAN, hunyuan_text, video(4)),
    Case(
        "HunyuanVideoTransformer3DModel",
        HUNYUAN | {"image_condition_type": "token_replace"},
        hunyuan_text,
        video(4),
        variant="token replace",
    ),
    Case(
        "HunyuanVideo15Transformer3DModel",
        {
            "in_channels": 9,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "num_layers": 3,
            "num_refiner_layers": 1,
            "mlp_ratio": 2.0,
            "text_embed_dim": 16,
            "text_embed_2_dim": 8,
            "image_embed_dim": 8,
            "rope_axes_dim": (4, 4, 4),
        },
        lambda: {
            "encoder_hidden_states": text(5, 16),
            "encoder_attention_mask": padded(5),
            "encoder_hidden_states_2": text(3, 8, seed=101),
            "encoder_attention_mask_2": padded(3),
            "image_embeds": text(2, 8, seed=102),
        },
        video(9),
    ),
    Case(
        "HunyuanVideoFramepackTransformer3DModel",
        HUNYUAN | {"has_image_proj": True, "image_proj_dim": 8, "has_clean_x_embedder": True},
        lambda: (
            hunyuan_text()
            | {
                "image_embeds": text(2, 8, seed=102),
                "indices_latents": torch.arange(8, 8 + FRAMES),
                "latents_clean": noise(1, 4, 2, 8, 8, seed=103),
                "indices_latents_clean": torch.tensor([0, 7]),
                "latents_history_2x": noise(1, 4, 2, 8, 8, seed=104),
                "indices_latents_history_2x": torch.arange(5, 7),
                "latents_history_4x": noise(1, 4, 4, 8, 8, seed=105),
                "indices_latents_history_4x": torch.arange(1, 5),
            }
        ),
        video(4, height=8, width=8),
    ),
)

LTX: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "cross_attention_dim": 24,
    "num_layers": 3,
    "caption_channels": 16,
}
LTX2: dict[str, Any] = LTX | {
    "audio_in_channels": 6,
    "audio_out_channels": 6,
    "audio_num_attention_heads": 2,
    "audio_attention_head_dim": 8,
    "audio_cross_attention_dim": 16,
}
LTX_TOKENS = FRAMES * 2 * 3


def ltx_text() -> dict[str, Any]:
    return {
        "encoder_hidden_states": text(5, 16),
        "encoder_attention_mask": padded(5),
        "num_frames": FRAMES,
        "height": 2,
        "width": 3,
    }


def ltx2_text() -> dict[str, Any]:
    return ltx_text() | {
        "audio_hidden_states": noise(1, 4, 6, seed=101),
        "audio_encoder_hidden_states": text(5, 16, seed=102),
        "audio_encoder_attention_mask": padded(5),
        "audio_num_frames": 4,
    }


LTX_CASES = (
    Case("LTXVideoTransformer3DModel", LTX, ltx_text, tokens(LTX_TOKENS, 4)),
    Case(
        "LTXVideoTransformer3DModel",
        LTX,
        ltx_text,
        tokens(LTX_TOKENS, 4),
        timestep=per_token,
        variant="timestep per token",
    ),
    Case("LTX2VideoTransformer3DModel", LTX2, ltx2_text, tokens(LTX_TOKENS, 4)),
    Case(
        "LTX2VideoTransformer3DModel",
        LTX2
        | {
            "gated_attn": True,
            "audio_gated_attn": True,
            "cross_attn_mod": True,
            "audio_cross_attn_mod": True,
            "rope_type": "split",
            "perturbed_attn": True,
            "use_prompt_embeddings": False,
        },
        lambda: (
            ltx2_text()
            | {
                "encoder_hidden_states": text(5, 24),
                "audio_timestep": torch.tensor([500.0]),
                "sigma": torch.tensor([500.0]),
                "use_cross_timestep": True,
                "spatio_temporal_guidance_blocks": [1],
                "perturbation_mask": torch.tensor([0.0]),
            }
        ),
        tokens(LTX_TOKENS, 4),
        timestep=per_token,
        variant="2.3",
    ),
)

COGVIDEOX: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
    "time_embed_dim": 8,
    "text_embed_dim": 16,
    "num_layers": 3,
    "sample_width": WIDTH,
    "sample_height": HEIGHT,
    "sample_frames": 4 * (FRAMES - 1) + 1,
    "max_text_seq_length": 5,
}


def rotary(frames: int) -> tuple[Tensor, Tensor]:
    """Compute the rotary embedding that a CogVideoX pipeline passes."""
    grid = (HEIGHT // 2, WIDTH // 2)
    cos, sin = get_3d_rotary_pos_embed(16, ((0, 0), grid), grid, frames)
    return cos, sin


COGVIDEOX_CASES = (
    Case(
        "CogVideoXTransformer3DModel",
        COGVIDEOX,
        lambda: {"encoder_hidden_states": text(5, 16)},
        frames_first(4),
    ),
    Case(
        "CogVideoXTransformer3DModel",
        COGVIDEOX
        | {"patch_size_t": 2, "use_rotary_positional_embeddings": True, "ofs_embed_dim": 8, "patch_bias": False},
        lambda: {
            "encoder_hidden_states": text(5, 16),
            "image_rotary_emb": rotary(2),
            "ofs": torch.tensor([2.0]),
        },
        frames_first(4, frames=4),
        variant="1.5",
    ),
    Case(
        "ConsisIDTransformer3DModel",
        COGVIDEOX
        | {
            "num_layers": 4,
            "use_rotary_positional_embeddings": True,
            "is_train_face": True,
            "cross_attn_interval": 2,
            "cross_attn_dim_head": 8,
            "cross_attn_num_heads": 2,
            "LFE_id_dim": 8,
            "LFE_vit_dim": 8,
            "LFE_depth": 2,
            "LFE_dim_head": 8,
            "LFE_num_heads": 2,
            "LFE_num_id_token": 2,
            "LFE_num_querie": 3,
            "LFE_output_dim": 21,  # two thirds of the width, rounded down
            "LFE_ff_mult": 2,
            "LFE_num_scale": 2,
        },
        lambda: {
            "encoder_hidden_states": text(5, 16),
            "image_rotary_emb": rotary(FRAMES),
            "id_cond": noise(1, 8, seed=101),
            "id_vit_hidden": [text(3, 8, seed=102), text(3, 8, seed=103)],
        },
        frames_first(4),
    ),
)

KANDINSKY: dict[str, Any] = {
    "in_visual_dim": 4,
    "in_text_dim": 16,
    "in_text_dim2": 8,
    "time_dim": 16,
    "out_visual_dim": 4,
    "model_dim": 24,
    "ff_dim": 32,
    "num_text_blocks": 2,
    "num_visual_blocks": 3,
    "axes_dims": (4, 4, 4),
}


def kandinsky_text() -> dict[str, Any]:
    return {
        "encoder_hidden_states": text(5, 16),
        "pooled_projections": noise(1, 8, seed=101),
        "visual_rope_pos": (torch.arange(FRAMES), torch.arange(HEIGHT // 2), torch.arange(WIDTH // 2)),
        "text_rope_pos": torch.arange(5),
    }


KANDINSKY_CASES = (
    Case(
        "Kandinsky5Transformer3DModel",
        KANDINSKY,
        kandinsky_text,
        lambda seed: noise(1, FRAMES, HEIGHT, WIDTH, 4, seed=seed),
    ),
    Case(
        "Kandinsky5Transformer3DModel",
        KANDINSKY | {"visual_cond": True},
        kandinsky_text,
        lambda seed: noise(1, FRAMES, HEIGHT, WIDTH, 9, seed=seed),
        variant="image",
    ),
)

COSMOS: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "num_layers": 3,
    "mlp_ratio": 2.0,
    "text_embed_dim": 16,
    "adaln_lora_dim": 8,
    "max_size": (8, 16, 16),
    "concat_padding_mask": False,  # the mask takes torchvision
}


def cosmos3() -> dict[str, Any]:
    vision, words = FRAMES * 2 * 3, 5
    grid = torch.cartesian_prod(torch.arange(FRAMES), torch.arange(2), torch.arange(3)).T + words
    return {
        "input_ids": torch.arange(words),
        "text_indexes": torch.arange(words),
        "position_ids": torch.cat([torch.arange(words).expand(3, -1), grid], dim=1),
        "und_len": words,
        "sequence_length": words + vision,
        "vision_token_shapes": [(FRAMES, 2, 3)],
        "vision_sequence_indexes": words + torch.arange(vision),
        "vision_mse_loss_indexes": words + torch.arange(6, vision),
        "vision_noisy_frame_indexes": [torch.arange(1, FRAMES)],
    }


COSMOS_CASES = (
    Case("CosmosTransformer3DModel", COSMOS, lambda: {"encoder_hidden_states": text(5, 16)}, video(4)),
    Case(
        "CosmosTransformer3DModel",
        COSMOS
        | {
            "in_channels": 5,
            "extra_pos_embed_type": None,
            "use_crossattn_projection": True,
            "crossattn_proj_in_channels": 12,
            "encoder_hidden_states_channels": 16,
            "controlnet_block_every_n": 2,
        },
        lambda: {
            "encoder_hidden_states": text(5, 12),
            "condition_mask": per_frame(0.0).add(1).view(1, 1, FRAMES, 1, 1).expand(1, 1, FRAMES, HEIGHT, WIDTH),
            "block_controlnet_hidden_states": [text(FRAMES * 2 * 3, 24, seed=101), text(FRAMES * 2 * 3, 24, seed=102)],
            "fps": 16,
        },
        video(4),
        timestep=lambda t: per_frame(t).view(1, 1, FRAMES, 1, 1) / 1000,
        variant="control, timestep per frame",
    ),
    Case(
        "Cosmos3OmniTransformer",
        {
            "dtype": "float32",
            "head_dim": 12,
            "hidden_size": 24,
            "intermediate_size": 32,
            "latent_channel": 4,
            "num_attention_heads": 2,
            "num_hidden_layers": 3,
            "num_key_value_heads": 1,
            "patch_latent_dim": 16,
            "vocab_size": 8,
            "rope_axes_dim": [2, 2, 2],
        },
        cosmos3,
        lambda seed: [noise(1, 4, FRAMES, HEIGHT, WIDTH, seed=seed)],
        latent_name="vision_tokens",
        timestep_name="vision_timesteps",
        timestep=lambda t: torch.full(((FRAMES - 1) * 2 * 3,), 1000.0 * t),
    ),
    Case(
        "Cosmos3OmniTransformer",
        {
            "dtype": "float32",
            "head_dim": 12,
            "hidden_size": 24,
            "intermediate_size": 32,
            "latent_channel": 4,
            "num_attention_heads": 2,
            "num_hidden_layers": 3,
            "num_key_value_heads": 1,
            "patch_latent_dim": 16,
            "vocab_size": 8,
            "rope_axes_dim": [2, 2, 2],
            "sound_gen": True,
            "sound_dim": 3,
        },
        lambda: (
            cosmos3()
            | {
                "position_ids": torch.cat([cosmos3()["position_ids"], torch.arange(5, 9).expand(3, -1)], dim=1),
                "sequence_length": 5 + FRAMES * 2 * 3 + 4,
                "sound_tokens": [noise(3, 4, seed=103)],
                "sound_token_shapes": [(4, 1, 1)],
                "sound_sequence_indexes": 5 + FRAMES * 2 * 3 + torch.arange(4),
                "sound_mse_loss_indexes": 5 + FRAMES * 2 * 3 + torch.arange(4),
                "sound_timesteps": torch.full((4,), 500.0),
                "sound_noisy_frame_indexes": [torch.arange(4)],
            }
        ),
        lambda seed: [noise(1, 4, FRAMES, HEIGHT, WIDTH, seed=seed)],
        latent_name="vision_tokens",
        timestep_name="vision_timesteps",
        timestep=lambda t: torch.full(((FRAMES - 1) * 2 * 3,), 1000.0 * t),
        variant="sound",
    ),
)

MOTIF: dict[str, Any] = {
    "in_channels": 9,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "num_layers": 2,
    "num_single_layers": 3,
    "mlp_ratio": 2.0,
    "text_embed_dim": 16,
    "rope_axes_dim": (4, 4, 4),
}


def masked_text() -> dict[str, Any]:
    return {"encoder_hidden_states": text(5, 16), "encoder_attention_mask": padded(5)}


OTHER_CASES = (
    Case(
        "MochiTransformer3DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "num_layers": 3,
            "pooled_projection_dim": 16,
            "in_channels": 4,
            "text_embed_dim": 16,
            "time_embed_dim": 8,
            "max_sequence_length": 5,
        },
        lambda: {"encoder_hidden_states": text(5, 16), "encoder_attention_mask": padded(5).bool()},
        video(4),
        timestep=lambda t: torch.tensor([1000.0 * (1 - t)]),
    ),
    Case(
        "AllegroTransformer3DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 3,
            "cross_attention_dim": 24,
            "sample_height": HEIGHT,
            "sample_width": WIDTH,
            "sample_frames": FRAMES,
            "caption_channels": 16,
        },
        lambda: masked_text() | {"attention_mask": torch.ones(1, FRAMES, HEIGHT, WIDTH)},
        video(4),
    ),
    Case(
        "LatteTransformer3DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "in_channels": 4,
            "out_channels": 8,
            "num_layers": 2,
            "cross_attention_dim": 16,
            "attention_bias": True,
            "sample_size": 4,
            "patch_size": 2,
            "activation_fn": "gelu-approximate",
            "num_embeds_ada_norm": 1000,
            "norm_type": "ada_norm_single",
            "norm_elementwise_affine": False,
            "caption_channels": 16,
            "video_length": FRAMES,
        },
        lambda: {"encoder_hidden_states": text(5, 16)},
        video(4, height=4, width=4),
    ),
    Case(
        "EasyAnimateTransformer3DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "in_channels": 4,
            "out_channels": 4,
            "patch_size": 2,
            "sample_width": WIDTH,
            "sample_height": HEIGHT,
            "num_layers": 3,
            "mmdit_layers": 2,
            "time_embed_dim": 8,
            "add_norm_text_encoder": True,
            "text_embed_dim": 16,
        },
        lambda: {"encoder_hidden_states": text(5, 16)},
        video(4),
    ),
    Case(
        "SanaVideoTransformer3DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "num_layers": 3,
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 12,
            "cross_attention_dim": 24,
            "caption_channels": 16,
            "mlp_ratio": 2.0,
            "rope_max_seq_len": 32,
        },
        masked_text,
        video(4),
    ),
    Case("MotifVideoTransformer3DModel", MOTIF, masked_text, video(9)),
    Case(
        "MotifVideoTransformer3DModel",
        MOTIF
        | {
            "num_single_layers": 4,
            "num_decoder_layers": 2,
            "image_embed_dim": 8,
            "enable_text_cross_attention_dual": True,
            "enable_text_cross_attention_single": True,
        },
        lambda: masked_text() | {"image_embeds": text(2, 8, seed=101)},
        video(9),
        variant="decoder",
    ),
    Case(
        "HeliosTransformer3DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 4,
            "out_channels": 4,
            "text_dim": 16,
            "freq_dim": 16,
            "ffn_dim": 32,
            "num_layers": 3,
            "rope_dim": (4, 4, 4),
            "is_amplify_history": True,
        },
        lambda: {
            "encoder_hidden_states": text(5, 16),
            "indices_hidden_states": torch.arange(8, 8 + FRAMES)[None],
            "indices_latents_history_short": torch.tensor([[0, 7]]),
            "indices_latents_history_mid": torch.arange(5, 7)[None],
            "indices_latents_history_long": torch.arange(1, 5)[None],
            "latents_history_short": noise(1, 4, 2, 8, 8, seed=101),
            "latents_history_mid": noise(1, 4, 2, 8, 8, seed=102),
            "latents_history_long": noise(1, 4, 4, 8, 8, seed=103),
        },
        video(4, height=8, width=8),
    ),
)


CASES = (
    *WAN_CASES,
    *HUNYUAN_CASES,
    *LTX_CASES,
    *COGVIDEOX_CASES,
    *KANDINSKY_CASES,
    *COSMOS_CASES,
    *OTHER_CASES,
)
