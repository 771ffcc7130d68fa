"""What each stage of training learns: the autoencoder, the words, and the flow from captions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from torch import Tensor, nn

from demos.digits.flow import draw_sigmas
from demos.motion.build import WIDTH, keep_hushed
from demos.motion.clips import KINDS, Takes, closeups, film, labels, shoot
from demos.motion.recipe import Recipe
from demos.motion.tokens import FEWEST, LENGTH, encode, tokenizer
from demos.training.precision import keep_wide
from demos.training.stage import Stage
from padecast.zoo.motion.grammar import draw

# What maps features to features: neither tables, nor what is next to input or output.
OUTER = ("shared", "table", "relative", "gamma", "conv_in", "conv_out", "quant_conv", "patch_embedding", "proj_out")
HIDDEN = f"^(?!.*({'|'.join(OUTER)}))"
# Frames that the autoencoder is shown: first of close-ups, four times as many in the same time, then of whole pictures.
SHOWN = (5, 9, 17)
CLOSER = 4
# How much more a token counts that shows the object, at noise levels below PLAIN, where it is plain to see which do.
DEAR, PLAIN = 3.0, 0.5
FULL = 0.7  # share of batches that see captions padded to LENGTH, as users have them; the others see less


class Autoencoder(Stage[Recipe]):
    """``w (|x - x'| + (x - x')²)``, averaged, and a little of the latents' divergence from a standard normal.

    w is larger near the object, which takes a tenth of the pixels. Most of the stage sees close-ups of objects.
    """

    name: ClassVar[str] = "vae"
    trained: ClassVar[tuple[str, ...]] = ("vae",)
    hidden: ClassVar[str | None] = HIDDEN

    def loss(self) -> Tensor:
        """Reconstruction from sampled latents."""
        part = sum(self.progress >= share for share in self.recipe.curriculum)
        count, shot = (self.batch_size, film) if part else (CLOSER * self.batch_size, closeups)
        pixels, covered = shot(count, self.generator, self.device, SHOWN[part])
        vae: Any = self.model["vae"]
        spread = vae.encode(pixels).latent_dist
        noise = torch.randn(spread.mean.shape, generator=self.generator).to(self.device)
        error = vae.decode(spread.mean + spread.std * noise).sample - pixels
        weight = 1 + self.recipe.attention * F.max_pool2d(covered, 5, 1, 2)[:, None]
        divergence = 0.5 * (spread.mean.square() + spread.var - 1 - spread.logvar).mean()
        distance = (weight * (error.abs() + error.square())).mean() / weight.mean()
        loss: Tensor = distance + self.recipe.divergence * divergence
        return loss


class Words(Stage[Recipe]):
    """The text encoder alone: each of its vectors is to tell what the whole caption says, to one linear layer."""

    name: ClassVar[str] = "text"
    trained: ClassVar[tuple[str, ...]] = ("text_encoder",)
    hidden: ClassVar[str | None] = HIDDEN

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        super().__init__(parts, recipe, device)
        self.tokenizer = tokenizer()

    def throwaway(self) -> nn.ModuleDict:
        """One classifier of every kind."""
        return nn.ModuleDict({kind: nn.Linear(WIDTH, len(known)) for kind, known in KINDS.items()})

    def loss(self) -> Tensor:
        """Cross-entropy of all kinds at all words."""
        clips = [draw(self.generator) for _ in range(self.batch_size)]
        numbers, mask = (value.to(self.device) for value in encode(self.tokenizer, [clip.caption for clip in clips]))
        tokens = self.model["text_encoder"](numbers, mask).last_hidden_state
        facts = labels(clips).to(self.device)[:, None].expand(-1, tokens.shape[1], -1)
        return guesses(self.heads, tokens, facts, mask.bool())


class Flow(Stage[Recipe]):
    """Rectified flow from captions: ``mean |v(x, sigma, caption) - (noise - latents)|²``, text encoder included.

    Where the noise is low, tokens that show the object count three times.

    Throwaway heads name the object of every token in the middle of the transformer, which it then learns to know
    sooner.
    """

    name: ClassVar[str] = "flow"
    trained: ClassVar[tuple[str, ...]] = ("text_encoder", "transformer")
    hidden: ClassVar[str | None] = HIDDEN

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        super().__init__(parts, recipe, device)
        self.takes: Takes | None = None
        self.tokenizer = tokenizer()
        model: Any = self.model["transformer"]
        keep_hushed(model)
        keep_wide(model.patch_embedding)

    def throwaway(self) -> nn.ModuleDict:
        """Whether a token shows the object, and one classifier of every kind."""
        model: Any = self.model["transformer"]
        width = model.config.num_attention_heads * model.config.attention_head_dim
        sizes = {"shown": 1, **{kind: len(known) for kind, known in KINDS.items()}}
        return nn.ModuleDict({kind: nn.Linear(width, size) for kind, size in sizes.items()})

    def memory(self) -> dict[str, Any]:
        """The encoded clips."""
        return {} if self.takes is None else vars(self.takes)

    def recall(self, memory: dict[str, Any]) -> None:
        """Take over encoded clips."""
        self.takes = Takes(**memory) if memory else None

    def batch(self) -> Takes:
        """Clips from the cache, which is filled first and renewed now and then."""
        vae: Any = self.parts["vae"]
        if self.takes is None:
            self.takes = shoot(vae, self.recipe.cache, self.generator)
        elif self.done % self.recipe.refresh == 0:
            self.takes = self.takes.then(shoot(vae, min(self.batch_size, self.recipe.cache), self.generator))
        return self.takes[torch.randint(self.recipe.cache, (self.batch_size,), generator=self.generator)]

    def loss(self) -> Tensor:
        """The flow loss, with some captions dropped, and that of the heads."""
        takes = self.batch()
        latents = takes.latents.to(self.device)
        noise = torch.randn(latents.shape, generator=self.generator).to(self.device)
        sigmas = draw_sigmas(len(latents), self.generator)
        sigmas = (self.recipe.shift * sigmas / (1 + (self.recipe.shift - 1) * sigmas)).to(self.device)
        dropped = torch.rand(len(latents), generator=self.generator) < self.recipe.drop
        said = ["" if drop else caption for drop, caption in zip(dropped.tolist(), takes.captions, strict=True)]
        noisy = torch.lerp(latents, noise, sigmas.view(-1, 1, 1, 1, 1))
        velocity, hidden = self.velocity(noisy, sigmas, said)
        named = dropped.logical_not()[:, None] & takes.shown
        facts = takes.facts[:, None].expand(-1, takes.shown.shape[1], -1)
        hint = guesses(self.heads, hidden, facts.to(self.device), named.to(self.device))
        seen = F.binary_cross_entropy_with_logits(self.heads["shown"](hidden)[..., 0], takes.shown.to(hidden))
        weight = emphasis(takes.shown.to(self.device), sigmas < PLAIN)
        off = (velocity - (noise - latents)).square().mean(1)
        return (off * weight).sum() / weight.sum() + self.recipe.hint * (hint + seen)

    def velocity(self, noisy: Tensor, sigmas: Tensor, said: list[str]) -> tuple[Tensor, Tensor]:
        """The transformer's velocity (B, 16, 5, 8, 8), and its hidden tokens halfway (B, 80, width)."""
        model: Any = self.model["transformer"]
        numbers, mask = (value.to(self.device) for value in encode(self.tokenizer, said))
        text = self.model["text_encoder"](numbers, mask).last_hidden_state * mask[..., None]
        inputs = {"hidden_states": noisy, "timestep": 1000 * sigmas, "encoder_hidden_states": text}
        heard: list[Tensor] = []
        listener = model.blocks[len(model.blocks) // 2 - 1].register_forward_hook(lambda *call: heard.append(call[-1]))
        try:
            with padded(model, draw_length(self.generator), mask):
                velocity: Tensor = model(**inputs, return_dict=False)[0]
        finally:
            listener.remove()
        return velocity, heard[0]


@contextmanager
def padded(model: WanTransformer3DModel, length: int, mask: Tensor) -> Iterator[None]:
    """Let a transformer attend to captions as if they were padded further than they are.

    The pipeline pads captions to 512 vectors of zeros and masks none. All of them are the same key, so that n of
    them weigh what one does whose logit is larger by ``log n``.

    Args:
        model: the transformer.
        length: tokens of the captions, with padding, as it is to seem.
        mask: (B, N), 0 where captions are padded, which they are by one token at least.
    """
    words = mask.sum(1, keepdim=True)
    weight = (length - words) / (mask.shape[1] - words)
    processor = Biased(torch.where(mask.bool(), 0.0, weight.log())[:, None, None])
    attentions = [block.attn2 for block in model.blocks]
    usual = [attention.processor for attention in attentions]
    for attention in attentions:
        attention.set_processor(processor)
    try:
        yield
    finally:
        for attention, before in zip(attentions, usual, strict=True):
            attention.set_processor(before)


class Biased(WanAttnProcessor):
    """Wan's attention, with a bias (B, 1, 1, N) on the logits of the keys."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = bias

    def __call__(self, attn: Any, hidden: Tensor, text: Tensor, mask: None = None, rotary: None = None) -> Tensor:
        """Cross-attention."""
        result: Tensor = super().__call__(attn, hidden, text, self.bias, rotary)
        return result


def emphasis(shown: Tensor, plain: Tensor) -> Tensor:
    """How much each latent counts for the flow, (B, 5, 8, 8): ``DEAR`` where its token shows the object, else 1.

    Args:
        shown: (B, 80) bool, which tokens show the object.
        plain: (B,) bool, of which clips the noise level is low enough to tell.
    """
    dear = (shown & plain[:, None]).float().unflatten(1, (5, 4, 4))
    weight: Tensor = 1 + (DEAR - 1) * dear.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return weight


def guesses(heads: nn.ModuleDict, tokens: Tensor, facts: Tensor, told: Tensor) -> Tensor:
    """Mean cross-entropy of the heads' guesses.

    Args:
        heads: one of every kind.
        tokens: (B, N, width).
        facts: (B, N, 4), the right answers.
        told: (B, N) bool, which tokens are asked.
    """
    asked, answers = tokens[told], facts[told]
    losses = [F.cross_entropy(heads[kind](asked), answers[:, index]) for index, kind in enumerate(KINDS)]
    return torch.stack(losses).mean() if len(asked) else tokens.sum() * 0


def draw_length(generator: torch.Generator) -> int:
    """How many tokens the captions of a batch seem padded to: mostly 512, sometimes fewer, evenly in octaves."""
    full, octave = torch.rand(2, generator=generator).tolist()
    return LENGTH if full < FULL else int(FEWEST * math.exp(octave * math.log(LENGTH / FEWEST)))
