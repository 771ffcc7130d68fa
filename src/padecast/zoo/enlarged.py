"""Demo models told as large ones: every latent pixel k x k times, with the same images in the end.

A latent of many numbers shows its coarse structure through the noise early, because noise averages out. Where every
latent pixel x of a small model is there k x k times, each with noise of its own, their mean is all that tells of x, and
its noise is k times smaller. The exact denoiser of the large latent at noise level s is therefore the small one at

    s / (s + k (1 - s))

and samplers whose formulas are linear in the latents (Euler, DDIM, DPM++, UniPC) take the same way with both, where the
noise levels are so related: the large model at shift s has the images of the small one at shift s / k.

Reference:
    Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", arXiv:2403.03206,
    section 5.3.2, has the same thought for resolutions.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderKLWan, DiTTransformer2DModel, FluxTransformer2DModel
from diffusers import WanTransformer3DModel as Wan
from torch import Tensor, nn

from padecast.zoo.digits import DigitsPipeline


def smaller(sigma: Tensor, times: int) -> Tensor:
    """Return the small model's noise level where the large one's is ``sigma``, both of rectified flow.

    Example:
        >>> import torch
        >>> smaller(torch.tensor([0.0, 0.8, 1.0]), 4)
        tensor([0.0000, 0.5000, 1.0000])
    """
    return sigma / (sigma + times * (1 - sigma))


def mean(latents: Tensor, times: int) -> Tensor:
    """Return the mean of every ``times`` x ``times`` copies, over the last two dimensions."""
    pixels = latents.reshape(-1, 1, *latents.shape[-2:])
    return F.avg_pool2d(pixels, times).reshape(*latents.shape[:-2], *(size // times for size in latents.shape[-2:]))


def repeat(latents: Tensor, times: int) -> Tensor:
    """Return every pixel ``times`` x ``times`` times, over the last two dimensions."""
    return latents.repeat_interleave(times, -1).repeat_interleave(times, -2)


class Enlarged(nn.Module):
    """A transformer of rectified flow whose latents are ``times`` x ``times`` as large: mixed into its class.

    It predicts the velocity of the large latents, exactly as far as the small model predicts that of the small ones.
    Where the latents are noise alone, the level 1, their mean is ``times`` times too small for the small model, which
    is given it in its own scale.
    """

    times = 1
    unit = 1000.0
    """What the model is told where the noise level is 1."""

    def forward(self, hidden_states: Tensor, *args: Any, timestep: Tensor | None = None, **kwargs: Any) -> Any:
        """Return what the model returns without ``return_dict``: the velocity, in a tuple."""
        if timestep is None:
            timestep, *rest = args
            args = tuple(rest)
        kwargs.pop("return_dict", None)
        level = timestep.to(hidden_states) / self.unit
        latents = self.unpacked(hidden_states, kwargs)
        sigma = level.reshape(-1, *(1,) * (latents.ndim - 1)).clamp_min(1e-6)
        small = mean(latents, self.times) * (self.times / (sigma + self.times * (1 - sigma)))
        low = smaller(sigma, self.times)
        given = self.packed(small)
        told = (smaller(level, self.times) * self.unit).to(timestep)
        (velocity,) = super().forward(given, *args, timestep=told, return_dict=False, **self.shrunk(kwargs))
        clean = small - low * self.unpacked(velocity, {}, small.shape)
        return (self.packed((latents - repeat(clean, self.times)) / sigma),)

    def unpacked(self, states: Tensor, kwargs: dict[str, Any], shape: Any = None) -> Tensor:
        """Return what the model is given or returns as pixels in the last two dimensions."""
        return states

    def packed(self, latents: Tensor) -> Tensor:
        """Return pixels as the model is given them."""
        return latents

    def shrunk(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the model's other arguments as the small model is given them."""
        return kwargs


class EnlargedDiT(Enlarged, DiTTransformer2DModel):
    """Of digits."""


class EnlargedWan(Enlarged, Wan):
    """Of motion: every frame is as many times as high and as wide."""


class EnlargedFlux(Enlarged, FluxTransformer2DModel):
    """Of scenes: tokens are 2 x 2 pixels, and the position of each is told beside it."""

    unit = 1.0

    def unpacked(self, states: Tensor, kwargs: dict[str, Any], shape: Any = None) -> Tensor:
        """Return tokens ``(B, N, 4 C)`` as pixels ``(B, C, H, W)``."""
        if shape is None:
            rows, columns = (kwargs["img_ids"][:, 1:].amax(0).long() + 1).tolist()
        else:
            rows, columns = shape[-2] // 2, shape[-1] // 2
        tokens = states.reshape(len(states), rows, columns, -1, 2, 2)
        return tokens.permute(0, 3, 1, 4, 2, 5).reshape(len(states), -1, 2 * rows, 2 * columns)

    def packed(self, latents: Tensor) -> Tensor:
        """Return pixels ``(B, C, H, W)`` as tokens ``(B, N, 4 C)``."""
        batch, channels, height, width = latents.shape
        pairs = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
        return pairs.permute(0, 2, 4, 1, 3, 5).reshape(batch, height * width // 4, 4 * channels)

    def shrunk(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return them with the positions of the small model's tokens."""
        places = kwargs["img_ids"]
        kept = (places[:, 1:] % self.times == 0).all(1)
        few = places[kept].clone()
        few[:, 1:] //= self.times
        return {**kwargs, "img_ids": few}


class EnlargedKL(AutoencoderKL):
    """Of scenes: decodes the mean of the copies."""

    times = 1

    def decode(self, z: Tensor, *args: Any, **kwargs: Any) -> Any:
        """See ``AutoencoderKL.decode``; the picture is as large as the small model's."""
        return super().decode(mean(z, self.times), *args, **kwargs)


class EnlargedKLWan(AutoencoderKLWan):
    """Of motion: decodes the mean of the copies."""

    times = 1

    def decode(self, z: Tensor, *args: Any, **kwargs: Any) -> Any:
        """See ``AutoencoderKLWan.decode``; the clip is as large as the small model's."""
        return super().decode(mean(z, self.times), *args, **kwargs)


class EnlargedDigitsPipeline(DigitsPipeline):
    """Digits whose latents are large and whose images are not."""

    def to_images(self, latents: Tensor, output_type: str) -> Any:
        """Latents in [-1, 1] as images of the wanted type, from the mean of the copies."""
        return super().to_images(mean(latents, self.transformer.times), output_type)


KINDS: dict[type, type] = {
    DiTTransformer2DModel: EnlargedDiT,
    FluxTransformer2DModel: EnlargedFlux,
    Wan: EnlargedWan,
    AutoencoderKL: EnlargedKL,
    AutoencoderKLWan: EnlargedKLWan,
}


def enlarge(part: Any, times: int) -> Any:
    """Return a transformer or an autoencoder with the same weights whose latents are ``times`` x ``times`` as large."""
    large: Any = KINDS[type(part)].from_config(part.config)  # type: ignore[attr-defined]
    large.load_state_dict(part.state_dict())
    large.times = times
    if isinstance(part, DiTTransformer2DModel):
        large.register_to_config(sample_size=part.config.sample_size * times)
    return nn.Module.to(large, next(part.parameters()).device, part.dtype).eval()
