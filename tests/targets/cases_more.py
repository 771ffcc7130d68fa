"""Tiny random-weight instances of more image and audio transformers, and calls that they take."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from tests.targets.case import Case, noise
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention

TEXT = 5  # tokens of text
SIDE = 4  # rows and columns of image tokens


def unit(t: float) -> Tensor:
    """Give the timestep on a scale of 0 to 1."""
    return torch.tensor([t])


def ids(height: int, width: int, first: int = 0, axes: int = 3) -> Tensor:
    """Give the positions of image tokens: (first, row, column), and zeros."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    positions = torch.zeros(height * width, axes)
    positions[:, 0] = first
    positions[:, 1] = rows.flatten()
    positions[:, 2] = columns.flatten()
    return positions


def tokens(count: int, channels: int) -> Callable[[int], Tensor]:
    """Draw a latent that is a sequence of tokens."""
    return lambda seed: noise(1, count, channels, seed=seed)


def images(channels: int, height: int, width: int) -> Callable[[int], Tensor]:
    """Draw a latent that is an image."""
    return lambda seed: noise(1, channels, height, width, seed=seed)


@dataclass(frozen=True)
class Redrawn(Case):
    """A class some of whose weights its constructor leaves as the memory has them, or makes too small to matter.

    Args:
        redrawn: What the names of these weights contain.
        scale: Their standard deviation.
    """

    redrawn: str = ""
    scale: float = 1.0

    def make(self) -> nn.Module:
        model = super().make()
        draw = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if self.redrawn in name:
                    parameter.copy_(self.scale * torch.randn(parameter.shape, generator=draw))
        return model


class Flex(Case):
    """A class that calls the flexible attention of torch without compiling it, which warns once in a process."""

    def make(self) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flex_attention(*noise(3, 1, 1, 16, 16))
        return super().make()


def stable_audio() -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, TEXT, 12, seed=1),
        "global_hidden_states": noise(1, 1, 10, seed=2),
        "rotary_embedding": get_1d_rotary_pos_embed(8, 1 + 12, use_real=True, repeat_interleave_real=False),
        "return_dict": False,  # the class builds its output with a deprecated one
    }


def joint(axes: int = 3) -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, TEXT, 12, seed=1),
        "txt_ids": torch.zeros(TEXT, axes),
        "img_ids": ids(SIDE, SIDE, axes=axes),
    }


def longcat_edit() -> dict[str, Any]:
    inputs = joint()
    inputs["img_ids"] = torch.cat([ids(SIDE, SIDE, 1), ids(2, SIDE, 2)])
    return inputs


def bria_fibo() -> dict[str, Any]:
    return {**joint(), "text_encoder_layers": [noise(1, TEXT, 10, seed=10 + layer) for layer in range(4)]}


def krea() -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, TEXT, 3, 16, seed=1),
        "position_ids": torch.cat([torch.zeros(TEXT, 3), ids(SIDE, SIDE)]),
        "encoder_attention_mask": torch.tensor([[True] * (TEXT - 1) + [False]]),
    }


def qwen() -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, TEXT, 12, seed=1),
        "img_shapes": [[(1, SIDE, SIDE)]],
        "img_mask": torch.tensor([[False] * TEXT + [True] * (SIDE * SIDE // 4)]),
    }


def qwen_edit() -> dict[str, Any]:
    slots = [False, False] + [True] * 2 + [False] * 3  # a slot of the text encoder stands for 4 tokens of an image
    return {
        "encoder_hidden_states": noise(1, len(slots), 12, seed=1),
        "img_shapes": [[(1, 2, SIDE), (1, SIDE, SIDE)]],
        "img_mask": torch.tensor([slots + [True] * (SIDE * SIDE // 4)]),
    }


def glm() -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, TEXT, 12, seed=1),
        "prior_token_id": torch.arange(SIDE * SIDE)[None] % 7,
        "prior_token_drop": torch.zeros(1, SIDE * SIDE, dtype=torch.bool),
        "target_size": torch.tensor([[64.0, 64.0]]),
        "crop_coords": torch.zeros(1, 2),
    }


def ideogram() -> dict[str, Any]:
    count = TEXT + SIDE * SIDE
    text = torch.arange(TEXT)[:, None].expand(-1, 3)
    return {
        "encoder_hidden_states": noise(1, count, 12, seed=1),
        "position_ids": torch.cat([text, 65536 + ids(SIDE, SIDE).long()])[None],
        "segment_ids": torch.ones(1, count, dtype=torch.long),
        "indicator": torch.tensor([[3] * TEXT + [2] * (SIDE * SIDE)]),  # text, image
    }


def nucleus() -> dict[str, Any]:
    return {"encoder_hidden_states": noise(1, TEXT, 12, seed=1), "img_shapes": [(1, SIDE, SIDE)]}


def flux3() -> dict[str, Any]:
    return joint(axes=4)


def flux3_edit() -> dict[str, Any]:
    return {
        **flux3(),
        "image_cond_hidden_states": noise(1, 2 * SIDE, 6, seed=2),
        "image_cond_ids": ids(2, SIDE, 1, axes=4),
    }


def ace_step() -> dict[str, Any]:
    return {
        "timestep_r": torch.zeros(1),
        "encoder_hidden_states": noise(1, TEXT, 32, seed=1),
        "context_latents": noise(1, 13, 12, seed=2),
    }


def stable_audio3() -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, TEXT, 12, seed=1),
        "global_hidden_states": noise(1, 10, seed=2),
        "encoder_attention_mask": torch.tensor([[True] * (TEXT - 1) + [False]]),
    }


def longcat_audio() -> dict[str, Any]:
    return {
        "encoder_hidden_states": noise(1, TEXT, 12, seed=1),
        "encoder_attention_mask": torch.tensor([[True] * (TEXT - 1) + [False]]),
        "latent_cond": noise(1, 12, 8, seed=2),
    }


def kandinsky() -> dict[str, Any]:
    return {"encoder_hidden_states": noise(1, TEXT, 12, seed=1), "pooled_projections": noise(1, 10, seed=2)}


TWO_LISTS = {
    "in_channels": 8,
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 12,
    "axes_dims_rope": (4, 6, 6),
}
PRX = {
    "in_channels": 4,
    "patch_size": 2,
    "context_in_dim": 12,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 2,
    "axes_dim": [8, 8],
}
QWEN = {
    "in_channels": 8,
    "out_channels": 8,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "context_in_dim": 12,
    "mlp_ratio": 2,
    "axes_dims_rope": (4, 6, 6),
}
NUCLEUS = {
    "patch_size": 1,
    "in_channels": 8,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "joint_attention_dim": 12,
    "axes_dims_rope": (4, 6, 6),
    "mlp_ratio": 8.0,  # below this, a width of 32 leaves no channel inside the feed-forward
    "num_experts": 4,
    "moe_intermediate_dim": 16,
    "capacity_factors": 2.0,
}
BRIA_FIBO2 = {
    "in_channels": 4,
    "dim": 32,
    "n_layers": 3,
    "n_refiner_layers": 2,
    "n_heads": 2,
    "cap_feat_dim": 12,
    "injection_layer_ids": (1,),
    "perceiver_num_layers": 1,
    "min_num_gist_tokens": 2,
    "max_num_gist_tokens": 6,
    "gist_step": 2,
    "gist_min_text_len": 2,
    "gist_max_text_len": 12,
    "axes_dims": (4, 6, 6),
    "axes_lens": (16, 8, 8),
}
FLUX3 = {**TWO_LISTS, "cond_in_channels": 6, "timestep_channels": 16, "mlp_ratio": 2.0, "axes_dims_rope": (4, 4, 4, 4)}
STABLE_AUDIO3 = {
    "io_channels": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "cond_token_dim": 12,
    "global_cond_dim": 10,
    "local_add_cond_dim": 9,
    "timestep_features_dim": 16,
    "ff_mult": 2.0,
    "num_memory_tokens": 3,
}
LONGCAT_AUDIO = {
    "dit_dim": 32,
    "dit_depth": 2,
    "dit_heads": 2,
    "dit_text_dim": 12,
    "latent_dim": 8,
    "ff_mult": 2.0,
}
JOY = {
    "in_channels": 4,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "text_dim": 12,
    "mlp_width_ratio": 2.0,
    "num_layers": 2,
    "rope_dim_list": [4, 6, 6],
}
KANDINSKY = {
    "in_visual_dim": 4,
    "out_visual_dim": 4,
    "in_text_dim": 12,
    "in_text_dim2": 10,
    "time_dim": 16,
    "model_dim": 32,
    "ff_dim": 48,
    "num_text_blocks": 2,
    "num_visual_blocks": 2,
    "axes_dims": (4, 6, 6),
    "in_audio_dim": 6,
    "out_audio_dim": 6,
    "model_dim_a": 16,
    "time_dim_a": 12,
    "ff_dim_a": 40,
    "ca_rope": True,
    "cross_gates": True,
    "fix_modulation": True,
}

CASES: tuple[Case, ...] = (
    Case(
        "StableAudioDiTModel",
        {
            "sample_size": 12,
            "in_channels": 8,
            "num_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "num_key_value_attention_heads": 1,
            "out_channels": 8,
            "cross_attention_dim": 16,
            "time_proj_dim": 8,
            "global_states_input_dim": 10,
            "cross_attention_input_dim": 12,
        },
        stable_audio,
        lambda seed: noise(1, 8, 12, seed=seed),
        timestep=unit,
    ),
    Case(
        "OvisImageTransformer2DModel",
        {**TWO_LISTS, "out_channels": 8},
        joint,
        tokens(SIDE * SIDE, 8),
        timestep=unit,
    ),
    Case(
        "LongCatImageTransformer2DModel",
        {**TWO_LISTS, "pooled_projection_dim": 8},
        joint,
        tokens(SIDE * SIDE, 8),
        timestep=unit,
    ),
    Case(
        "LongCatImageTransformer2DModel",
        {**TWO_LISTS, "pooled_projection_dim": 8},
        longcat_edit,
        tokens(SIDE * SIDE + 2 * SIDE, 8),
        timestep=unit,
        variant="edit",
    ),
    Case(
        "PRXTransformer2DModel",
        PRX,
        lambda: {"encoder_hidden_states": noise(1, TEXT, 12, seed=1)},
        images(4, 8, 8),
        timestep=unit,
    ),
    Case(
        "PRXTransformer2DModel",
        {**PRX, "in_channels": 3, "patch_size": 4, "bottleneck_size": 6, "resolution_embeds": True},
        lambda: {
            "encoder_hidden_states": noise(1, TEXT, 12, seed=1),
            "attention_mask": torch.tensor([[True] * (TEXT - 1) + [False]]),
        },
        images(3, 16, 8),
        timestep=unit,
        variant="pixel",
    ),
    Case("BriaFiboTransformer2DModel", {**TWO_LISTS, "text_encoder_dim": 10}, bria_fibo, tokens(SIDE * SIDE, 8)),
    Case(
        "Krea2Transformer2DModel",
        {
            "in_channels": 8,
            "num_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 48,
            "timestep_embed_dim": 16,
            "text_hidden_dim": 16,
            "num_text_layers": 3,
            "text_num_attention_heads": 2,
            "text_num_key_value_heads": 2,
            "text_intermediate_size": 24,
            "num_layerwise_text_blocks": 1,
            "num_refiner_text_blocks": 1,
            "axes_dims_rope": (4, 6, 6),
        },
        krea,
        tokens(SIDE * SIDE, 8),
        timestep=unit,
    ),
    Redrawn(
        "QwenImage21Transformer2DModel",
        QWEN,
        qwen,
        tokens(SIDE * SIDE, 8),
        timestep=unit,
        redrawn="modulation.",
    ),
    Redrawn(
        "QwenImage21Transformer2DModel",
        QWEN,
        qwen_edit,
        tokens(2 * SIDE + SIDE * SIDE, 8),
        timestep=unit,
        variant="edit",
        redrawn="modulation.",
    ),
    Case(
        "GlmImageTransformer2DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "text_embed_dim": 12,
            "time_embed_dim": 16,
            "condition_dim": 8,
            "prior_vq_quantizer_codebook_size": 7,
        },
        glm,
        images(4, 2 * SIDE, 2 * SIDE),
    ),
    Case(
        "ErnieImageTransformer2DModel",
        {
            "hidden_size": 32,
            "num_attention_heads": 2,
            "num_layers": 2,
            "ffn_hidden_size": 48,
            "in_channels": 8,
            "out_channels": 8,
            "text_in_dim": 12,
            "rope_axes_dim": (4, 6, 6),
        },
        lambda: {"text_bth": noise(1, TEXT, 12, seed=1), "text_lens": torch.tensor([TEXT - 1])},
        images(8, SIDE, SIDE),
    ),
    Case(
        "Ideogram4Transformer2DModel",
        {
            "in_channels": 8,
            "num_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "adaln_dim": 12,
            "llm_features_dim": 12,
            "mrope_section": (4, 2, 2),
        },
        ideogram,
        tokens(TEXT + SIDE * SIDE, 8),
        timestep=lambda t: torch.tensor([1.0 - t]),
    ),
    Case(
        "NucleusMoEImageTransformer2DModel",
        {**NUCLEUS, "dense_moe_strategy": "all_dense"},
        nucleus,
        tokens(SIDE * SIDE, 8),
        timestep=unit,
    ),
    Redrawn(
        "NucleusMoEImageTransformer2DModel",
        {**NUCLEUS, "num_layers": 3, "dense_moe_strategy": "leave_first_block_dense"},
        nucleus,
        tokens(SIDE * SIDE, 8),
        timestep=unit,
        variant="experts",
        redrawn=".experts.",
        scale=0.2,
    ),
    Case(
        "BriaFibo2Transformer2DModel",
        BRIA_FIBO2,
        lambda: {"encoder_hidden_states": noise(1, 2, TEXT, 12, seed=1)},
        images(4, 8, 8),
        timestep=unit,
    ),
    Case(
        "BriaFibo2Transformer2DModel",
        BRIA_FIBO2,
        lambda: {
            "encoder_hidden_states": noise(1, 2, TEXT, 12, seed=1),
            "context_latents": [noise(1, 4, 4, 8, seed=2)],
        },
        images(4, 8, 8),
        timestep=unit,
        variant="edit",
    ),
    Redrawn(
        "Flux3Transformer2DModel",
        FLUX3,
        flux3,
        tokens(SIDE * SIDE, 8),
        timestep=unit,
        redrawn="modulations.",
    ),
    Redrawn(
        "Flux3Transformer2DModel",
        FLUX3,
        flux3_edit,
        tokens(SIDE * SIDE, 8),
        timestep=unit,
        variant="edit",
        redrawn="modulations.",
    ),
    Redrawn(
        "Flux3Transformer2DModel",
        {**FLUX3, "flow_map": True},
        lambda: {**flux3(), "target_timestep": torch.tensor([0.25])},
        tokens(SIDE * SIDE, 8),
        timestep=unit,
        variant="flow map",
        redrawn="modulations.",
    ),
    Case(
        "AceStepTransformer1DModel",
        {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "in_channels": 20,
            "audio_acoustic_hidden_dim": 8,
            "sliding_window": 2,
        },
        ace_step,
        tokens(13, 8),
        timestep=unit,
    ),
    Case(
        "StableAudio3DiTModel",
        STABLE_AUDIO3,
        stable_audio3,
        lambda seed: noise(1, 8, 12, seed=seed),
        timestep=unit,
    ),
    Case(
        "StableAudio3DiTModel",
        STABLE_AUDIO3,
        lambda: {**stable_audio3(), "local_add_cond": noise(1, 9, 12, seed=3)},
        lambda seed: noise(1, 8, 12, seed=seed),
        timestep=unit,
        variant="inpainting",
    ),
    Case("LongCatAudioDiTTransformer", LONGCAT_AUDIO, longcat_audio, tokens(12, 8), timestep=unit),
    Case(
        "LongCatAudioDiTTransformer",
        {**LONGCAT_AUDIO, "adaln_type": "local", "long_skip": False},
        longcat_audio,
        tokens(12, 8),
        timestep=unit,
        variant="local",
    ),
    Case(
        "JoyImageEditTransformer3DModel",
        JOY,
        lambda: {"encoder_hidden_states": noise(1, TEXT, 12, seed=1)},
        lambda seed: noise(1, 4, 1, 8, 8, seed=seed),
    ),
    Case(
        "JoyImageEditTransformer3DModel",
        {**JOY, "rope_type": "mrope"},
        lambda: {"encoder_hidden_states": noise(1, TEXT, 12, seed=1)},
        lambda seed: noise(1, 2, 4, 1, 8, 8, seed=seed),
        variant="edit",
    ),
    Case(
        "Kandinsky6Transformer3DModel",
        KANDINSKY,
        lambda: {**kandinsky(), "audio_hidden_states": noise(1, 7, 6, seed=3)},
        lambda seed: noise(1, 2, 4, 4, 9, seed=seed),
    ),
    Case(
        "Kandinsky6Transformer3DModel",
        KANDINSKY,
        kandinsky,
        lambda seed: noise(1, 2, 4, 4, 9, seed=seed),
        variant="without audio",
    ),
    Flex(
        "Kandinsky6SRTransformer3DModel",
        {
            "in_visual_dim": 4,
            "out_visual_dim": 4,
            "time_dim": 16,
            "model_dim": 32,
            "ff_dim": 48,
            "num_visual_blocks": 2,
            "axes_dims": (4, 6, 6),
        },
        dict,
        lambda seed: noise(1, 3, 8, 8, 9, seed=seed),
    ),
)
