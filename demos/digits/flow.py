"""What the demo model is and learns: recipe, initial weights, noise levels, and the rectified-flow loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from diffusers import DiTTransformer2DModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from demos import weights
from demos.digits.data import CLASSES, SIZE, Wobble
from demos.training.precision import keep_wide

NO_LABEL = CLASSES


@dataclass(frozen=True)
class Recipe:
    """All that decides the outcome of a training run.

    Args:
        steps: optimizer steps of the whole run, also after a resume; the learning rate decays over them.
        batch: digits per step.
        rate: peak learning rate of AdamW.
        warmup: steps of linear warm-up.
        drop: share of labels replaced by the empty label, once per sample.
        ema: decay of the weight average that is exported.
        clip: largest norm of the gradient.
        layers: transformer blocks.
        heads: attention heads, of 32 channels each.
        fastest: the highest frequency of the timestep embedding that is used, in radians per unit of the
            timestep (0 to 1000); default 0.03.
        seed: seed of the initial weights and of every random draw.
        bfloat16: compute in bfloat16 where that is safe; weights and residual stream stay float32.
    """

    steps: int = 3000
    batch: int = 64
    rate: float = 7e-4
    warmup: int = 200
    drop: float = 0.12
    ema: float = 0.999
    clip: float = 1.0
    layers: int = 8
    heads: int = 6
    fastest: float = 0.03
    seed: int = 0
    bfloat16: bool = True
    wobble: Wobble = field(default_factory=Wobble)


def build(recipe: Recipe) -> DiTTransformer2DModel:
    """An untrained transformer, initialised as DiT is: blocks start as the identity, the output as zero."""
    torch.manual_seed(recipe.seed)
    model = DiTTransformer2DModel(
        num_attention_heads=recipe.heads,
        attention_head_dim=32,
        in_channels=1,
        out_channels=1,
        num_layers=recipe.layers,
        sample_size=SIZE,
        patch_size=2,
        num_embeds_ada_norm=CLASSES,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
    )
    modulations = [block.norm1.linear for block in model.transformer_blocks]
    weights.zero([*modulations, model.proj_out_1, model.proj_out_2])
    hush(model, recipe.fastest)
    return model


def slow(fastest: float) -> Tensor:
    """Which of the 256 channels of the timestep embedding of DiT's blocks oscillate no faster than ``fastest``."""
    return weights.slow(fastest, periods=127)


def hush(model: DiTTransformer2DModel, fastest: float) -> None:
    """Disconnect the fast channels of the timestep embedding, by zero weights."""
    weights.hush(_embeddings(model, fastest))


def _embeddings(model: DiTTransformer2DModel, fastest: float) -> list[tuple[Tensor, Tensor]]:
    """The first weight (width, 256) of each block's timestep embedding, and the channels of it that stay."""
    kept = slow(fastest)
    return [(block.norm1.emb.timestep_embedder.linear_1.weight, kept) for block in model.transformer_blocks]


def prepare(model: DiTTransformer2DModel, fastest: float) -> None:
    """Make a transformer trainable as we mean it.

    Diffusers would drop labels in every block independently, so that a sample is half conditional; we drop
    them once per sample instead. Under autocast the residual stream has the dtype of the patch embedding,
    which is therefore computed in float32. Plain attention trains faster than the fused one on a CPU, at 64 tokens.
    Channels of the timestep embedding faster than ``fastest`` get no gradient, and stay disconnected.
    """
    weights.keep_hushed(_embeddings(model, fastest))
    for block in model.transformer_blocks:
        block.attn1.set_processor(AttnProcessor())
        block.norm1.emb.class_embedder.dropout_prob = 0.0

    keep_wide(model.pos_embed)
    model.train()


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels in (0, 1): half uniform, half logit-normal, both stratified over the batch.

    Args:
        count: how many.
        generator: source of randomness.

    Returns:
        (count,) float32; the uniform half keeps both ends of the schedule trained.
    """
    device = generator.device
    strata = torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)
    uniform = (strata / count).clamp(1e-4, 1 - 1e-4)
    coin = torch.rand(count, generator=generator, device=device) < 0.5
    return torch.where(coin, uniform, torch.sigmoid(torch.special.ndtri(uniform)))


def flow_loss(
    model: Callable[..., tuple[Tensor]], images: Tensor, labels: Tensor, sigmas: Tensor, noise: Tensor
) -> Tensor:
    """Rectified flow: ``mean |v(x, sigma) - (noise - images)|²`` at ``x = (1 - sigma) images + sigma noise``.

    Args:
        model: predicts the velocity, given ``timestep = 1000 sigma``.
        images: (B, 1, 16, 16) in [-1, 1].
        labels: (B,) int64, ``NO_LABEL`` where dropped.
        sigmas: (B,) in [0, 1].
        noise: like images, standard normal.

    Returns:
        A scalar, float32.
    """
    level = sigmas[:, None, None, None]
    noisy = (1 - level) * images + level * noise
    velocity = model(noisy, timestep=sigmas * 1000, class_labels=labels, return_dict=False)[0]
    return F.mse_loss(velocity.float(), noise - images)
