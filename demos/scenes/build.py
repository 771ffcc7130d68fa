"""The components of the scenes pipeline, untrained, and how they make a ``FluxPipeline``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from demos import weights
from demos.scenes.tokens import CLIP_LENGTH, clip_tokenizer, t5_tokenizer, vocabulary
from demos.training import folder as folders
from demos.weights import slow
from demos.words import END, PAD, START, word_encoder
from padecast.zoo.scenes.appearance import SIZE

TRAINED = ("vae", "text_encoder", "text_encoder_2", "transformer")
CHANNELS = 4  # of the latents, which are 4 times smaller than the picture each way
WIDTH = 128  # of the text encoders
SHIFT = 3.0  # of the schedule, as in Stable Diffusion 3 and about as in FLUX.1-dev at 1024 x 1024
TIME_FASTEST = 0.03  # radians per unit of the timestep (0 to 1000)
GUIDANCE_FASTEST = 0.003  # radians per thousandth of the guidance scale


def build(seed: int = 0, layers: tuple[int, int] = (2, 4), heads: int = 6) -> nn.ModuleDict:
    """Untrained components, by the names that ``FluxPipeline`` gives them.

    Args:
        seed: of their weights.
        layers: double and single blocks of the transformer.
        heads: attention heads of the transformer, of 32 channels each.

    Returns:
        A dictionary of modules: vae, text_encoder, text_encoder_2, transformer.
    """
    torch.manual_seed(seed)
    parts = (autoencoder(), clip_encoder(), t5_encoder(), transformer(layers, heads))
    return nn.ModuleDict(dict(zip(TRAINED, parts, strict=True)))


def assemble(parts: nn.ModuleDict) -> FluxPipeline:
    """A pipeline of these components, with tokenizers and a scheduler; it draws 64 x 64 pixels by default.

    ``FluxPipeline`` sets its default picture to 128 latents each way and saves no other: one that is loaded by
    ``FluxPipeline.from_pretrained`` needs ``height=64, width=64``. ``padecast.zoo.scenes.pipeline.load`` sets it.
    """
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        **{name: parts[name] for name in TRAINED},
    )
    pipe.default_sample_size = SIZE // pipe.vae_scale_factor
    return pipe


def export(parts: nn.ModuleDict, folder: Path) -> None:
    """Write the components in float16 as a folder for ``FluxPipeline.from_pretrained``.

    Raises:
        ValueError: the folder is larger than 16 MiB, what a demo model may take.
    """
    folders.export(parts, folder, assemble, fewer="Recipe(layers=(2, 4), heads=6)")


def autoencoder(widths: tuple[int, int, int] = (16, 32, 64)) -> AutoencoderKL:
    """Pictures (B, 3, 64, 64) to latents (B, 4, 16, 16), and back.

    Args:
        widths: channels at full, half and quarter resolution, multiples of 8.
    """
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,
        shift_factor=0.0,
        force_upcast=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def clip_encoder() -> Any:
    """Caption to one vector (B, 128), read where the caption ends."""
    known = vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(known),
        hidden_size=WIDTH,
        projection_dim=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CLIP_LENGTH,
        pad_token_id=known[PAD],
        bos_token_id=known[START],
        eos_token_id=known[END],
    )
    return CLIPTextModel(config)


def t5_encoder() -> Any:
    """Caption to one vector per token, (B, N, 128); padding is encoded too, since FLUX does not mask it."""
    return word_encoder(T5Config, T5EncoderModel, vocabulary(), WIDTH)


def transformer(layers: tuple[int, int] = (2, 4), heads: int = 6) -> FluxTransformer2DModel:
    """The denoiser: blocks start as the identity, the output as zero."""
    double, single = layers
    model = FluxTransformer2DModel(
        in_channels=4 * CHANNELS,
        num_layers=double,
        num_single_layers=single,
        attention_head_dim=32,
        num_attention_heads=heads,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(8, 12, 12),
    )
    modulations = [norm.linear for block in model.transformer_blocks for norm in (block.norm1, block.norm1_context)]
    modulations += [block.norm.linear for block in model.single_transformer_blocks]
    weights.zero([*modulations, model.norm_out.linear, model.proj_out])
    weights.hush(_embeddings(model))
    return model


def keep_hushed(model: FluxTransformer2DModel) -> None:
    """Give the fast channels of the time and guidance embeddings no gradient, so that they stay disconnected."""
    weights.keep_hushed(_embeddings(model))


@torch.no_grad()
def forget_guidance(model: FluxTransformer2DModel, scale: float) -> None:
    """Make the guidance embedding the same for every scale: what it is for ``scale``."""
    embed = model.time_text_embed
    last = embed.guidance_embedder.linear_2
    channels = embed.time_proj(torch.tensor([1000 * scale], device=last.weight.device))
    trained = embed.guidance_embedder(channels)[0]
    last.weight.zero_()
    last.bias.copy_(trained)


def _embeddings(model: FluxTransformer2DModel) -> list[tuple[Tensor, Tensor]]:
    """The first weight (width, 256) of each embedding, and the channels of it that stay."""
    embed = model.time_text_embed
    time, guidance = embed.timestep_embedder.linear_1.weight, embed.guidance_embedder.linear_1.weight
    return [(time, slow(TIME_FASTEST)), (guidance, slow(GUIDANCE_FASTEST))]
