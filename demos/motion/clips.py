"""Random clips as training sees them: pixels, latents, and what is true of every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from torch import Tensor

from demos.closeup import windows
from demos.motion.course import plot
from demos.motion.render import cover, render
from padecast.zoo.motion.appearance import FRAMES
from padecast.zoo.motion.grammar import COLOURS, MOVEMENTS, SHAPES, SIZES, Clip, draw

SHOWN = 0.03  # share of a token's pixels that the object covers, above which the token shows it
LATENT = 8  # pixels along the side of what one latent stands for
KINDS = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "movement": MOVEMENTS}


def film(count: int, generator: torch.Generator, device: torch.device, frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    """Random clips: pixels (B, 3, T, 64, 64) in [-1, 1], and how far the object covers each of them (B, T, 64, 64)."""
    course = plot([draw(generator) for _ in range(count)], generator).part(0, frames).to(device)
    return render(course) * 2 - 1, cover(course)


def closeups(count: int, generator: torch.Generator, device: torch.device, frames: int) -> tuple[Tensor, Tensor]:
    """Cuttings of 32 x 32 pixels somewhere around the object, from any frame of a clip on, otherwise as ``film``."""
    start = int(torch.randint(FRAMES - frames + 1, (), generator=generator))
    course = plot([draw(generator) for _ in range(count)], generator).part(start, frames).to(device)
    cut = [(..., *place) for place in windows(course.centre.mean(1), LATENT, generator)]
    pixels, covered = render(course) * 2 - 1, cover(course)
    return (
        torch.stack([one[where] for one, where in zip(pixels, cut, strict=True)]),
        torch.stack([one[where] for one, where in zip(covered, cut, strict=True)]),
    )


@dataclass(frozen=True)
class Takes:
    """Clips, encoded.

    Args:
        latents: (B, 16, 5, 8, 8), as the transformer sees them, float32.
        shown: (B, 80) bool, which tokens show the object.
        facts: (B, 4), index into each of ``KINDS``.
        captions: B of them.
    """

    latents: Tensor
    shown: Tensor
    facts: Tensor
    captions: list[str]

    def __getitem__(self, chosen: Tensor) -> Takes:
        captions = [self.captions[index] for index in chosen.tolist()]
        return Takes(self.latents[chosen], self.shown[chosen], self.facts[chosen], captions)

    def then(self, more: Takes) -> Takes:
        """These with the oldest replaced by as many new ones at the end."""
        count = len(more.captions)
        return joined(
            [Takes(self.latents[count:], self.shown[count:], self.facts[count:], self.captions[count:]), more]
        )


def joined(parts: Sequence[Takes]) -> Takes:
    """One after the other."""
    latents, shown, facts = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("latents", "shown", "facts")
    )
    return Takes(latents, shown, facts, [caption for part in parts for caption in part.captions])


@torch.no_grad()
def shoot(vae: AutoencoderKLWan, count: int, generator: torch.Generator, batch: int = 16) -> Takes:
    """Render and encode random clips of training."""
    parts = []
    for size in [batch] * (count // batch) + [count % batch] * (count % batch > 0):
        clips = [draw(generator) for _ in range(size)]
        course = plot(clips, generator).to(vae.device)
        latents = normalised(vae, render(course) * 2 - 1).cpu()
        parts.append(Takes(latents, shown(cover(course)).cpu(), labels(clips), [clip.caption for clip in clips]))
    return joined(parts)


def shown(covered: Tensor) -> Tensor:
    """Which of the 5 x 4 x 4 tokens show the object, (B, 80) bool, from how far it covers each pixel (B, 17, 64, 64).

    The first latent frame holds the first frame, every other one four frames.
    """
    patches = F.avg_pool2d(covered, 16)
    later = patches[:, 1:].unflatten(1, (-1, 4)).mean(2)
    return torch.cat([patches[:, :1], later], 1).flatten(1) > SHOWN


@torch.no_grad()
def normalised(vae: AutoencoderKLWan, pixels: Tensor) -> Tensor:
    """Latents as the transformer sees them: ``(latents - latents_mean) / latents_std``, per channel."""
    mean, std = (_channels(vae, name).to(pixels) for name in ("latents_mean", "latents_std"))
    with torch.autocast(pixels.device.type, enabled=False):  # bfloat16 would be noise in what is to be learned
        latents: Tensor = vae.encode(pixels).latent_dist.mode().float()
    return (latents - mean) / std


def _channels(vae: AutoencoderKLWan, name: str) -> Tensor:
    return torch.tensor(getattr(vae.config, name)).view(-1, 1, 1, 1)


@torch.no_grad()
def fix_scale(vae: AutoencoderKLWan, count: int = 96, seed: int = 0) -> None:
    """Choose mean and scale so that every channel of the latents of clips has mean 0 and standard deviation 1."""
    pixels, _ = film(count, torch.Generator().manual_seed(seed), vae.device)
    latents = torch.cat([vae.encode(some).latent_dist.mode() for some in pixels.split(16)])
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())


def labels(clips: Sequence[Clip]) -> Tensor:
    """(B, 4): index into each of ``KINDS``."""
    return torch.tensor([[known.index(getattr(clip, kind)) for kind, known in KINDS.items()] for clip in clips])
