"""Tiny random-weight instances of what diffusers 0.40 to 0.42 added, and calls that they take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models.transformers import transformer_wan_animate_2
from diffusers.models.transformers.transformer_sana_wm_refiner import SanaWMLTX2AudioVideoRotaryPosEmbed
from tests.targets.case import Case, noise
from tests.targets.cases_video import FRAMES, HEIGHT, WIDTH, padded, text, tokens, video
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask

VIDEO_ROWS, AUDIO_ROWS, TEXT_ROWS = FRAMES * HEIGHT * WIDTH // 4, 5, 4


def minimax_h3() -> dict[str, Any]:
    """Pack a text, then sounds, then a video into one sequence, at three noise levels."""
    tags = torch.tensor([1] * TEXT_ROWS + [2] * AUDIO_ROWS + [0] * VIDEO_ROWS)
    rows = torch.arange(len(tags))
    return {
        "audio_hidden_states": noise(1, AUDIO_ROWS, 6, seed=101),
        "encoder_hidden_states": text(TEXT_ROWS, 16),
        "timestep_indices": torch.where(tags == 2, 0, 1),
        "token_tags": tags,
        "position_ids": torch.stack([rows, rows % HEIGHT, rows % WIDTH], dim=1),
        "video_indices": rows[tags == 0],
        "audio_indices": rows[tags == 2],
        "text_indices": rows[tags == 1],
    }


def levels(t: float) -> Tensor:
    """Give the sounds another noise level than the video."""
    return torch.tensor([t / 2, t])


def minimax_music3() -> dict[str, Any]:
    return {"encoder_hidden_states": text(8, 16)}


JOY: dict[str, Any] = {
    "in_channels": 4,
    "hidden_size": 24,
    "num_attention_heads": 2,
    "text_dim": 16,
    "mlp_width_ratio": 2.0,
    "num_layers": 3,
    "rope_dim_list": [4, 4, 4],
}


def joy() -> dict[str, Any]:
    """Describe an image of 2 x 3 patches and a reference of 2 x 2, in a batch with room for two more."""
    return {
        "encoder_hidden_states": text(5, 16),
        "encoder_hidden_states_mask": padded(5).float(),
        "shape_list": [[(1, 2, 3), (1, 2, 2)]],
    }


FAR: dict[str, Any] = {
    "compressed_patch_size": (1, 4, 4),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 16,
    "ffn_dim": 32,
    "num_layers": 3,
    "rope_max_seq_len": 32,
    "full_chunk_limit": 3,
    "chunk_partition": (1, 2),
}


def far_cache(cached: int = 0) -> dict[str, Any]:
    """Make an empty cache for two chunks of at most two frames, as the pipeline does."""
    full, compressed = HEIGHT * WIDTH // 4, HEIGHT * WIDTH // 16
    shapes = {"full_cache": 3 * 2 * full, "compressed_cache": 2 * max(1, compressed)}
    cache = {i: {name: torch.zeros(2, 1, 2, size, 12) for name, size in shapes.items()} for i in range(3)}
    return {"kv_cache": cache, "kv_cache_flag": {"num_cached_chunks": cached, "is_cache_step": False}}


def far() -> dict[str, Any]:
    return {
        "encoder_hidden_states": text(5, 16),
        "r_timestep": torch.zeros(1, 2),
        "chunk_partition": [2],
        **far_cache(),
    }


SANA_WM: dict[str, Any] = {
    "in_channels": 4,
    "num_layers": 3,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "softmax_every_n": 2,
    "linear_head_dim": 16,
    "caption_channels": 16,
    "chunk_plucker_channels": 6,
    "chunk_plucker_post_attn_blocks": 2,
}


def cameras() -> Tensor:
    """Place a camera before every frame: a pose of four rows, and its focal lengths and centre."""
    poses = torch.eye(4).repeat(FRAMES, 1, 1)
    poses[:, 0, 3] = torch.arange(FRAMES) / 4
    inner = torch.tensor([4.0, 4.0, WIDTH / 2, HEIGHT / 2]).expand(FRAMES, 4)
    return torch.cat([poses.flatten(1), inner], dim=1)[None]


def sana_wm() -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, 1, 5, 16, seed=100),
        "encoder_attention_mask": padded(5),
        "camera_conditions": cameras(),
        "chunk_plucker": noise(1, 6, FRAMES, HEIGHT, WIDTH, seed=101),
    }


REFINER: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "cross_attention_dim": 24,
    "audio_in_channels": 4,
    "audio_out_channels": 4,
    "audio_num_attention_heads": 2,
    "audio_attention_head_dim": 6,
    "audio_cross_attention_dim": 12,
    "num_layers": 3,
    "caption_channels": 16,
    "rope_double_precision": False,
}


def refiner() -> dict[str, Any]:
    rope = SanaWMLTX2AudioVideoRotaryPosEmbed(dim=24, patch_size=1, patch_size_t=1, double_precision=False)
    coordinates = rope.prepare_video_coords(1, FRAMES, HEIGHT, WIDTH, torch.device("cpu"))
    return {
        "encoder_hidden_states": text(5, 16),
        "encoder_attention_mask": padded(5),
        "video_rotary_emb": rope(coordinates, device="cpu"),
    }


GRID = torch.tensor([[FRAMES, HEIGHT // 2, WIDTH // 2]])


class Referenced(Case):
    """A model whose steps attend to what an earlier call has kept of a reference."""

    def make(self) -> nn.Module:
        """Build the model, and let it look at the reference."""
        model: Any = super().make()
        latents, shape = [noise(4, FRAMES, HEIGHT, WIDTH, seed=103)], [FRAMES, HEIGHT * WIDTH // 4]
        with patch.object(transformer_wan_animate_2, "create_block_mask", partial(eager_mask, create_block_mask)):
            model.block_masks[FRAMES, shape[1]] = model.create_mask(*shape, torch.device("cpu"))
        model.__dict__["reference"] = transformer_wan_animate_2.WanAnimate2KVCache(self.config["num_layers"])
        given = {**wan_animate2(), "kv_cache_mode": "extract", "offset_grid_sizes": GRID}
        with torch.no_grad():
            model(latents, torch.tensor([900.0]), kv_cache=model.reference, **given)
        return model

    def call(self, model: nn.Module, latent: Any, t: float) -> list[Tensor]:
        """Call the model at a step, with what it has kept."""
        given = {"kv_cache": model.reference, "kv_cache_mode": "cached", "reference_grid_sizes": GRID}
        size = {"origin_len": 4 * (FRAMES - 1), "origin_area": [8 * HEIGHT, 8 * WIDTH]}
        with torch.no_grad():
            return list(model(latent, self.timestep(t), **wan_animate2(), **given, **size).sample)


def eager_mask(make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Make a block mask as it is, without a compiler."""
    return make(*args, **{**options, "_compile": False})


def wan_animate2() -> dict[str, Any]:
    return {
        "encoder_hidden_states": [noise(5, 16, seed=100)],
        "condition_latents": [noise(5, FRAMES, HEIGHT, WIDTH, seed=101)],
        "seq_len": FRAMES * HEIGHT * WIDTH // 4,
        "encoder_hidden_states_image": text(4, 1280, seed=102),
    }


CASES = (
    Referenced(
        "WanAnimate2Transformer3DModel",
        {
            "text_len": 8,
            "in_dim": 9,
            "dim": 24,
            "ffn_dim": 32,
            "freq_dim": 16,
            "text_dim": 16,
            "out_dim": 4,
            "num_heads": 2,
            "num_layers": 3,
        },
        wan_animate2,
        lambda seed: [noise(4, FRAMES, HEIGHT, WIDTH, seed=seed)],
    ),
    Case(
        "MiniMaxH3Transformer3DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "hidden_size": 24,
            "num_layers": 3,
            "num_refiner_layers": 1,
            "ffn_dim": 32,
            "in_channels": 2,
            "audio_in_channels": 6,
            "text_dim": 16,
            "freq_dim": 16,
            "time_embed_hidden_dim": 16,
            "time_embed_dim": 16,
            "rope_freq_dim": 2,
        },
        minimax_h3,
        tokens(VIDEO_ROWS, 8),
        timestep=levels,
    ),
    Case(
        "MiniMaxMusic3Transformer1DModel",
        {
            "in_channels": 4,
            "condition_dim": 16,
            "num_layers": 3,
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "ff_inner_dim": 32,
            "rotary_dim": 4,
            "fourier_embedding_dim": 16,
        },
        minimax_music3,
        lambda seed: noise(1, 4, 8, seed=seed),
        timestep=lambda t: torch.tensor([1 - t]),
    ),
    Case("JoyImageEditPlusTransformer3DModel", JOY, joy, lambda seed: noise(1, 12, 4, 1, 2, 2, seed=seed)),
    Case(
        "AnyFlowFARTransformer3DModel",
        FAR,
        far,
        lambda seed: noise(1, 2, 4, HEIGHT, WIDTH, seed=seed),
        timestep=lambda t: torch.full((1, 2), 1000.0 * t),
    ),
    Case(
        "SanaWMTransformer3DModel",
        SANA_WM,
        sana_wm,
        video(4),
        timestep=lambda t: torch.tensor([[[0.0] + [1000.0 * t] * (FRAMES - 1)]]),
    ),
    Case(
        "SanaWMLTX2RefinerTransformer3DModel",
        REFINER,
        refiner,
        tokens(FRAMES * HEIGHT * WIDTH, 4),
        timestep=lambda t: torch.full((1, FRAMES * HEIGHT * WIDTH), 1000.0 * t),
    ),
)
