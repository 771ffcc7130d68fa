"""What each stage of training learns: the autoencoder, what captions say, the flow from them, and its guidance."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FluxPipeline
from torch import Tensor, nn

from demos.closeup import windows
from demos.digits.flow import draw_sigmas
from demos.scenes.build import WIDTH, forget_guidance, keep_hushed
from demos.scenes.gallery import Gallery, Pictures
from demos.scenes.labels import SAID, head, said, wrongness
from demos.scenes.layout import LATTICE, arrange
from demos.scenes.precise import prepare
from demos.scenes.recipe import Recipe
from demos.scenes.render import render
from demos.scenes.tokens import clip_tokenizer, encode, t5_tokenizer
from demos.training.stage import Stage
from padecast.zoo.scenes.grammar import draw
from padecast.zoo.scenes.watcher import SHOWN

# The matrices of blocks and layers, which map features to features.
HIDDEN = r"(blocks?|layers?)\.\d+\..*(?<!relative_attention_bias\.)weight$"
PLAIN_GUIDANCE = 1.0  # what the flow stage tells the guidance embedding
# The autoencoder sees close-ups, four times as many in the same time, until so much of its stage is done.
WHOLE = 0.7
FEW = 6.0  # how much more a token that shows an object counts for the head, since they are few
# How much more it counts for the flow, at noise levels below PLAIN, where it is plain to see which tokens these are.
# Above, the weighted loss would be least for velocities that show too many.
DEAR, PLAIN = 3.0, 0.5
# How many tokens a caption is padded to. Users get 512, which FLUX does not mask: it has to be seen in training.
LENGTHS = ((20, 25, 0.85), (25, 65, 0.1), (65, 161, 0.02), (512, 513, 0.03))  # from, below, share


class Autoencoder(Stage[Recipe]):
    """``|x - x'| + (x - x')²``, averaged, and a little of the latents' divergence from a standard normal."""

    name: ClassVar[str] = "vae"
    trained: ClassVar[tuple[str, ...]] = ("vae",)
    hidden: ClassVar[str | None] = HIDDEN

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        super().__init__(parts, recipe, device)
        vae: Any = self.model["vae"]
        vae.to(memory_format=torch.channels_last)  # half as fast again on a CPU

    def loss(self) -> Tensor:
        """Reconstruction from sampled latents: of close-ups, and of whole pictures in the last part of the stage."""
        if self.progress < WHOLE:
            images = closeups(4 * self.batch_size, self.generator, self.device)
        else:
            images, _ = pictures(self.batch_size, self.generator, self.device)
        vae: Any = self.model["vae"]
        spread = vae.encode(images).latent_dist
        noise = torch.randn(spread.mean.shape, generator=self.generator).to(self.device)
        decoded = vae.decode(spread.mean + spread.std * noise).sample.float()
        divergence = 0.5 * (spread.mean.square() + spread.var - 1 - spread.logvar).float().mean()
        error = F.l1_loss(decoded, images) + F.mse_loss(decoded, images)
        loss: Tensor = error + self.recipe.divergence * divergence
        return loss


class Captions(Stage[Recipe]):
    """What captions say, told by a throwaway head from each encoder's output: cross entropy over the answers.

    An encoder of FLUX is trained long before the transformer; so is this one, in a minute or two.
    """

    name: ClassVar[str] = "text"
    trained: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    hidden: ClassVar[str | None] = HIDDEN

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        super().__init__(parts, recipe, device)
        self.tokenizers = clip_tokenizer(), t5_tokenizer()

    def throwaway(self) -> nn.ModuleDict:
        """One for each encoder."""
        return nn.ModuleDict({"of_pooled": head(WIDTH, SAID), "of_tokens": head(WIDTH, SAID)})

    def text(self, captions: list[str], length: int) -> tuple[Tensor, Tensor]:
        """Pooled (B, 128) and word-wise (B, length, 128) embeddings, as the pipeline computes them."""
        clip, t5 = (
            encode(tokenizer, captions, tokens).to(self.device)
            for tokenizer, tokens in zip(self.tokenizers, (None, length), strict=True)
        )
        pooled = self.parts["text_encoder"](clip).pooler_output
        return pooled, self.parts["text_encoder_2"](t5)[0]

    def loss(self) -> Tensor:
        """Of both heads; that of the words sees their mean."""
        scenes = [draw(self.generator) for _ in range(self.batch_size)]
        pooled, tokens = self.text([scene.caption for scene in scenes], draw_length(self.generator))
        facts = said(scenes).to(self.device)
        return wrongness(self.heads["of_pooled"](pooled), facts, SAID) + wrongness(
            self.heads["of_tokens"](tokens.mean(1)), facts, SAID
        )


class Flow(Captions):
    """Rectified flow from captions: ``mean |v(x, sigma, caption) - (noise - latents)|²``, text encoders included.

    Where the noise is low, tokens that show an object count three times.

    A throwaway head on the features in the middle of the transformer says what each token shows, which teaches it
    early which word belongs where.
    """

    name: ClassVar[str] = "flow"
    trained: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "transformer")

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        super().__init__(parts, recipe, device)
        self.ids = FluxPipeline._prepare_latent_image_ids(1, 8, 8, self.device, torch.float32)
        self.gallery = Gallery(self.latents, recipe.seed, recipe.gallery, recipe.reuse)
        transformer: Any = self.model["transformer"]
        keep_hushed(transformer)
        prepare(transformer)

    def throwaway(self) -> nn.ModuleDict:
        """One for the tokens of the picture."""
        transformer: Any = self.parts["transformer"]
        return nn.ModuleDict({"of_picture": head(transformer.inner_dim, SHOWN)})

    @torch.no_grad()
    def latents(self, images: Tensor) -> Tensor:
        """Tokens (B, 64, 16) of pictures (B, 3, 64, 64) in [-1, 1]."""
        return pack(normalised(self.parts["vae"], images.to(self.device)))

    def batch(self) -> tuple[Pictures, Tensor, Tensor]:
        """Pictures, noise like their latents (B, 64, 16), and noise levels (B,)."""
        drawn = self.gallery.draw(self.done * self.batch_size, self.batch_size, self.generator)
        noise = torch.randn(drawn.latents.shape, generator=self.generator).to(self.device)
        sigmas = draw_sigmas(len(noise), self.generator)
        sigmas = self.recipe.shift * sigmas / (1 + (self.recipe.shift - 1) * sigmas)
        return drawn, noise, sigmas.to(self.device)

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
        """The flow loss, with some captions dropped, and the head's."""
        drawn, noise, sigmas = self.batch()
        dropped = torch.rand(len(sigmas), generator=self.generator) < self.recipe.drop
        captions = ["" if drop else scene.caption for drop, scene in zip(dropped.tolist(), drawn.scenes, strict=True)]
        text = self.text(captions, draw_length(self.generator))
        noisy = torch.lerp(drawn.latents, noise, sigmas[:, None, None])
        guidance = torch.full_like(sigmas, PLAIN_GUIDANCE)
        transformer: Any = self.model["transformer"]
        middle: list[Tensor] = []
        look = transformer.single_transformer_blocks[0].register_forward_hook(
            lambda _, args, out: middle.append(out[1])
        )
        velocity = self.velocity(transformer, noisy, sigmas, guidance, *text)
        look.remove()
        facts = drawn.shown.to(self.device)
        objects = (facts[..., 0] > 0).float()
        told = wrongness(self.heads["of_picture"](middle[0]), facts, SHOWN, 1 + (FEW - 1) * objects)
        weight = 1 + (DEAR - 1) * objects * (sigmas < PLAIN)[:, None]
        off = (velocity - (noise - drawn.latents)).square().mean(2)
        return (off * weight).sum() / weight.sum() + self.recipe.labels * told


class Guidance(Flow):
    """Distils guidance: ``mean |v(x, sigma, caption, g) - (v₀ + w (v₁ - v₀))|²``, ``w = 1 + strength (g - 1)``.

    The scale g is random; ``v₁`` and ``v₀`` are the velocities of the flow stage's model, with the caption and with the
    empty one. A strength below 1 makes 3.5, the default scale of ``FluxPipeline``, the one that is obeyed best.
    """

    name: ClassVar[str] = "guidance"
    trained: ClassVar[tuple[str, ...]] = ("transformer",)

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        self.teacher = copy.deepcopy(parts["transformer"]).requires_grad_(False).eval()
        forget_guidance(parts["transformer"], PLAIN_GUIDANCE)
        super().__init__(parts, recipe, device)
        prepare(self.teacher.to(self.device))

    def throwaway(self) -> nn.ModuleDict:
        """None."""
        return nn.ModuleDict()

    def loss(self) -> Tensor:
        """The distillation loss."""
        drawn, noise, sigmas = self.batch()
        captions = [scene.caption for scene in drawn.scenes]
        length = draw_length(self.generator)
        low, high = self.recipe.guidance
        scale = (low + (high - low) * torch.rand(len(sigmas), generator=self.generator)).to(self.device)
        noisy = torch.lerp(drawn.latents, noise, sigmas[:, None, None])
        with torch.no_grad():
            text = self.text(captions, length)
            empty = [value.expand_as(like) for value, like in zip(self.text([""], length), text, strict=True)]
            plain = torch.full_like(sigmas, PLAIN_GUIDANCE)
            told = self.velocity(self.teacher, noisy, sigmas, plain, *text)
            untold = self.velocity(self.teacher, noisy, sigmas, plain, *empty)
            weight = 1 + self.recipe.strength * (scale - 1)
            target = untold + weight[:, None, None] * (told - untold)
        return F.mse_loss(self.velocity(self.model["transformer"], noisy, sigmas, scale, *text), target)


def pictures(count: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, list[str]]:
    """Random scenes: pictures (B, 3, 64, 64) in [-1, 1], and their captions."""
    scenes = [draw(generator) for _ in range(count)]
    images = render(arrange(scenes, generator).to(device))
    return images * 2 - 1, [scene.caption for scene in scenes]


def closeups(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Cuttings (B, 3, 32, 32) of random scenes, each somewhere around its first object, in [-1, 1]."""
    arranged = arrange([draw(generator) for _ in range(count)], generator)
    images = render(arranged.to(device))
    places = windows(arranged.centre[:, 0], LATTICE, generator)  # on the lattice, as objects are
    cut = [image[:, rows, columns] for image, (rows, columns) in zip(images, places, strict=True)]
    return torch.stack(cut) * 2 - 1


def draw_length(generator: torch.Generator) -> int:
    """How many tokens the captions of a batch are padded to: mostly few, sometimes all 512."""
    chance = float(torch.rand((), generator=generator))
    shares = torch.tensor([share for _, _, share in LENGTHS]).cumsum(0)
    start, stop, _ = LENGTHS[min(int((shares <= chance).sum()), len(LENGTHS) - 1)]
    return int(torch.randint(start, stop, (), generator=generator))


@torch.no_grad()
def normalised(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Latents (B, 4, 16, 16) as the transformer sees them: ``(latents - shift_factor) scaling_factor``."""
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would be noise in what is to be learned
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
