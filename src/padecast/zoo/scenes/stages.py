"""What each stage of training learns: the autoencoder, the flow from captions, and its guidance."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FluxPipeline
from torch import Tensor, nn

from ..flow import draw_sigmas
from .build import forget_guidance, keep_hushed
from .grammar import draw
from .layout import arrange
from .recipe import Recipe
from .render import render
from .stage import Stage, prepare
from .tokens import clip_tokenizer, encode, t5_tokenizer

PLAIN_GUIDANCE = 1.0  # what the flow stage tells the guidance embedding
# How many tokens a caption is padded to. Users get 512, which FLUX does not mask: it has to be seen in training.
LENGTHS = ((24, 33, 0.8), (33, 65, 0.13), (65, 161, 0.05), (512, 513, 0.02))  # from, below, share


class Autoencoder(Stage):
    """`|x - x'| + (x - x')²`, averaged, and a little of the latents' divergence from a standard normal."""

    name: ClassVar[str] = "vae"
    trained: ClassVar[tuple[str, ...]] = ("vae",)

    def loss(self) -> Tensor:
        """Reconstruction from sampled latents."""
        images, _ = pictures(self.batch_size, self.generator, self.device)
        vae: Any = self.model["vae"]
        spread = vae.encode(images).latent_dist
        noise = torch.randn(spread.mean.shape, generator=self.generator).to(self.device)
        decoded = vae.decode(spread.mean + spread.std * noise).sample.float()
        divergence = 0.5 * (spread.mean.square() + spread.var - 1 - spread.logvar).float().mean()
        error = F.l1_loss(decoded, images) + F.mse_loss(decoded, images)
        loss: Tensor = error + self.recipe.divergence * divergence
        return loss


class Flow(Stage):
    """Rectified flow from captions: `mean |v(x, sigma, caption) - (noise - latents)|²`, text encoders included."""

    name: ClassVar[str] = "flow"
    trained: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "transformer")

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        super().__init__(parts, recipe, device)
        self.tokenizers = clip_tokenizer(), t5_tokenizer()
        self.ids = FluxPipeline._prepare_latent_image_ids(1, 8, 8, self.device, torch.float32)
        transformer: Any = self.model["transformer"]
        keep_hushed(transformer)
        prepare(transformer)

    def batch(self) -> tuple[list[str], Tensor, Tensor, Tensor]:
        """Captions (B), latents (B, 64, 16), noise like them, and noise levels (B,)."""
        images, captions = pictures(self.batch_size, self.generator, self.device)
        latents = pack(normalised(self.parts["vae"], images))
        noise = torch.randn(latents.shape, generator=self.generator).to(self.device)
        sigmas = draw_sigmas(len(latents), self.generator)
        sigmas = self.recipe.shift * sigmas / (1 + (self.recipe.shift - 1) * sigmas)
        return captions, latents, noise, sigmas.to(self.device)

    def text(self, captions: list[str], length: int) -> tuple[Tensor, Tensor]:
        """Pooled (B, 128) and word-wise (B, length, 128) embeddings, as the pipeline computes them."""
        clip, t5 = (
            encode(tokenizer, captions, tokens).to(self.device)
            for tokenizer, tokens in zip(self.tokenizers, (None, length), strict=True)
        )
        pooled = self.parts["text_encoder"](clip).pooler_output
        return pooled, self.parts["text_encoder_2"](t5)[0]

    def velocity(self, model: nn.Module, noisy: Tensor, sigmas: Tensor, guidance: Tensor, *text: Tensor) -> Tensor:
        """The transformer's velocity (B, 64, 16)."""
        pooled, tokens = text
        result: Tensor = model(
            hidden_states=noisy,
            timestep=sigmas,
            guidance=guidance,
            pooled_projections=pooled,
            encoder_hidden_states=tokens,
            txt_ids=torch.zeros(tokens.shape[1], 3, device=self.device),
            img_ids=self.ids,
            return_dict=False,
        )[0]
        return result.float()

    def loss(self) -> Tensor:
        """The flow loss, with some captions dropped."""
        captions, latents, noise, sigmas = self.batch()
        dropped = torch.rand(len(captions), generator=self.generator) < self.recipe.drop
        said = ["" if drop else caption for drop, caption in zip(dropped.tolist(), captions, strict=True)]
        text = self.text(said, draw_length(self.generator))
        noisy = torch.lerp(latents, noise, sigmas[:, None, None])
        guidance = torch.full_like(sigmas, PLAIN_GUIDANCE)
        velocity = self.velocity(self.model["transformer"], noisy, sigmas, guidance, *text)
        return F.mse_loss(velocity, noise - latents)


class Guidance(Flow):
    """Distils guidance: `mean |v(x, sigma, caption, g) - (v₀ + g (v₁ - v₀))|²` for random g.

    `v₁` and `v₀` are the velocities of the flow stage's model, with the caption and with the empty one.
    """

    name: ClassVar[str] = "guidance"
    trained: ClassVar[tuple[str, ...]] = ("transformer",)

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        self.teacher = copy.deepcopy(parts["transformer"]).requires_grad_(False).eval()
        forget_guidance(parts["transformer"], PLAIN_GUIDANCE)
        super().__init__(parts, recipe, device)
        prepare(self.teacher.to(self.device))

    def loss(self) -> Tensor:
        """The distillation loss."""
        captions, latents, noise, sigmas = self.batch()
        length = draw_length(self.generator)
        low, high = self.recipe.guidance
        scale = (low + (high - low) * torch.rand(len(sigmas), generator=self.generator)).to(self.device)
        noisy = torch.lerp(latents, noise, sigmas[:, None, None])
        with torch.no_grad():
            text = self.text(captions, length)
            empty = [value.expand_as(like) for value, like in zip(self.text([""], length), text, strict=True)]
            plain = torch.full_like(sigmas, PLAIN_GUIDANCE)
            told = self.velocity(self.teacher, noisy, sigmas, plain, *text)
            untold = self.velocity(self.teacher, noisy, sigmas, plain, *empty)
            target = untold + scale[:, None, None] * (told - untold)
        return F.mse_loss(self.velocity(self.model["transformer"], noisy, sigmas, scale, *text), target)


def pictures(count: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, list[str]]:
    """Random scenes: pictures (B, 3, 64, 64) in [-1, 1], and their captions."""
    scenes = [draw(generator) for _ in range(count)]
    images = render(arrange(scenes, generator).to(device))
    return images * 2 - 1, [scene.caption for scene in scenes]


def draw_length(generator: torch.Generator) -> int:
    """How many tokens the captions of a batch are padded to: mostly few, sometimes all 512."""
    chance = float(torch.rand((), generator=generator))
    shares = torch.tensor([share for _, _, share in LENGTHS]).cumsum(0)
    start, stop, _ = LENGTHS[min(int((shares <= chance).sum()), len(LENGTHS) - 1)]
    return int(torch.randint(start, stop, (), generator=generator))


@torch.no_grad()
def normalised(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Latents (B, 4, 16, 16) as the transformer sees them: `(latents - shift_factor) scaling_factor`."""
    latents: Tensor = vae.encode(images).latent_dist.mode().float()
    return (latents - float(vae.config.shift_factor)) * float(vae.config.scaling_factor)


def pack(latents: Tensor) -> Tensor:
    """Latents (B, 4, 16, 16) as tokens (B, 64, 16), as the pipeline packs them."""
    packed: Tensor = FluxPipeline._pack_latents(latents, *latents.shape)
    return packed


@torch.no_grad()
def fix_scale(vae: AutoencoderKL, count: int = 64, seed: int = 0) -> None:
    """Choose scaling and shift so that the latents of pictures have mean 0 and standard deviation 1."""
    images, _ = pictures(count, torch.Generator().manual_seed(seed), vae.device)
    latents = torch.cat([vae.encode(some).latent_dist.mode() for some in images.split(32)])
    vae.register_to_config(scaling_factor=1 / float(latents.std()), shift_factor=float(latents.mean()))
