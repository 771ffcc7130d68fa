"""The components of the motion pipeline, untrained, and how they make a ``WanPipeline``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from demos import weights
from demos.motion.tokens import tokenizer, vocabulary
from demos.scenes.build import TIME_FASTEST
from demos.training import folder as folders
from demos.weights import slow
from demos.words import word_encoder

TRAINED = ("vae", "text_encoder", "transformer")
CHANNELS = 16  # of the latents, as in Wan 2.1: 5 frames of 8 x 8 for 17 frames of 64 x 64
WIDTH = 128  # of the text encoder
SHIFT = 3.0  # of the schedule, as Wan 2.1 has it at 480p


def build(seed: int = 0, layers: int = 8, heads: int = 4) -> nn.ModuleDict:
    """Untrained components, by the names that ``WanPipeline`` gives them.

    Args:
        seed: of their weights.
        layers: blocks of the transformer.
        heads: attention heads of the transformer, of 32 channels each.

    Returns:
        A dictionary of modules: vae, text_encoder, transformer.
    """
    torch.manual_seed(seed)
    parts = (autoencoder(), text_encoder(), transformer(layers, heads))
    return nn.ModuleDict(dict(zip(TRAINED, parts, strict=True)))


def assemble(parts: nn.ModuleDict) -> WanPipeline:
    """A pipeline of these components, with tokenizer and scheduler."""
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT)
    return WanPipeline(tokenizer=tokenizer(), scheduler=scheduler, **{name: parts[name] for name in TRAINED})


def export(parts: nn.ModuleDict, folder: Path) -> None:
    """Write the components in float16 as a folder for ``WanPipeline.from_pretrained``.

    Raises:
        ValueError: the folder is larger than 16 MiB, what a demo model may take.
    """
    folders.export(parts, folder, assemble, fewer="Recipe(layers=8, heads=4)")


def autoencoder(width: int = 16) -> AutoencoderKLWan:
    """Clips (B, 3, 1 + 4 k, 64, 64) to latents (B, 16, 1 + k, 8, 8), and back.

    Two by two pixels are folded into channels first, so that no layer works at the full resolution, and every change of
    resolution has a shortcut around it, both as in Wan 2.2.

    Args:
        width: channels at the full resolution, half as many as elsewhere.
    """
    return AutoencoderKLWan(
        base_dim=width,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        is_residual=True,
        temperal_downsample=[True, True],
        in_channels=12,
        out_channels=12,
        patch_size=2,
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
    )


def text_encoder() -> Any:
    """Caption to one vector per token, (B, N, 128)."""
    return word_encoder(UMT5Config, UMT5EncoderModel, vocabulary(), WIDTH)


def transformer(layers: int = 8, heads: int = 4) -> WanTransformer3DModel:
    """The denoiser of 80 tokens: blocks start as the identity, the output as zero."""
    width = 32 * heads
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=heads,
        attention_head_dim=32,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=WIDTH,
        ffn_dim=3 * width,
        num_layers=layers,
        rope_max_seq_len=32,
    )
    zero = [model.condition_embedder.time_proj, model.proj_out, *(block.attn2.to_out[0] for block in model.blocks)]
    weights.zero(zero)
    for table in [model.scale_shift_table, *(block.scale_shift_table for block in model.blocks)]:
        nn.init.zeros_(table)
    weights.hush(_embeddings(model))
    return model


def keep_hushed(model: WanTransformer3DModel) -> None:
    """Give the fast channels of the time embedding no gradient, so that they stay disconnected."""
    weights.keep_hushed(_embeddings(model))


def _embeddings(model: WanTransformer3DModel) -> list[tuple[Tensor, Tensor]]:
    """The first weight (width, 256) of the time embedding, and the channels of it that stay."""
    return [(model.condition_embedder.time_embedder.linear_1.weight, slow(TIME_FASTEST))]
